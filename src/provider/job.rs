//! Jobs that go on after the answer that began them: where each is asked for, and what an answer says of its end.
//!
//! Knows no account and no price. What a state means is documented by the providers; a state that isn't known is no end.

use super::json::{Reader, Sink};
use super::usage::UsageReader;
use super::{Dialect, Operation, Route};
use crate::credit::{Unit, Usage};

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did this work.
    Work(Usage),
    /// It did none.
    Nothing,
}

/// Reads one answer about a job.
#[derive(Debug)]
pub struct JobReader {
    reader: Reader,
    state: State,
    usage: UsageReader,
    /// Each line is about one request of a batch.
    lines: Option<Usage>,
}

#[derive(Debug, Default)]
struct State {
    status: String,
    trained_tokens: Option<u64>,
    completed: u64,
}

/// The id of the job whose state `GET path` shows, if `route` is of that kind.
pub fn asked_for(route: &Route, path: &str) -> Option<String> {
    let (path, kind) = match route.pattern {
        "/v1/responses/{response_id}" => (path, Operation::Response),
        "/v1/batches/{batch_id}" => (path, Operation::Batch),
        "/v1/videos/{video_id}" => (path, Operation::Video),
        "/v1/fine_tuning/jobs/{fine_tuning_job_id}" => (path, Operation::FineTuning),
        "/v1/messages/batches/{message_batch_id}/results" => {
            (path.strip_suffix("/results")?, Operation::Batch)
        }
        _ => return None,
    };
    debug_assert_ne!(kind, Operation::Other);
    path.rsplit('/').next().filter(|id| !id.is_empty()).map(str::to_owned)
}

/// By what a job is found again: the dialect, and the id that the provider gave it.
pub fn name(dialect: Dialect, id: &str) -> String {
    format!("{}/{id}", dialect.as_str())
}

impl JobReader {
    /// For a plain answer of `route`, of this content type; nothing if it can't be read.
    pub fn of(route: &Route, content_type: Option<&str>, encoding: Option<&str>) -> Option<Self> {
        let is_stream = content_type.is_some_and(|kind| kind.starts_with("text/event-stream"));
        if is_stream || encoding.is_some_and(|encoding| encoding != "identity") {
            return None;
        }
        let operation = match route.pattern {
            "/v1/messages/batches/{message_batch_id}/results" => Operation::Batch,
            // The other ones report in the words of responses, or not at all.
            _ => Operation::Response,
        };
        let has_lines = operation == Operation::Batch;
        Some(Self {
            reader: Reader::default(),
            state: State::default(),
            usage: reader(route.language, operation),
            lines: has_lines.then_some(Usage::NOTHING),
        })
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8], route_language: Dialect) {
        let Some(sum) = &mut self.lines else {
            self.reader.feed(bytes, &mut self.state);
            self.usage.feed(bytes);
            return;
        };
        // A line feed within a text is escaped.
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.usage.feed(line);
            if line.ends_with(b"\n") {
                *sum = sum.plus(&self.usage.report().usage);
                self.usage = reader(route_language, Operation::Batch);
            }
        }
    }

    /// How the job ended, if the answer, which is whole, says so.
    pub fn outcome(&self) -> Option<Outcome> {
        let report = self.usage.report();
        if let Some(sum) = self.lines {
            let usage = sum.plus(&report.usage);
            let is_nothing = usage == Usage::NOTHING;
            return Some(if is_nothing { Outcome::Nothing } else { Outcome::Work(usage) });
        }
        let did_nothing = match self.state.status.as_str() {
            "completed" | "incomplete" | "succeeded" => false,
            "failed" | "cancelled" | "canceled" | "expired" => self.state.completed == 0,
            _ => return None,
        };
        if let Some(tokens) = self.state.trained_tokens {
            return Some(Outcome::Work(Usage::NOTHING.with(Unit::Input, tokens)));
        }
        if report.tells_tokens && report.usage != Usage::NOTHING {
            return Some(Outcome::Work(report.usage));
        }
        did_nothing.then_some(Outcome::Nothing)
    }
}

fn reader(dialect: Dialect, operation: Operation) -> UsageReader {
    UsageReader::for_response(dialect, operation, Some("application/json"))
}

impl Sink for State {
    fn number(&mut self, path: &str, number: &str) {
        match path {
            "trained_tokens" => self.trained_tokens = number.parse().ok(),
            "request_counts.completed" => self.completed = number.parse().unwrap_or(u64::MAX),
            _ => {}
        }
    }

    fn begin(&mut self, _: &str) {}

    fn piece(&mut self, _: &[u8]) {}

    fn end(&mut self, path: &str, word: Option<&str>) {
        if let ("status", Some(word)) = (path, word) {
            word.clone_into(&mut self.status);
        }
    }

    fn element(&mut self, _: &str) {}
}
