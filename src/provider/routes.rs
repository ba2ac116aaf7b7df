//! The words of a route table, and the look-up by method and exact segments.
//!
//! The tables themselves are text files beside the dialects. Knows no dialect and no price.

use std::fmt;
use std::str::FromStr;

use http::Method;
use matchit::Router;

use super::Path;

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
    Response,
    Embedding,
    Image,
    Speech,
    Transcription,
    Translation,
    Moderation,
    Provenance,
    Decision,
    Run,
    Search,
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
    /// The parameter `model` of the query.
    Query,
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
}

/// A word that is none of a closed set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {set} `{word}`; the known ones are {known}")]
pub struct UnknownWord {
    set: &'static str,
    word: String,
    known: String,
}

/// All routes of one dialect.
pub(super) struct Table {
    by_method: Vec<(Method, Router<Route>)>,
    upgrades: Router<Route>,
}

impl Table {
    /// Reads a table that is part of the program: `method class operation model path` on each line, `#` for
    /// comments.
    ///
    /// # Panics
    ///
    /// On any fault in the text, which the tests would show first.
    pub(super) fn parse(text: &'static str) -> Self {
        let mut table = Self { by_method: Vec::new(), upgrades: Router::new() };
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Err(fault) = table.add(line) {
                panic!("the embedded route table has a fault at `{line}`: {fault}");
            }
        }
        table
    }

    /// See [`super::Dialect::route`].
    pub(super) fn find(&self, method: &Method, upgrade: bool, path: &Path) -> Route {
        let router = if upgrade { Some(&self.upgrades) } else { self.router(method) };
        let found = router.and_then(|router| router.at(path.as_str()).ok());
        match found {
            Some(found) => *found.value,
            None if upgrade => Route::unknown(Class::Realtime),
            None => Route::unknown(Class::Unknown),
        }
    }

    fn router(&self, method: &Method) -> Option<&Router<Route>> {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        self.by_method.iter().find(|(known, _)| known == method).map(|(_, router)| router)
    }

    fn add(&mut self, line: &'static str) -> anyhow::Result<()> {
        let mut words = line.split_ascii_whitespace();
        let mut word = || words.next().ok_or_else(|| anyhow::anyhow!("a word is missing"));
        let (method, class, operation, model, pattern) =
            (word()?, word()?.parse()?, word()?.parse()?, model_at(word()?)?, word()?);
        anyhow::ensure!(words.next().is_none(), "a word too many");
        let router = if method == "UPGRADE" {
            &mut self.upgrades
        } else {
            let method = Method::from_bytes(method.as_bytes())?;
            if self.router(&method).is_none() {
                self.by_method.push((method.clone(), Router::new()));
            }
            let known = self.by_method.iter_mut().find(|(known, _)| *known == method);
            &mut known.ok_or_else(|| anyhow::anyhow!("HEAD is looked up as GET"))?.1
        };
        router.insert(by_position(pattern), Route { class, operation, model, pattern })?;
        Ok(())
    }
}

impl Route {
    fn unknown(class: Class) -> Self {
        let (operation, model) = match class {
            Class::Realtime => (Operation::Realtime, ModelAt::Query),
            Class::Free
            | Class::Metered
            | Class::SessionGrant
            | Class::Administration
            | Class::Unknown => (Operation::Other, ModelAt::Absent),
        };
        Self { class, operation, model, pattern: "unknown" }
    }
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
    pub const ALL: [Self; 21] = [
        Self::Chat,
        Self::Completion,
        Self::Response,
        Self::Embedding,
        Self::Image,
        Self::Speech,
        Self::Transcription,
        Self::Translation,
        Self::Moderation,
        Self::Provenance,
        Self::Decision,
        Self::Run,
        Self::Search,
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
            Self::Response => "response",
            Self::Embedding => "embedding",
            Self::Image => "image",
            Self::Speech => "speech",
            Self::Transcription => "transcription",
            Self::Translation => "translation",
            Self::Moderation => "moderation",
            Self::Provenance => "provenance",
            Self::Decision => "decision",
            Self::Run => "run",
            Self::Search => "search",
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

fn model_at(word: &str) -> anyhow::Result<ModelAt> {
    Ok(match word {
        "json" => ModelAt::Json,
        "json?" => ModelAt::JsonOptional,
        "form" => ModelAt::Multipart,
        "json/form" => ModelAt::JsonOrMultipart,
        "query" => ModelAt::Query,
        "-" => ModelAt::Absent,
        _ => anyhow::bail!("`{word}` is no place of a model"),
    })
}

/// Renames parameters by their position: the router wants one name for one place in the tree.
fn by_position(pattern: &str) -> String {
    let name = |(position, segment): (usize, &str)| {
        if segment.starts_with('{') { format!("{{p{position}}}") } else { segment.to_owned() }
    };
    pattern.split('/').enumerate().map(name).collect::<Vec<_>>().join("/")
}
