//! Reads out of an answer what work the provider reports, beside the bytes that pass; and counts the answer's words,
//! for an answer whose end never comes.
//!
//! Each shape of usage is one file, which says what the members of an answer mean; taking them apart is the same for all
//! and stands here. A number that comes again replaces the one before: providers that repeat them count from the start.
//! Knows no price, and decides nothing.

mod anthropic;
mod bedrock;
mod cohere;
mod gemini;
mod ollama;
mod openai_audio;
mod openai_chat;
mod openai_images;
mod openai_responses;

use memchr::memchr2;

use super::frames::{self, Frames};
use super::json::{Reader, Sink};
use super::tokens::Tally;
use super::{Dialect, Operation};
use crate::credit::{Unit, Usage};

/// What a provider says of one kind of work, and where.
#[derive(Debug)]
struct Shape {
    /// What the number at a path is. The second word is the last `modality` that was named.
    number: fn(&str, &str) -> Option<Number>,
    /// Whether the text at a path was generated. The second word is what the document says it is (`type`), if it has said
    /// so by then.
    is_output: fn(&str, &str) -> bool,
    /// Whether a picture stands at a path: an object in a list, or a document of a type.
    image: fn(&str, &str) -> bool,
    /// What the answer's tokens are that are said to be nothing special; nothing, if answers have none.
    answers_in: Option<Unit>,
}

/// What a number of a provider's counts. Providers say how many there were in all and how many of those were special.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    /// Tokens of the request, the special ones among them.
    AllInput,
    /// Tokens of the answer, the special ones among them.
    AllOutput,
    /// Special ones among them, or seconds.
    Of(Unit),
    /// Special ones that are not among them.
    Beside(Unit),
}

/// Reads one answer.
#[derive(Debug)]
pub struct UsageReader {
    layout: Layout,
    reader: Reader,
    seen: Seen,
}

/// What an answer has told so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four facts, each true or not by itself")]
pub struct Report {
    /// The work, as far as the provider has said it; pictures are counted.
    pub usage: Usage,
    /// The provider has said how much of the request there was to read.
    pub knows_input: bool,
    /// It has said all that it says of such work in tokens,
    pub tells_tokens: bool,
    /// or in seconds.
    pub tells_seconds: bool,
    /// The work goes on after the answer, in a job that can be asked for.
    pub is_job: bool,
    /// Tokens of the answer, counted here. Nothing, where they can't be seen.
    pub words: Option<u64>,
}

/// How the documents of an answer follow one another.
#[derive(Debug)]
enum Layout {
    /// One document, or several that need no frame.
    Documents,
    /// Server-sent events, each of which has a document as its data.
    Events(Line),
    /// Binary frames, each of which has a document.
    Frames(Frames),
    /// Text: all of it was generated.
    Text,
    /// Nothing can be read.
    Opaque,
}

/// Where in a line of an event stream the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// So many bytes of `data:` have come.
    Field(usize),
    Data,
    /// Of no interest up to its end.
    Other,
    /// At the start, after a carriage return, whose line feed may follow.
    AfterReturn,
}

const DATA: &[u8] = b"data:";

#[derive(Debug)]
struct Seen {
    shape: &'static Shape,
    all_input: Option<u64>,
    all_output: Option<u64>,
    special: [Option<u64>; Unit::ALL.len()],
    beside: [Option<u64>; Unit::ALL.len()],
    images: u64,
    is_job: bool,
    words: Tally,
    /// What this document says that it is.
    kind: String,
    /// The last word that said of what kind the tokens are that follow.
    modality: String,
    /// The text that is being read was generated.
    in_output: bool,
}

impl UsageReader {
    /// Chooses how to read an answer of `dialect` to `operation` from its `content-type` and `content-encoding`.
    ///
    /// Of a compressed answer nothing is learnt. The gateway asks for plain ones.
    pub fn for_response(
        dialect: Dialect,
        operation: Operation,
        content_type: Option<&str>,
        content_encoding: Option<&str>,
    ) -> Self {
        let kind = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
        let plain = content_encoding.is_none_or(|encoding| {
            encoding.trim().is_empty() || encoding.trim().eq_ignore_ascii_case("identity")
        });
        let layout = match kind.trim().to_ascii_lowercase().as_str() {
            _ if !plain => Layout::Opaque,
            "text/event-stream" => Layout::Events(Line::Field(0)),
            // Frames that carry the maker's own events are encoded once more.
            "application/vnd.amazon.eventstream" if operation != Operation::Invoke => {
                Frames::of(frames::Framing::Binary).map_or(Layout::Opaque, Layout::Frames)
            }
            "text/plain" | "text/vtt" | "application/x-subrip" => Layout::Text,
            // Also `application/x-ndjson` and its kin, and servers that don't say.
            json if json.is_empty() || json.ends_with("json") => Layout::Documents,
            _ => Layout::Opaque,
        };
        Self { layout, reader: Reader::default(), seen: Seen::new(shape(dialect, operation)) }
    }

