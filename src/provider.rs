//! What the gateway knows of each provider: bytes in, facts out.
//!
//! No I/O, no accounts, no prices: a request's method and path become a [`Route`], an answer's bytes become
//! [`Evidence`], a refusal becomes a body that the provider's own client libraries understand. Each dialect is
//! one file and one table of routes: the file fills in [`Rules`], from top to bottom, and the functions of
//! [`Dialect`] only choose the file.

pub mod addresses;
mod anthropic;
mod azure;
mod bedrock;
mod choice;
mod cohere;
pub mod credentials;
mod deepseek;
mod demand;
mod evidence;
mod frames;
mod gemini;
pub mod ids;
pub mod include_usage;
pub mod job;
mod json;
mod mistral;
mod ollama;
mod openai;
mod openrouter;
mod path;
mod routes;
pub mod socket;
pub mod sse;
mod substance;
mod table;
mod tokens;
mod usage;
mod vertex;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;

pub use choice::{Placed, choose, hint, place};
pub use demand::Demand;
pub use evidence::Evidence;
pub use frames::Event;
pub use path::{Path, PathError, Root, Spelled};
pub use routes::{Class, ModelAt, Operation, Route, UnknownWord};
pub use usage::{Report, UsageReader};

use frames::Framing;
use table::Table;

/// The language a provider speaks: its routes, its bodies, its errors and its streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// `OpenAI`'s, which many others speak too.
    OpenAi,
    /// Anthropic's.
    Anthropic,
    /// That of Google's Gemini API.
    Gemini,
    /// That of Google's Vertex AI.
    Vertex,
    /// That of Azure `OpenAI` and Foundry.
    Azure,
    /// `OpenRouter`'s.
    OpenRouter,
    /// Mistral's.
    Mistral,
    /// `DeepSeek`'s.
    DeepSeek,
    /// Cohere's.
    Cohere,
    /// Ollama's own, beside which it speaks those of `OpenAI` and Anthropic.
    Ollama,
    /// That of Amazon Bedrock's runtime.
    Bedrock,
}

/// What one event of a streamed answer is to the meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Carries generated content: text, a tool call, reasoning, audio, an image, or a finished item.
    Output,
    /// The provider failed after its status line said 200.
    Error,
    /// The provider's own end of the stream: the answer is whole.
    Done,
    /// Opens, announces, or keeps the connection alive.
    Other,
}

/// A request that the gateway does not pass on, said in the caller's dialect.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    pub status: StatusCode,
    /// `OpenAI`'s word for the kind of error, e.g. `insufficient_quota`. Dialects without one go by the status.
    pub kind: &'a str,
    /// The word that programs match on, e.g. `credits_held`.
    pub code: &'a str,
    /// One full sentence for a person, without secrets.
    pub message: &'a str,
    /// The request field at fault.
    pub param: Option<&'a str>,
    /// Seconds after which it may be tried again, if it may.
    pub retry_after: Option<u64>,
    /// The request's id.
    pub request: &'a str,
}

/// A refusal in the words of a dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worded {
    /// As it was, but where the provider knows no such status.
    pub status: StatusCode,
    /// JSON.
    pub body: Bytes,
    /// The header in which the provider's libraries look for the request's id or for the kind of error.
    pub header: Option<(HeaderName, HeaderValue)>,
}

