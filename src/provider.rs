//! What the gateway knows of each provider: bytes in, facts out.
//!
//! No I/O, no accounts, no prices: a request's method and path become a [`Route`], an answer's bytes become
//! [`Evidence`], a refusal becomes a body that the provider's own client libraries understand. Each dialect is
//! one file and one table of routes; the functions of [`Dialect`] only choose the file.

pub mod credentials;
mod evidence;
mod openai;
mod path;
mod routes;
pub mod sse;

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;

pub use evidence::Evidence;
pub use path::{Path, PathError};
pub use routes::{Class, ModelAt, Operation, Route, UnknownWord};

/// The language a provider speaks: its routes, its bodies, its errors and its streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// `OpenAI`'s, which many others speak too.
    OpenAi,
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
    /// The provider's word for the kind of error, e.g. `insufficient_quota`.
    pub kind: &'a str,
    /// The word that programs match on, e.g. `credits_held`.
    pub code: &'a str,
    /// One full sentence for a person, without secrets.
    pub message: &'a str,
    /// The request field at fault.
    pub param: Option<&'a str>,
}

impl Dialect {
    pub const ALL: [Self; 1] = [Self::OpenAi];

    /// Finds what a request is. `upgrade` says that it asks for a WebSocket (not merely for HTTP/2).
    ///
    /// Only exact segments count, never a prefix. What the table does not list is [`Class::Unknown`], or
    /// [`Class::Realtime`] for a WebSocket: the gateway decides what becomes of it.
    pub fn route(self, method: &Method, upgrade: bool, path: &Path) -> Route {
        match self {
            Self::OpenAi => openai::route(method, upgrade, path),
        }
    }

    /// The JSON body of a refusal, as the provider itself would word it.
    pub fn error_body(self, refusal: &Refusal<'_>) -> Bytes {
        match self {
            Self::OpenAi => openai::error_body(refusal),
        }
    }

    /// Tells what one event of a streamed answer is.
    pub fn event(self, event: sse::Event<'_>) -> EventKind {
        match self {
            Self::OpenAi => openai::event(event),
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
        }
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
