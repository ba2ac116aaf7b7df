//! The words in which a route is described.

use std::fmt;
use std::str::FromStr;

use super::Dialect;

/// Whether a call spends what is sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Configuration: passes without credits.
    Free,
    /// AI work, now or in a job that it starts.
    Metered,
    /// Hands the client a credential with which it talks to the provider behind the gateway's back.
    SessionGrant,
    /// Administration of the provider's organisation.
    Administration,
    /// A WebSocket, known or not.
    Realtime,
    /// Not in the table.
    Unknown,
}

/// The kind of work, as price rules and metric labels name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Chat,
    Completion,
    /// A model by its name alone, whatever it does.
    Invoke,
    Response,
    Embedding,
    Image,
    Speech,
    Transcription,
    Translation,
    /// Reading of a document: text recognition, parsing.
    Document,
    Moderation,
    Classification,
    Provenance,
    Decision,
    Run,
    Search,
    Rerank,
    Batch,
    FineTuning,
    Eval,
    Video,
    Agent,
    Session,
    Realtime,
    /// No AI work, or none that the table knows.
    Other,
}

/// Where a request names its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModelAt {
    /// The field `model` of a JSON object.
    Json,
    /// The same, but it may be missing: a default of the provider's, or a name nested where the gateway does
    /// not look (`session.model`, `data_source.model`). Without it the default price applies.
    JsonOptional,
    /// The part `model` of a multipart form.
    Multipart,
    /// A JSON object or a multipart form, as the content type says. It may be missing.
    JsonOrMultipart,
    /// The parameter of the query that has this name.
    Query(&'static str),
    /// The segment `{model}` of the path, or all segments from `{*model}` on.
    Path,
    /// The field `model` of a JSON object, or the list `models`, of which the provider takes one. Both may be missing.
    JsonSeveral,
    /// The field `model` in the `params` of each of the `requests` of a JSON object.
    Batch,
    /// Not in the request.
    Absent,
}

/// What the table says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub class: Class,
    pub operation: Operation,
    pub model: ModelAt,
    /// The path with its parameters named, e.g. `/v1/models/{model}`; `unknown` if not in the table. One of a
    /// bounded set, so it can label a metric.
    pub pattern: &'static str,
    /// What its bodies, its errors and its streams are written in: not always the provider's own dialect.
    pub language: Dialect,
}

/// A word that is none of a closed set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {set} `{word}`; the known ones are {known}")]
pub struct UnknownWord {
    set: &'static str,
    word: String,
    known: String,
}

impl Class {
    pub const ALL: [Self; 6] = [
        Self::Free,
        Self::Metered,
        Self::SessionGrant,
        Self::Administration,
        Self::Realtime,
        Self::Unknown,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Metered => "metered",
            Self::SessionGrant => "session_grant",
            Self::Administration => "administration",
            Self::Realtime => "realtime",
            Self::Unknown => "unknown",
        }
    }
}

impl FromStr for Class {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|class| class.as_str() == word)
            .ok_or_else(|| UnknownWord::new("class", word, Self::ALL.map(Self::as_str)))
    }
}

impl Operation {
    pub const ALL: [Self; 25] = [
        Self::Chat,
        Self::Completion,
        Self::Invoke,
        Self::Response,
        Self::Embedding,
        Self::Image,
        Self::Speech,
        Self::Transcription,
        Self::Translation,
        Self::Document,
        Self::Moderation,
        Self::Classification,
        Self::Provenance,
        Self::Decision,
        Self::Run,
        Self::Search,
        Self::Rerank,
        Self::Batch,
        Self::FineTuning,
        Self::Eval,
        Self::Video,
        Self::Agent,
        Self::Session,
        Self::Realtime,
        Self::Other,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completion => "completion",
            Self::Invoke => "invoke",
            Self::Response => "response",
            Self::Embedding => "embedding",
            Self::Image => "image",
            Self::Speech => "speech",
            Self::Transcription => "transcription",
            Self::Translation => "translation",
            Self::Document => "document",
            Self::Moderation => "moderation",
            Self::Classification => "classification",
            Self::Provenance => "provenance",
            Self::Decision => "decision",
            Self::Run => "run",
            Self::Search => "search",
            Self::Rerank => "rerank",
            Self::Batch => "batch",
            Self::FineTuning => "fine_tuning",
            Self::Eval => "eval",
            Self::Video => "video",
            Self::Agent => "agent",
            Self::Session => "session",
            Self::Realtime => "realtime",
            Self::Other => "other",
        }
    }
}

impl FromStr for Operation {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|operation| operation.as_str() == word)
            .ok_or_else(|| UnknownWord::new("operation", word, Self::ALL.map(Self::as_str)))
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl UnknownWord {
    pub(super) fn new<const N: usize>(
        set: &'static str,
        word: &str,
        known: [&'static str; N],
    ) -> Self {
        Self { set, word: word.to_owned(), known: known.join(", ") }
    }
}