    /// Takes the next bytes of the answer.
    pub fn feed(&mut self, piece: &[u8]) {
        match &mut self.layout {
            Layout::Documents => self.reader.feed(piece, &mut self.seen),
            Layout::Events(line) => {
                *line = feed_events(*line, piece, &mut self.reader, &mut self.seen);
            }
            Layout::Frames(frames) => frames.feed(piece, |event| {
                self.reader.reset();
                self.reader.feed(event.data, &mut self.seen);
            }),
            Layout::Text => self.seen.words.feed(piece),
            Layout::Opaque => {}
        }
    }

    /// What has been learnt so far.
    pub fn report(&self) -> Report {
        let is_opaque = matches!(self.layout, Layout::Opaque);
        let seen = &self.seen;
        Report {
            usage: seen.usage(),
            knows_input: seen.all_input.is_some(),
            tells_tokens: seen.tells_tokens(),
            tells_seconds: seen.special[Unit::AudioSecond as usize].is_some(),
            is_job: seen.is_job,
            words: (!is_opaque).then(|| seen.words.tokens()),
        }
    }
}

/// The shape of what an operation reports. Work that isn't known is read as what most providers say.
fn shape(dialect: Dialect, operation: Operation) -> &'static Shape {
    match dialect {
        Dialect::OpenAi
        | Dialect::Azure
        | Dialect::OpenRouter
        | Dialect::Mistral
        | Dialect::DeepSeek => match operation {
            Operation::Embedding | Operation::Classification | Operation::Rerank => {
                &openai_chat::EMBEDDINGS
            }
            Operation::Response => &openai_responses::SHAPE,
            Operation::Image => &openai_images::SHAPE,
            Operation::Speech => &openai_audio::SPEECH,
            Operation::Transcription | Operation::Translation => &openai_audio::TRANSCRIPTION,
            Operation::Chat
            | Operation::Completion
            | Operation::Moderation
            | Operation::Provenance
            | Operation::Decision
            | Operation::Run
            | Operation::Search
            | Operation::Batch
            | Operation::FineTuning
            | Operation::Eval
            | Operation::Video
            | Operation::Agent
            | Operation::Session
            | Operation::Realtime
            | Operation::Invoke
            | Operation::Document
            | Operation::Other => &openai_chat::SHAPE,
        },
        Dialect::Anthropic => &anthropic::SHAPE,
        Dialect::Gemini | Dialect::Vertex if operation == Operation::Embedding => {
            &gemini::EMBEDDINGS
        }
        Dialect::Gemini | Dialect::Vertex => &gemini::SHAPE,
        Dialect::Cohere if has_words(operation) => &cohere::SHAPE,
        Dialect::Cohere => &cohere::EMBEDDINGS,
        Dialect::Ollama if has_words(operation) => &ollama::SHAPE,
        Dialect::Ollama => &ollama::EMBEDDINGS,
        Dialect::Bedrock => &bedrock::SHAPE,
    }
}

fn has_words(operation: Operation) -> bool {
    use Operation as O;
    !matches!(operation, O::Embedding | O::Rerank | O::Classification | O::Moderation)
}

/// Takes the next piece of an event stream; returns the place after it.
fn feed_events(mut line: Line, piece: &[u8], reader: &mut Reader, seen: &mut Seen) -> Line {
    let mut rest = piece;
    while let Some((&byte, after)) = rest.split_first() {
        match line {
            Line::AfterReturn => {
                line = Line::Field(0);
                if byte == b'\n' {
                    rest = after;
                }
            }
            // A line feed is space in JSON, and the join of two data fields.
            Line::Field(0) if matches!(byte, b'\n' | b'\r') => {
                reader.reset();
                seen.kind.clear();
                (line, rest) = (after_end(byte), after);
            }
            Line::Field(matched) if DATA[matched] == byte => {
                line =
                    if matched + 1 == DATA.len() { Line::Data } else { Line::Field(matched + 1) };
                rest = after;
            }
            Line::Field(_) => line = Line::Other,
            Line::Data | Line::Other => {
                let length = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                if line == Line::Data {
                    reader.feed(&rest[..length], seen);
                }
                let Some(&end) = rest.get(length) else { return line };
                if line == Line::Data {
                    reader.feed(b"\n", seen);
                }
                (line, rest) = (after_end(end), &rest[length + 1..]);
            }
        }
    }
    line
}

