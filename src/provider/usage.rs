//! Reads out of an answer what work the provider reports, beside the bytes that pass; and counts the answer's words,
//! for an answer whose end never comes.
//!
//! Each shape of usage is one file, which says what the members of an answer mean; taking them apart is the same for all
//! and stands in `seen`. A number that comes again replaces the one before: providers that repeat them count from the start.
//! Knows no price, and decides nothing.

mod anthropic;
mod bedrock;
mod cohere;
pub(super) mod events;
mod gemini;
mod ollama;
mod openai_audio;
mod openai_chat;
mod openai_images;
mod openai_realtime;
mod openai_responses;
mod seen;

use super::frames::{self, Frames};
use super::json::{Reader, Sink as _};
use super::{Dialect, Operation, bedrock as amazon};
use crate::credit::{Unit, Usage};

use events::{Line, feed_events};
use seen::Seen;

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
    /// What the text at a path, which is the second word if it is a short one, says of searches that no number counts.
    search: fn(&str, Option<&str>) -> Option<Mention>,
    /// Members of which the first names what the answer made, so that it can be asked for.
    id: &'static [&'static str],
    /// What the answer's tokens are that are said to be nothing special; nothing, if answers have none.
    answers_in: Option<Unit>,
}

/// An answer in tokens, of which nothing is known yet.
const OF_TOKENS: Shape = Shape {
    number: |_, _| None,
    is_output: |_, _| false,
    image: |_, _| false,
    search: |_, _| None,
    id: &["id"],
    answers_in: Some(Unit::Output),
};

/// What a number of a provider's counts. Providers say how many there were in all and how many of those were special.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    /// Tokens of the request, the special ones among them.
    AllInput,
    /// Tokens of the answer, the special ones among them.
    AllOutput,
    /// Special ones among them; or seconds, searches or pages.
    Of(Unit),
    /// Special ones that are not among them.
    Beside(Unit),
    /// Those of a unit that were counted as another one as well, which is what they count as.
    AlsoIn(Unit),
    /// Searches of one kind, of which a list has several.
    SearchesOfAKind,
}

/// A word about a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mention {
    /// It is one of all those that the answer had up to there.
    Listed,
    /// What was taken for one of those is none that is billed.
    NotListed,
    /// It is told by itself, in an event of its own.
    Told,
    /// What was taken for one that is told by itself is none that is billed.
    NotTold,
}

/// The numbers of one of Google's answers, which stands within another.
#[derive(Debug)]
pub(super) struct Tokens(Seen);

impl Default for Tokens {
    fn default() -> Self {
        Self(Seen::new(&gemini::SHAPE))
    }
}

impl Tokens {
    pub(super) fn number(&mut self, path: &str, number: &str) {
        self.0.number(path, number);
    }

    pub(super) fn word(&mut self, path: &str, word: &str) {
        self.0.end(path, Some(word));
    }

    pub(super) fn usage(&self) -> Usage {
        self.0.usage()
    }
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
#[expect(clippy::struct_excessive_bools, reason = "five facts, each true or not by itself")]
pub struct Report {
    /// The work, as far as the provider has said it; pictures are counted.
    pub usage: Usage,
    /// The provider has said how much of the request there was to read.
    pub knows_input: bool,
    /// It has said all that it says of such work in tokens,
    pub tells_tokens: bool,
    /// or in seconds,
    pub tells_seconds: bool,
    /// or by the piece: searches, pages.
    pub tells_pieces: bool,
    /// The work goes on after the answer, in a job that can be asked for.
    pub is_job: bool,
    /// Tokens of the answer, counted here. Nothing, where they can't be seen.
    pub words: Option<u64>,
}

impl Report {
    /// What both tell of one answer, of which `next` came later.
    pub fn then(self, next: Self) -> Self {
        let tells =
            next.knows_input || next.tells_tokens || next.tells_seconds || next.tells_pieces;
        let newer = if tells { next } else { self };
        let words = self.words.zip(next.words).map(|(before, more)| before.saturating_add(more));
        Self { words, ..newer }
    }
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
    /// The same, each of which wraps an event of the model's maker.
    Wrapped(Frames),
    /// Text: all of it was generated.
    Text,
    /// Nothing can be read.
    Opaque,
}

impl UsageReader {
    /// Chooses how to read an answer of `dialect` to `operation` from its `content-type`; what is read is its decoded text.
    pub fn for_response(
        dialect: Dialect,
        operation: Operation,
        content_type: Option<&str>,
    ) -> Self {
        let kind = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
        let layout = match kind.trim().to_ascii_lowercase().as_str() {
            "text/event-stream" => Layout::Events(Line::Field(0)),
            "application/vnd.amazon.eventstream" => {
                let wraps = operation == Operation::Invoke;
                let layout = if wraps { Layout::Wrapped } else { Layout::Frames };
                Frames::of(frames::Framing::Binary).map_or(Layout::Opaque, layout)
            }
            "text/plain" | "text/vtt" | "application/x-subrip" => Layout::Text,
            // Also `application/x-ndjson` and its kin, and servers that don't say.
            json if json.is_empty() || json.ends_with("json") => Layout::Documents,
            _ => Layout::Opaque,
        };
        Self { layout, reader: Reader::default(), seen: Seen::new(shape(dialect, operation)) }
    }

    /// Reads one event after another of a socket whose work is `operation`; each is read anew by [`Self::renew`].
    pub fn for_socket(dialect: Dialect, operation: Operation) -> Self {
        let shape = match dialect {
            Dialect::Gemini | Dialect::Vertex => &gemini::LIVE,
            _ if operation == Operation::Response => &openai_responses::SHAPE,
            _ => &openai_realtime::SHAPE,
        };
        Self { layout: Layout::Documents, reader: Reader::default(), seen: Seen::new(shape) }
    }

    /// What follows is another event, which is read as if nothing had come before.
    pub fn renew(&mut self) {
        self.reader.reset();
        self.seen = Seen::new(self.seen.shape());
    }

    /// The answer can't be read to its end: nothing that it has told counts.
    pub fn lose(&mut self) {
        self.layout = Layout::Opaque;
        self.seen = Seen::new(self.seen.shape());
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
            Layout::Wrapped(frames) => frames.feed(piece, |event| {
                if let Some(data) = amazon::unwrapped(event.data) {
                    self.reader.reset();
                    self.seen.next_document();
                    self.reader.feed(&data, &mut self.seen);
                }
            }),
            Layout::Text => self.seen.words.feed(piece),
            Layout::Opaque => {}
        }
    }

    /// The id that the answer gives to itself: that of the job, where it began one.
    pub fn job_id(&self) -> Option<&str> {
        self.seen.id.as_deref()
    }

    /// What has been learnt so far.
    pub fn report(&self) -> Report {
        let seen = &self.seen;
        let is_opaque = match self.layout {
            Layout::Opaque => true,
            // The words of a maker are known who tells at the start how much there was to read.
            Layout::Wrapped(_) => !seen.knows_input(),
            Layout::Documents | Layout::Events(_) | Layout::Frames(_) | Layout::Text => false,
        };
        Report {
            usage: seen.usage(),
            knows_input: seen.knows_input(),
            tells_tokens: seen.tells_tokens(),
            tells_seconds: seen.tells_seconds(),
            tells_pieces: seen.tells_pieces(),
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

#[cfg(test)]
mod tests;
