//! What a request asks for, in units of work: counted before the call, so that credits can be held for it.
//!
//! An estimate: the provider's own numbers decide what is charged, where it gives any. It errs on the high side where it
//! can't know, but by a little only, since what is held for one call is missing for the next. Knows no price.

use memchr::memmem;

use super::Operation;
use super::json::{Reader, Sink};
use super::tokens::Tally;
use crate::credit::{Unit, Usage};

/// What one call asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// What the request brings along, or orders by the piece.
    pub given: Usage,
    /// What the answer will have beside words: sound and pictures, in tokens; searches that the model may make.
    pub made: Usage,
    /// The answers that are asked for, each with words; 0 where none has any.
    pub answers: u64,
    /// The most tokens of each, if the request says so.
    pub output_tokens_max: Option<u64>,
}

/// Tokens around each message: who speaks, and where it ends.
const MESSAGE_TOKENS: u64 = 4;

/// Tokens of a picture or a file in a message; what it takes depends on its size in pixels or pages, which its bytes do
/// not tell. And the bytes of an attachment for one more.
const ATTACHMENT_TOKENS: u64 = 1_000;
const ATTACHMENT_BYTES_A_TOKEN: u64 = 1_024;

/// Tokens of the largest picture in the best quality.
const PICTURE_TOKENS: u64 = 6_500;

/// Bytes in a second of sound, for a recording that doesn't say: 32 kbit/s, a low rate for speech.
const SOUND_BYTES_A_SECOND: u64 = 4_000;
/// Tokens of a second of sound that is listened to, and of the words spoken in it.
const SOUND_TOKENS_A_SECOND: u64 = 10;
const SPOKEN_TOKENS_A_SECOND: u64 = 5;

/// Searches for which credits are held where a request allows some and doesn't say how many.
const SEARCHES: u64 = 3;
/// Documents that are ranked in one search, and the tokens of a document beyond which it counts as two (Cohere's pricing).
const RANKED_IN_A_SEARCH: u64 = 100;
const RANKED_TOKENS: u64 = 500;
/// Pages of a document that is not in the request, and the bytes of one that is.
const PAGES_UNSEEN: u64 = 10;
const PAGE_BYTES: u64 = 64 << 10;

/// Members of a request in which the model reads what was said and shown.
const CONVERSATIONS: [&str; 13] = [
    "images",
    "messages",
    "message",
    "chat_history",
    "input",
    "inputs",
    "inputText",
    "prompt",
    "content",
    "contents",
    "requests",
    "texts",
    "query",
];

/// Members in which it reads what it is to do and with what.
const INSTRUCTIONS: [&str; 17] = [
    "instructions",
    "additional_instructions",
    "system",
    "systemInstruction",
    "system_instruction",
    "preamble",
    "tools",
    "toolConfig",
    "functions",
    "suffix",
    "response_format",
    "text",
    "documents",
    "output_config",
    "template",
    "instances",
    "guided_json",
];

/// How far into a form its sound and its fields are looked for.
const FORM_HEAD_BYTES: usize = 64 << 10;

impl Demand {
    /// What `body` asks for, a request to do `operation`. Dialects have different names for the same things and hardly the
    /// same name for different ones, so all are known everywhere. A body that can't be read asks for nothing: the provider
    /// won't read it either.
    pub fn of(operation: Operation, is_form: bool, body: &[u8]) -> Self {
        if is_form { of_form(operation, body) } else { of_json(operation, body) }
    }
}

