//! The things that an answer tells of for the first time: what its request has made, and what came of a job.
//!
//! Only places that the provider fills in are read, never what a model or a customer wrote: whoever could have an id
//! told there would own it.

use memchr::memmem;

use http::Method;

use super::super::json::{Reader, Sink};
use super::super::usage::events::{Line, feed_events};
use super::super::{Dialect, Operation, Path, Route};

/// Longest id that is read; no provider has one so long. Google says nothing of the length of its handles.
const ID_BYTES_MAX: usize = 1024;

/// Most things that one answer may tell of.
const THINGS_MAX: usize = 2_048;

/// How long a thing is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Until it is deleted.
    Kept,
    /// Providers forget it after a month or two.
    Passing,
}

/// A thing that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub id: String,
    pub life: Life,
}

/// The places in an answer where ids of things stand that are new.
#[derive(Clone, Copy, Debug)]
struct Places {
    kept: &'static [&'static str],
    passing: &'static [&'static str],
}

/// What answers a request with a thing of its own.
const THING: Places = Places {
    kept: &[
        "id",
        "name",
        "file.id",
        "file.name",
        "thread_id",
        "conversation_id",
        "tool_resources.file_search.vector_store_ids[]",
        "session.id",
    ],
    passing: &[],
};

/// What a job is, and what it has made.
const JOB: Places = Places {
    kept: &[
        "id",
        "name",
        "output_file_id",
        "error_file_id",
        "output_file",
        "error_file",
        "result_files[]",
        "fine_tuned_model",
        "data[].fine_tuned_model_checkpoint",
        "output_dataset_id",
        "metadata.tunedModel",
        "response.responsesFile",
        "metadata.output.responsesFile",
        "dest.fileName",
    ],
    passing: &[],
};

/// An answer that may be continued, with its items and the container in which it ran code.
const RESPONSE: Places = Places {
    kept: &["output[].container_id", "response.output[].container_id", "item.container_id"],
    passing: &[
        "id",
        "response.id",
        "interaction.id",
        "output[].id",
        "response.output[].id",
        "item.id",
    ],
};

/// A session of Google's Live API, each time that it can be gone on with from there.
const SESSION: Places = Places { kept: &[], passing: &["sessionResumptionUpdate.newHandle"] };

/// A chat that is stored.
const STORED: Places = Places { kept: &[], passing: &["id"] };

/// Items that were put into a conversation.
const ITEMS: Places = Places { kept: &[], passing: &["data[].id"] };

/// Where Anthropic's model has run code, and the files that it wrote.
const CODE: Places = Places {
    kept: &[
        "container.id",
        "message.container.id",
        "delta.container.id",
        "content[].content.content[].file_id",
        "content_block.content.content[].file_id",
    ],
    passing: &[],
};

impl Route {
    /// Reads the answer to `body` for what it makes; nothing, if it makes nothing.
    pub fn made(&self, method: &Method, path: &Path, body: &[u8]) -> Option<MadeReader> {
        if !self.has_things() {
            return None;
        }
        let places = match self.operation {
            Operation::Response => Some(RESPONSE),
            Operation::Chat if self.pattern.contains("/conversations") => Some(THING),
            Operation::Chat if self.language == Dialect::Anthropic => {
                let runs_code = ["code_execution", "\"container\""];
                let runs = runs_code.iter().any(|sign| mentions(body, sign));
                runs.then_some(CODE)
            }
            Operation::Chat => mentions(body, "\"store\"").then_some(STORED),
            Operation::Run => self
                .thing_in(method, path)
                .is_none()
                .then_some(Places { kept: &["thread_id"], passing: &[] }),
            Operation::Batch | Operation::FineTuning | Operation::Video => Some(JOB),
            Operation::Agent | Operation::Session => Some(THING),
            Operation::Other => self.made_freely(method, path),
            Operation::Completion
            | Operation::Invoke
            | Operation::Embedding
            | Operation::Image
            | Operation::Speech
            | Operation::Transcription
            | Operation::Translation
            | Operation::Document
            | Operation::Moderation
            | Operation::Classification
            | Operation::Provenance
            | Operation::Decision
            | Operation::Search
            | Operation::Rerank
            | Operation::Eval
            | Operation::Realtime => None,
        };
        places.map(MadeReader::new)
    }

