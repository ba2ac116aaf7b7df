//! Jobs that go on after the answer that began them: where each is asked for, and what an answer says of its end.
//!
//! Knows no account and no price. What a state means is documented by the providers; a state that isn't known is no end.

mod google;

use super::ids::name_at_google;
use super::json::{Reader, Sink};
use super::usage::UsageReader;
use super::usage::events::{Line, feed_events};
use super::{Dialect, Operation, Route};
use crate::credit::{Unit, Usage};

use google::Google;

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did this work.
    Work(Usage),
    /// It did none.
    Nothing,
}

/// What the requests of one of Anthropic's batches came to, a line each.
const RESULTS: &str = "/v1/messages/batches/{message_batch_id}/results";

/// Where Google tells of its jobs; an operation may lie below the model that carries it out.
const INTERACTION: &str = "/{version}/interactions/{id}";
const BATCH: &str = "/{version}/batches/{id}";
const OPERATION: &str = "/{version}/operations/{id}";
const MODEL: &str = "/{version}/models/{*model}";

/// Reads one answer about a job.
#[derive(Debug)]
pub struct JobReader(Form);

#[derive(Debug)]
enum Form {
    /// One object, or the events that lead to it.
    State(Box<Stated>),
    /// Each line is about one request of a batch.
    Lines(Box<Lines>),
    Google(Box<Google>),
}

#[derive(Debug)]
struct Stated {
    reader: Reader,
    /// Where in an event stream the next byte stands.
    line: Option<Line>,
    state: State,
    usage: UsageReader,
}

#[derive(Debug)]
struct Lines {
    dialect: Dialect,
    sum: Usage,
    usage: UsageReader,
}

#[derive(Debug, Default)]
struct State {
    status: String,
    trained_tokens: Option<u64>,
    completed: u64,
}

/// The name of the job whose state `GET path` shows, if `route` is of that kind.
pub fn asked_for(route: &Route, path: &str) -> Option<String> {
    let path = match route.pattern {
        "/v1/responses/{response_id}"
        | "/v1/batches/{batch_id}"
        | "/v1/videos/{video_id}"
        | "/v1/fine_tuning/jobs/{fine_tuning_job_id}" => path,
        RESULTS => path.strip_suffix("/results")?,
        INTERACTION | BATCH | OPERATION | MODEL if route.language == Dialect::Gemini => {
            return name_at_google(path).map(|id| called(Dialect::Gemini, &id));
        }
        _ => return None,
    };
    let id = path.rsplit('/').next().filter(|id| !id.is_empty())?;
    Some(called(route.language, id))
}

/// By what a job is found again that `operation` began: the dialect, and what the provider calls it. Nothing, if it can't
/// be asked for.
pub fn name(dialect: Dialect, operation: Operation, id: &str) -> Option<String> {
    let id = match (dialect, operation) {
        (Dialect::Gemini, Operation::Response) => format!("interactions/{id}"),
        (Dialect::Gemini, Operation::Batch | Operation::Video) => name_at_google(id)?,
        // It is asked for by posting its name.
        (Dialect::Gemini | Dialect::Vertex, _) => return None,
        _ => id.to_owned(),
    };
    Some(called(dialect, &id))
}

fn called(dialect: Dialect, id: &str) -> String {
    format!("{}/{id}", dialect.as_str())
}

impl JobReader {
    /// For an answer of `route`, of this content type.
    pub fn of(route: &Route, content_type: Option<&str>) -> Self {
        let kind = content_type.filter(|kind| kind.starts_with("text/event-stream"));
        let dialect = route.language;
        Self(match route.pattern {
            RESULTS => Form::Lines(Box::new(Lines {
                dialect,
                sum: Usage::NOTHING,
                usage: lines_of(dialect),
            })),
            BATCH | OPERATION | MODEL => Form::Google(Box::default()),
            // All report in the words of responses, or not at all.
            _ => Form::State(Box::new(Stated {
                reader: Reader::default(),
                line: kind.map(|_| Line::Field(0)),
                state: State::default(),
                usage: UsageReader::for_response(
                    dialect,
                    Operation::Response,
                    kind.or(Some("application/json")),
                ),
            })),
        })
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Form::State(stated) => stated.feed(bytes),
            Form::Lines(lines) => lines.feed(bytes),
            Form::Google(google) => google.feed(bytes),
        }
    }

    /// How the job ended, if the answer, which is whole, says so.
    pub fn outcome(&self) -> Option<Outcome> {
        match &self.0 {
            Form::State(stated) => stated.outcome(),
            Form::Lines(lines) => Some(lines.outcome()),
            Form::Google(google) => google.outcome(),
        }
    }
}

impl Stated {
    fn feed(&mut self, bytes: &[u8]) {
        self.usage.feed(bytes);
        let (reader, state) = (&mut self.reader, &mut self.state);
        match self.line {
            Some(line) => self.line = Some(feed_events(line, bytes, reader, state)),
            None => reader.feed(bytes, state),
        }
    }