fn after_end(byte: u8) -> Line {
    if byte == b'\r' { Line::AfterReturn } else { Line::Field(0) }
}

impl Seen {
    fn new(shape: &'static Shape) -> Self {
        Self {
            shape,
            all_input: None,
            all_output: None,
            special: [None; Unit::ALL.len()],
            beside: [None; Unit::ALL.len()],
            images: 0,
            is_job: false,
            words: Tally::default(),
            kind: String::new(),
            modality: String::new(),
            in_output: false,
        }
    }

    fn of(&self, unit: Unit) -> u64 {
        self.special[unit as usize].unwrap_or_default()
    }

    fn tells_tokens(&self) -> bool {
        self.shape.answers_in.map_or(self.all_input, |_| self.all_output).is_some()
    }

    /// The numbers, each counting what no other counts. Special tokens that are more than all are taken as they are.
    fn usage(&self) -> Usage {
        let special_input =
            [Unit::CachedInput, Unit::CacheWrites, Unit::AudioInput, Unit::ImageInput];
        let special_output = [Unit::Output, Unit::Reasoning, Unit::AudioOutput, Unit::ImageOutput];
        let rest = |all: Option<u64>, special: &[Unit]| {
            let special = special.iter().map(|unit| self.of(*unit)).fold(0, u64::saturating_add);
            all.unwrap_or_default().saturating_sub(special)
        };
        let mut usage = Usage::NOTHING
            .with(Unit::Input, rest(self.all_input, &special_input))
            .with(
                self.shape.answers_in.unwrap_or(Unit::Output),
                rest(self.all_output, &special_output),
            )
            .with(Unit::AudioSecond, self.of(Unit::AudioSecond))
            .with(Unit::Image, self.images);
        for unit in special_input.into_iter().chain(special_output) {
            usage = usage.with(unit, self.of(unit));
        }
        for (unit, beside) in Unit::ALL.into_iter().zip(self.beside) {
            usage = usage.with(unit, beside.unwrap_or_default());
        }
        usage
    }
}

impl Sink for Seen {
    fn number(&mut self, path: &str, number: &str) {
        let Some(what) = (self.shape.number)(path, &self.modality) else { return };
        let Some(millis) = millis(number) else { return };
        let whole = Some(millis / 1_000);
        match what {
            Number::AllInput => self.all_input = whole,
            Number::AllOutput => self.all_output = whole,
            Number::Of(Unit::AudioSecond) => {
                self.special[Unit::AudioSecond as usize] = Some(millis);
            }
            Number::Of(unit) => self.special[unit as usize] = whole,
            Number::Beside(unit) => self.beside[unit as usize] = whole,
        }
    }

    fn begin(&mut self, path: &str) {
        self.in_output = (self.shape.is_output)(path, &self.kind);
    }

    fn piece(&mut self, piece: &[u8]) {
        if self.in_output {
            self.words.feed(piece);
        }
    }

    fn end(&mut self, path: &str, word: Option<&str>) {
        match (path, word) {
            (path, Some(word)) if path.ends_with(".modality") => {
                word.clone_into(&mut self.modality);
            }
            ("type" | "object" | "event_type", Some(word)) => {
                word.clone_into(&mut self.kind);
                self.images += u64::from((self.shape.image)("", word));
            }
            ("status", Some(word)) => self.is_job = matches!(word, "queued" | "in_progress"),
            _ => {}
        }
    }

    fn element(&mut self, path: &str) {
        self.images += u64::from((self.shape.image)(path, &self.kind));
    }
}

/// A decimal number without a sign or an exponent, in thousandths; further decimals are cut off.
fn millis(number: &str) -> Option<u64> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let thousandths: String = decimals.chars().chain("000".chars()).take(3).collect();
    let whole: u64 = whole.parse().ok()?;
    whole.checked_mul(1_000)?.checked_add(thousandths.parse().ok()?)
}

#[cfg(test)]
mod tests;