/// How a provider wants its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// In a header of its own, as it is.
    Header(&'static str),
    /// In two such headers.
    Headers([&'static str; 2]),
}

/// The rules of one dialect. Each file has one of these, and below it these functions in this order.
struct Rules {
    /// The dialect's name in the configuration.
    word: &'static str,
    /// Its routes, also for those who speak it below another beginning.
    table: &'static str,
    /// The same to look up.
    routes: LazyLock<Table>,
    /// What the base URL of the configuration stands for at the start of a canonical path.
    base: &'static str,
    /// How a path begins.
    root: fn(&[&str]) -> Result<Root, PathError>,
    /// The part of a canonical path in which a slash may be escaped.
    slashes: for<'p> fn(&Method, &'p str) -> Option<&'p str>,
    /// Where the provider's key goes in a call of a route whose bodies are in this language.
    credential: fn(Dialect) -> Credential,
    /// A refusal in the provider's own words.
    refusal: fn(&Refusal<'_>) -> Worded,
    /// How an answer of this content type, in lower case and without parameters, is framed.
    framing: fn(&str) -> Framing,
    /// What an event of a stream is.
    event: fn(Event<'_>) -> EventKind,
}

impl Dialect {
    pub const ALL: [Self; 11] = [
        Self::OpenAi,
        Self::Anthropic,
        Self::Gemini,
        Self::Vertex,
        Self::Azure,
        Self::OpenRouter,
        Self::Mistral,
        Self::DeepSeek,
        Self::Cohere,
        Self::Ollama,
        Self::Bedrock,
    ];

    fn rules(self) -> &'static Rules {
        match self {
            Self::OpenAi => &openai::RULES,
            Self::Anthropic => &anthropic::RULES,
            Self::Gemini => &gemini::RULES,
            Self::Vertex => &vertex::RULES,
            Self::Azure => &azure::RULES,
            Self::OpenRouter => &openrouter::RULES,
            Self::Mistral => &mistral::RULES,
            Self::DeepSeek => &deepseek::RULES,
            Self::Cohere => &cohere::RULES,
            Self::Ollama => &ollama::RULES,
            Self::Bedrock => &bedrock::RULES,
        }
    }

    pub fn as_str(self) -> &'static str {
        self.rules().word
    }

    /// Brings the path of a request to its canonical spelling.
    pub fn path(self, method: &Method, segments: &[&str]) -> Result<Path, PathError> {
        let rules = self.rules();
        Path::new(segments, (rules.root)(segments)?, |path| (rules.slashes)(method, path))
    }

    /// The same from the bytes of the path, without its query.
    pub fn normalise(self, method: &Method, raw: &str) -> Result<Path, PathError> {
        self.path(method, &Spelled::read(raw)?.segments()?)
    }

    /// Finds what a request is. `upgrade` says that it asks for a WebSocket (not merely for HTTP/2).
    ///
    /// Only exact segments count, never a prefix. What the table does not list is [`Class::Unknown`], or
    /// [`Class::Realtime`] for a WebSocket: the gateway decides what becomes of it.
    pub fn route(self, method: &Method, upgrade: bool, path: &Path) -> Route {
        self.rules().routes.find(method, upgrade, path)
    }

    /// The path of a call below the base URL whose own path is `base`: what both say is said once.
    pub fn below(self, base: &str, path: &Path) -> String {
        let path = path.as_str();
        let stands_for = self.rules().base;
        if !stands_for.is_empty() {
            return format!("{base}{}", path.strip_prefix(stands_for).unwrap_or(path));
        }
        let ends = base.match_indices('/').map(|(at, _)| &base[at..]);
        let said = ends.into_iter().find_map(|end| {
            path.strip_prefix(end).filter(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        format!("{base}{}", said.unwrap_or(path))
    }

    /// Where the provider's key goes in a call of a route whose bodies are in `language`.
    pub fn credential(self, language: Self) -> Credential {
        (self.rules().credential)(language)
    }

    /// A refusal as the provider itself would word it.
    pub fn refusal(self, refusal: &Refusal<'_>) -> Worded {
        (self.rules().refusal)(refusal)
    }

    /// Tells what one event of a streamed answer is.
    pub fn event(self, event: Event<'_>) -> EventKind {
        (self.rules().event)(event)
    }

    /// How an answer of this content type, in lower case and without parameters, is framed.
    fn framing(self, content_type: &str) -> Framing {
        (self.rules().framing)(content_type)
    }
}

impl Worded {
    /// A body that needs no more than to be written.
    fn plain(refusal: &Refusal<'_>, body: &impl serde::Serialize) -> Self {
        // Texts and numbers always serialise.
        let body = serde_json::to_vec(body).unwrap_or_default();
        Self { status: refusal.status, body: body.into(), header: None }
    }

    /// The same with a header, unless its value can't be one.
    fn with(self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).ok();
        Self { header: value.map(|value| (HeaderName::from_static(name), value)), ..self }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Dialect {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|dialect| dialect.as_str() == word)
            .ok_or_else(|| UnknownWord::new("dialect", word, Self::ALL.map(Self::as_str)))
    }
}