    fn made_freely(&self, method: &Method, path: &Path) -> Option<Places> {
        let is_about = |word: &str| self.pattern.contains(word);
        let is_of_job = is_about("/batch") || is_about("/jobs/") || is_about("Jobs/");
        match (method.as_str(), self.thing_in(method, path).is_some()) {
            ("GET" | "POST", true) if is_of_job => Some(JOB),
            ("GET", true) if is_about("/responses/") || is_about("/interactions/") => {
                Some(RESPONSE)
            }
            ("POST", true) if is_about("/uploads/") => Some(THING),
            ("POST", true) if is_about("/conversations/") => Some(ITEMS),
            ("POST" | "PUT", false) => Some(THING),
            _ => None,
        }
    }
}

/// Whether `sign` stands in `body`, or may, hidden in an escape.
fn mentions(body: &[u8], sign: &str) -> bool {
    let has_escapes = || memchr::memchr(b'\\', body).is_some();
    memmem::find(body, sign.as_bytes()).is_some()
        || has_escapes() && memmem::find(body, b"\\u00").is_some()
}

/// Reads one answer.
#[derive(Debug)]
pub struct MadeReader {
    /// Where in a line of events, if the answer is one.
    line: Option<Line>,
    reader: Reader,
    seen: Seen,
}

#[derive(Debug)]
struct Seen {
    places: Places,
    /// How long the thing is there whose id is being read.
    life: Option<Life>,
    id: Vec<u8>,
    made: Vec<Made>,
    /// How many there were in all.
    told: usize,
}

impl MadeReader {
    fn new(places: Places) -> Self {
        let seen = Seen { places, life: None, id: Vec::new(), made: Vec::new(), told: 0 };
        Self { line: None, reader: Reader::default(), seen }
    }

    /// Reads the events of a socket that tell of responses.
    pub fn of_responses() -> Self {
        Self::new(RESPONSE)
    }

    /// Reads the events of a socket that tell of sessions.
    pub fn of_sessions() -> Self {
        Self::new(SESSION)
    }

    /// What follows is the next event, whatever became of this one.
    pub fn renew(&mut self) {
        self.reader.reset();
        (self.seen.life, self.seen.told) = (None, 0);
    }

    /// The same for an answer of server-sent events.
    pub fn of_events(self) -> Self {
        Self { line: Some(Line::Field(0)), ..self }
    }

    /// Takes the next bytes of the answer.
    pub fn feed(&mut self, piece: &[u8]) {
        match self.line {
            Some(line) => {
                self.line = Some(feed_events(line, piece, &mut self.reader, &mut self.seen));
            }
            None => self.reader.feed(piece, &mut self.seen),
        }
    }

    /// What was made that has not been told yet.
    pub fn news(&mut self) -> Vec<Made> {
        std::mem::take(&mut self.seen.made)
    }
}

impl Sink for Seen {
    fn number(&mut self, _: &str, _: &str) {}

    fn begin(&mut self, path: &str) {
        self.id.clear();
        self.life = if self.places.kept.contains(&path) {
            Some(Life::Kept)
        } else if self.places.passing.contains(&path) {
            Some(Life::Passing)
        } else {
            None
        };
    }

    fn piece(&mut self, piece: &[u8]) {
        if self.life.is_some() && self.id.len() <= ID_BYTES_MAX {
            self.id.extend_from_slice(piece);
        }
    }

    fn end(&mut self, _: &str, _: Option<&str>) {
        let Some(life) = self.life.take() else { return };
        // No id has an escape.
        let is_id = (1..=ID_BYTES_MAX).contains(&self.id.len()) && !self.id.contains(&b'\\');
        let Some(id) = std::str::from_utf8(&self.id).ok().filter(|_| is_id) else { return };
        if self.told < THINGS_MAX && !self.made.iter().any(|made| made.id == id) {
            self.told += 1;
            self.made.push(Made { id: id.to_owned(), life });
        }
    }
}