fn of_json(operation: Operation, body: &[u8]) -> Demand {
    let mut asked = Asked { answers: 1, ..Asked::default() };
    let mut reader = Reader::default();
    reader.feed(body, &mut asked);
    let Asked { answers, output_tokens_max, .. } = asked;
    let given = Usage::NOTHING.with(Unit::Input, asked.words.tokens());
    let searches = Usage::NOTHING.with(Unit::Search, asked.searches());
    match operation {
        Operation::Speech => Demand {
            given: given.with(Unit::Characters, asked.words.characters()),
            // Twenty tokens are a second of sound, in which fifteen characters are read.
            made: Usage::NOTHING
                .with(Unit::AudioOutput, asked.words.characters().saturating_mul(4) / 3),
            ..Demand::default()
        },
        Operation::Image => pictures(given, answers),
        Operation::Embedding | Operation::Moderation | Operation::Classification => {
            Demand { given, ..Demand::default() }
        }
        Operation::Search => Demand { given: given.with(Unit::Search, 1), ..Demand::default() },
        Operation::Rerank => {
            let ranked = asked.ranked.max(asked.words.tokens() / RANKED_TOKENS);
            let searches = ranked.div_ceil(RANKED_IN_A_SEARCH).max(1);
            Demand { given: given.with(Unit::Search, searches), ..Demand::default() }
        }
        Operation::Document => {
            let given = given.with(Unit::Page, asked.pages());
            Demand { given, made: Usage::NOTHING, answers, output_tokens_max }
        }
        Operation::Chat
        | Operation::Completion
        | Operation::Invoke
        | Operation::Response
        | Operation::Transcription
        | Operation::Translation
        | Operation::Provenance
        | Operation::Decision
        | Operation::Run
        | Operation::Batch
        | Operation::FineTuning
        | Operation::Eval
        | Operation::Video
        | Operation::Agent
        | Operation::Session
        | Operation::Realtime
        | Operation::Other => Demand { given, made: searches, answers, output_tokens_max },
    }
}

fn pictures(given: Usage, pictures: u64) -> Demand {
    let tokens = pictures.saturating_mul(PICTURE_TOKENS);
    let made = Usage::NOTHING.with(Unit::ImageOutput, tokens);
    Demand { given: given.with(Unit::Image, pictures), made, ..Demand::default() }
}

/// A form brings a recording or pictures, whose own bytes are not looked through.
fn of_form(operation: Operation, body: &[u8]) -> Demand {
    let head = &body[..body.len().min(FORM_HEAD_BYTES)];
    let tokens = ATTACHMENT_TOKENS + body.len() as u64 / ATTACHMENT_BYTES_A_TOKEN;
    let nothing = Usage::NOTHING;
    if matches!(operation, Operation::Transcription | Operation::Translation) {
        let millis = sound_millis(head, body.len() as u64);
        let seconds = millis.div_ceil(1_000);
        let sound = seconds.saturating_mul(SOUND_TOKENS_A_SECOND);
        Demand {
            given: nothing.with(Unit::AudioSecond, millis).with(Unit::AudioInput, sound),
            made: nothing,
            answers: 1,
            output_tokens_max: Some(seconds.saturating_mul(SPOKEN_TOKENS_A_SECOND)),
        }
    } else if operation == Operation::Image {
        pictures(nothing.with(Unit::ImageInput, tokens), ordered(body))
    } else {
        Demand { given: nothing.with(Unit::Input, tokens), answers: 1, ..Demand::default() }
    }
}

/// How long `bytes` of sound last that begin somewhere in `head`. A WAV file says how many bytes it has for a second.
fn sound_millis(head: &[u8], bytes: u64) -> u64 {
    let wav = memmem::find(head, b"WAVEfmt ").and_then(|at| head.get(at + 20..at + 24));
    let rate = wav.and_then(|rate| rate.try_into().ok()).map(u32::from_le_bytes);
    let rate = rate.map(u64::from).filter(|rate| *rate > 0).unwrap_or(SOUND_BYTES_A_SECOND);
    bytes.saturating_mul(1_000) / rate
}

/// How many pictures the field `n` of a form orders.
fn ordered(body: &[u8]) -> u64 {
    let field = |body| memmem::find(body, b"name=\"n\"\r\n\r\n");
    let digits = field(body).map(|at| &body[at + 12..]).unwrap_or_default();
    let end = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&digits[..end]).ok().and_then(|digits| digits.parse().ok());
    number.unwrap_or(1)
}

#[derive(Debug, Default)]
struct Asked {
    words: Tally,
    answers: u64,
    output_tokens_max: Option<u64>,
    /// A tool that searches is offered, and so often it may be used.
    may_search: bool,
    searches_max: Option<u64>,
    /// Documents that are to be ranked.
    ranked: u64,
    /// Pages that are named, and those of the document that is to be read.
    pages_named: u64,
    pages_brought: u64,
    text: Text,
    /// Bytes of the text that is being read, and whether they begin as a file's do.
    length: u64,
    is_data: bool,
}

