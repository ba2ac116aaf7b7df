//! What the simulated provider says, and what it counts.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::request::Request;
use super::switches::Switches;

/// When everything was made: a fixed instant, in seconds, so that the same request gets the same bytes.
pub(super) const CREATED: u64 = 1_767_225_600;

/// The models that there are; any other name will do as well.
pub(super) const MODELS: [&str; 4] = ["sim-small", "sim-large", "sim-embedding", "sim-audio"];

const WORDS: [&str; 8] =
    ["The ", "simulated ", "provider ", "says ", "what ", "it ", "always ", "says. "];

const CHARACTERS_PER_TOKEN: u64 = 4;

/// A streamed answer in its three parts, and the event that says it failed.
pub(super) struct Events {
    pub(super) opening: Vec<Bytes>,
    pub(super) content: Vec<Bytes>,
    pub(super) closing: Vec<Bytes>,
    pub(super) error: Bytes,
}

/// An answer before the switches have had their way with it.
pub(super) enum Answer {
    Json(Value),
    Events(Events),
    /// A stream that is one JSON list.
    List(Events),
    /// Some other body, in pieces.
    Raw(&'static str, Vec<Bytes>),
    /// One of the others, with headers of its own.
    Headed(Vec<(HeaderName, HeaderValue)>, Box<Answer>),
}

/// The tokens of a request and its answer.
pub(super) struct Tokens {
    pub(super) input: u64,
    /// Of the input.
    pub(super) cached: u64,
    pub(super) output: u64,
    /// Of the output.
    pub(super) reasoning: u64,
}

impl Answer {
    /// A body of no bytes.
    pub(super) fn empty() -> Self {
        Self::Raw("text/plain; charset=utf-8", vec![Bytes::new()])
    }
}

impl Events {
    /// The events in the order of sending.
    pub(super) fn arrange(self, switches: &Switches) -> Vec<Bytes> {
        let mut events = self.opening;
        if switches.silent {
            return events;
        }
        if let Some(sent) = switches.error_event {
            events.extend(self.content.into_iter().take(sent));
            events.push(self.error);
        } else {
            events.extend(self.content);
            events.extend(self.closing);
        }
        events
    }
}

/// The pieces of the answer's text: as many as `chunks` says.
pub(super) fn pieces(switches: &Switches) -> Vec<String> {
    let Some(body) = &switches.body else {
        return WORDS.iter().cycle().take(switches.chunks).map(|word| (*word).to_owned()).collect();
    };
    let characters: Vec<char> = body.chars().collect();
    let size = characters.len().div_ceil(switches.chunks.max(1)).max(1);
    characters.chunks(size).map(|piece| piece.iter().collect()).collect()
}

/// Four characters of text are a token: of all strings in what was asked, and of the answer.
pub(super) fn tokens(request: &Request, answer: &str) -> Tokens {
    let asked = [
        "messages",
        "instructions",
        "input",
        "prompt",
        "system",
        "systemInstruction",
        "contents",
        "content",
        "requests",
    ];
    let asked = asked.map(|name| &request.json[name]);
    let characters = asked.into_iter().map(text_length).sum::<u64>();
    let answered = answer.chars().count() as u64;
    Tokens {
        input: request
            .switches
            .input_tokens
            .unwrap_or_else(|| characters.div_ceil(CHARACTERS_PER_TOKEN)),
        output: request
            .switches
            .output_tokens
            .unwrap_or_else(|| answered.div_ceil(CHARACTERS_PER_TOKEN)),
        cached: request.switches.cached_tokens,
        reasoning: request.switches.reasoning_tokens,
    }
}

/// The tokens of all strings in a value.
pub(super) fn text_tokens(value: &Value) -> u64 {
    text_length(value).div_ceil(CHARACTERS_PER_TOKEN)
}

/// What is reported of a request, unless it is to be left out.
pub(super) fn reported(request: &Request, usage: Value) -> Value {
    if request.switches.no_usage { Value::Null } else { usage }
}

/// One event of a stream; the name may be empty.
pub(super) fn event(name: &str, data: &Value) -> Bytes {
    if name.is_empty() {
        format!("data: {data}\n\n").into()
    } else {
        format!("event: {name}\ndata: {data}\n\n").into()
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('?');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn text_length(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.chars().count() as u64,
        Value::Array(values) => values.iter().map(text_length).sum(),
        Value::Object(members) => members
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "role" | "type"))
            .map(|(_, value)| text_length(value))
            .sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}