    fn outcome(&self) -> Option<Outcome> {
        let report = self.usage.report();
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

impl Lines {
    fn feed(&mut self, bytes: &[u8]) {
        // A line feed within a text is escaped.
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.usage.feed(line);
            if line.ends_with(b"\n") {
                self.sum = self.sum.plus(&self.usage.report().usage);
                self.usage = lines_of(self.dialect);
            }
        }
    }

    fn outcome(&self) -> Outcome {
        let usage = self.sum.plus(&self.usage.report().usage);
        if usage == Usage::NOTHING { Outcome::Nothing } else { Outcome::Work(usage) }
    }
}

/// Reads one line about one request.
fn lines_of(dialect: Dialect) -> UsageReader {
    UsageReader::for_response(dialect, Operation::Batch, Some("application/json"))
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

    fn end(&mut self, whole: &str, word: Option<&str>) {
        // Within the events of a stream it stands below what they tell of.
        let path = whole.strip_prefix("response.").or(whole.strip_prefix("interaction."));
        if let ("status", Some(word)) = (path.unwrap_or(whole), word) {
            word.clone_into(&mut self.status);
        }
    }

    fn element(&mut self, _: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(dialect: Dialect, path: &str) -> Route {
        let table = &dialect.rules().routes;
        table.listed("GET", path).unwrap_or_else(|| panic!("{path} of {}", dialect.as_str()))
    }

    /// What the answer says, read at once and byte by byte.
    fn outcome(route: &Route, kind: &str, answer: &str) -> Option<Outcome> {
        let [mut whole, mut bytes] = [(); 2].map(|()| JobReader::of(route, Some(kind)));
        whole.feed(answer.as_bytes());
        answer.as_bytes().chunks(1).for_each(|byte| bytes.feed(byte));
        assert_eq!(whole.outcome(), bytes.outcome(), "{answer}");
        whole.outcome()
    }

    #[test]
    fn a_job_is_called_the_same_where_it_begins_and_where_it_is_asked_for() {
        use Operation as O;
        let veo = "models/veo-3.1-generate-preview/operations/a1b2c3d4e5f6";
        for (dialect, operation, id, path) in [
            (Dialect::OpenAi, O::Response, "resp_1", "/v1/responses/resp_1"),
            (Dialect::OpenAi, O::Batch, "batch_1", "/v1/batches/batch_1"),
            (Dialect::Anthropic, O::Batch, "b_1", "/v1/messages/batches/b_1/results"),
            (Dialect::Gemini, O::Batch, "batches/b", "/v1beta/batches/b"),
            (Dialect::Gemini, O::Video, veo, &format!("/v1beta/{veo}")),
            (Dialect::Gemini, O::Video, "operations/o", "/v1/operations/o"),
            (Dialect::Gemini, O::Response, "v1_x", "/v1beta/interactions/v1_x"),
        ] {
            let began = name(dialect, operation, id);
            assert!(began.is_some(), "{id}");
            assert_eq!(asked_for(&route(dialect, path), path), began, "{path}");
        }
        let model = "/v1beta/models/veo-3.1-generate-preview";
        assert_eq!(asked_for(&route(Dialect::Gemini, model), model), None);
        assert_eq!(name(Dialect::Vertex, O::Video, &format!("projects/p/{veo}")), None);
        assert_eq!(name(Dialect::Gemini, O::FineTuning, "tunedModels/t/operations/o"), None);
    }

    #[test]
    fn a_stream_about_a_response_tells_how_it_ended() {
        let route = route(Dialect::OpenAi, "/v1/responses/resp_1");
        let usage = r#""usage":{"input_tokens":70,"output_tokens":3}"#;
        let event = |kind: &str, status: &str, more: &str| {
            format!(
                "event: {kind}\ndata: {{\"type\":\"{kind}\",\"response\":{{\"id\":\"resp_1\",\"status\":\"{status}\"{more}}}}}\n\n"
            )
        };
        let begun = event("response.created", "in_progress", ",\"usage\":null");
        let done = event("response.completed", "completed", &format!(",{usage}"));
        let failed = event("response.failed", "failed", "");
        let item = "data: {\"type\":\"response.output_item.done\",\"item\":{\"status\":\"completed\"}}\n\n";
        let work = Usage::NOTHING.with(Unit::Input, 70).with(Unit::Output, 3);
        for (answer, expected) in [
            (format!("{begun}{item}{done}"), Some(Outcome::Work(work))),
            (format!("{begun}{failed}"), Some(Outcome::Nothing)),
            (format!("{begun}{item}"), None),
            (String::new(), None),
        ] {
            assert_eq!(outcome(&route, "text/event-stream; charset=utf-8", &answer), expected);
        }
    }

    #[test]
    fn the_results_of_a_batch_are_summed() {
        let route = route(Dialect::Anthropic, "/v1/messages/batches/b/results");
        let one = r#"{"custom_id":"a","result":{"type":"succeeded","message":{"id":"msg_1","type":"message","content":[],
            "usage":{"input_tokens":10,"cache_read_input_tokens":4,"output_tokens":3,"server_tool_use":{"web_search_requests":1}}}}}"#;
        let one = one.replace('\n', "");
        let failed = r#"{"custom_id":"b","result":{"type":"errored","error":{"type":"error"}}}"#;
        let both = Usage::NOTHING
            .with(Unit::Input, 20)
            .with(Unit::CachedInput, 8)
            .with(Unit::Output, 6)
            .with(Unit::Search, 2);
        let results = format!("{one}\n{failed}\n{one}");
        assert_eq!(outcome(&route, "application/x-jsonl", &results), Some(Outcome::Work(both)));
        assert_eq!(outcome(&route, "application/x-jsonl", failed), Some(Outcome::Nothing));
    }
}