/// What the text that is being read is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Text {
    /// Read by the model.
    Words,
    /// Read by the model, unless it turns out to be an attachment.
    Unsure,
    Attachment,
    #[default]
    Other,
}

impl Asked {
    fn searches(&self) -> u64 {
        if self.may_search { self.searches_max.unwrap_or(SEARCHES) } else { 0 }
    }

    fn pages(&self) -> u64 {
        match (self.pages_named, self.pages_brought) {
            (0, 0) => PAGES_UNSEEN,
            (0, pages) | (pages, _) => pages,
        }
    }
}

impl Sink for Asked {
    fn number(&mut self, path: &str, number: &str) {
        match path {
            "max_completion_tokens"
            | "max_output_tokens"
            | "max_tokens"
            | "max_tokens_to_sample"
            | "max_gen_len"
            | "generationConfig.maxOutputTokens"
            | "generation_config.max_output_tokens"
            | "inferenceConfig.maxTokens"
            | "textGenerationConfig.maxTokenCount"
            | "options.num_predict" => {
                self.output_tokens_max = number.parse().ok().or(self.output_tokens_max);
            }
            "n" | "generationConfig.candidateCount" => {
                self.answers = number.parse().ok().unwrap_or(self.answers);
            }
            "tools[].max_uses" | "max_tool_calls" => {
                self.searches_max = number.parse().ok().or(self.searches_max);
            }
            "pages[]" => self.pages_named += 1,
            // A text that was taken apart before.
            "input[]" | "input[][]" | "prompt[]" | "prompt[][]" => self.words.add_tokens(1),
            _ => {}
        }
    }

    fn begin(&mut self, path: &str) {
        let root = path.split(['.', '[']).next().unwrap_or_default();
        let last = path.rsplit('.').next().unwrap_or_default();
        (self.length, self.is_data) = (0, false);
        self.ranked += u64::from(path == "documents[]");
        self.text = match last {
            "role" | "type" | "id" | "call_id" | "tool_call_id" | "tool_use_id" | "detail"
            | "format" | "media_type" | "mimeType" | "signature" => Text::Other,
            "url" | "image_url" | "data" | "file_data" | "file_id" | "fileUri" | "bytes"
            | "images[]"
                if CONVERSATIONS.contains(&root) =>
            {
                Text::Attachment
            }
            _ if CONVERSATIONS.contains(&root) => Text::Unsure,
            _ if INSTRUCTIONS.contains(&root) => Text::Words,
            _ => Text::Other,
        };
    }

    fn piece(&mut self, piece: &[u8]) {
        self.is_data |= self.length == 0 && piece.starts_with(b"data:");
        if self.text == Text::Unsure {
            self.text = if self.is_data { Text::Attachment } else { Text::Words };
        }
        self.length = self.length.saturating_add(piece.len() as u64);
        if self.text == Text::Words {
            self.words.feed(piece);
        }
    }

    fn end(&mut self, path: &str, word: Option<&str>) {
        match (path, word) {
            ("tools[].type", Some(tool)) => self.may_search |= tool.starts_with("web_search"),
            ("document.document_url", _) if self.is_data => {
                self.pages_brought = self.length.div_ceil(PAGE_BYTES);
            }
            ("document.image_url" | "document.image_url.url", _) => self.pages_brought = 1,
            _ => {}
        }
        if self.text == Text::Attachment {
            self.words.add_tokens(ATTACHMENT_TOKENS + self.length / ATTACHMENT_BYTES_A_TOKEN);
        }
    }

    fn element(&mut self, path: &str) {
        if matches!(path, "messages[]" | "input[]" | "contents[]") {
            self.words.add_tokens(MESSAGE_TOKENS);
        }
        self.ranked += u64::from(path == "documents[]");
    }

    fn opened(&mut self, path: &str) {
        let is_google = matches!(path, "tools[].googleSearch" | "tools[].google_search");
        self.may_search |= is_google || path == "web_search_options";
    }
}

#[cfg(test)]
mod tests;
