//! What a provider says.

use super::{Kept, Protocol, Report, UsageReader};
use crate::provider::json::{Reader, Sink};
use crate::provider::{Dialect, Operation};

/// One event of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerEvent {
    /// It begins a response.
    pub begins: bool,
    /// It carries generated content.
    pub output: bool,
    /// It ends a response.
    pub ended: Option<Finish>,
    /// It says that something failed.
    pub error: Option<Failed>,
    /// What it belongs to.
    pub of: Of,
    /// The name of that, if it says one.
    pub id: Option<String>,
    /// The client's event that failed, if it says which.
    pub regards: Option<String>,
    /// Which of the responses that run beside each other it is about, if the client has told them apart.
    pub lane: Option<String>,
    /// The work that it reports.
    pub report: Report,
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// All of it came, be it cut at a limit.
    Whole,
    /// The client, or the next speaker, stopped it.
    Cancelled,
    /// The provider failed.
    Failed,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// An event of the client.
    Asking,
    /// A response that had begun.
    Response,
}

/// What is metered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Response,
    /// Sound of the client that was written down.
    Transcription,
}

/// Reads events of a provider as they come.
#[derive(Debug)]
pub struct ServerReader {
    protocol: Protocol,
    reader: Reader,
    heard: Heard,
    usage: UsageReader,
}

impl ServerReader {
    pub fn new(protocol: Protocol) -> Self {
        let (dialect, operation) = match protocol {
            Protocol::Realtime => (Dialect::OpenAi, Operation::Realtime),
            Protocol::Responses => (Dialect::OpenAi, Operation::Response),
            Protocol::Live => (Dialect::Gemini, Operation::Realtime),
        };
        let usage = UsageReader::for_socket(dialect, operation);
        Self { protocol, reader: Reader::default(), heard: Heard::default(), usage }
    }

    /// Takes the next bytes of the event.
    pub fn feed(&mut self, piece: &[u8]) {
        self.reader.feed(piece, &mut self.heard);
        self.usage.feed(piece);
    }

    /// The event, which has ended. What follows is another one.
    pub fn event(&mut self) -> ServerEvent {
        self.reader.reset();
        let report = self.usage.report();
        self.usage.renew();
        let heard = std::mem::take(&mut self.heard);
        match self.protocol {
            Protocol::Realtime | Protocol::Responses => heard.openai(self.protocol, report),
            Protocol::Live => heard.gemini(report),
        }
    }
}

#[derive(Debug, Default)]
struct Heard {
    kept: Kept,
    kind: String,
    response: Option<String>,
    item: Option<String>,
    status: String,
    regards: Option<String>,
    lane: Option<String>,
    is_numbered: bool,
    /// A piece of an answer that is not empty.
    has_piece: bool,
    turn_complete: bool,
}

impl Heard {
    fn openai(self, protocol: Protocol, report: Report) -> ServerEvent {
        let event = |of, id| ServerEvent {
            begins: false,
            output: false,
            ended: None,
            error: None,
            of,
            id,
            regards: None,
            lane: self.lane.clone().filter(|_| protocol == Protocol::Responses),
            report,
        };
        if let Some(word) = self.kind.strip_prefix("conversation.item.input_audio_transcription.") {
            let event = event(Of::Transcription, self.item);
            return match word {
                "delta" => ServerEvent { output: self.has_piece, ..event },
                "completed" => ServerEvent { output: true, ended: Some(Finish::Whole), ..event },
                "failed" => ServerEvent { ended: Some(Finish::Failed), ..event },
                _ => event,
            };
        }
        let event = event(Of::Response, self.response);
        let finish = match self.status.as_str() {
            "cancelled" => Finish::Cancelled,
            "failed" => Finish::Failed,
            _ => Finish::Whole,
        };
        match self.kind.as_str() {
            "error" => {
                // The events of a response are numbered.
                let failed = if self.is_numbered { Failed::Response } else { Failed::Asking };
                ServerEvent { error: Some(failed), regards: self.regards, ..event }
            }
            "response.created" => ServerEvent { begins: true, ..event },
            "response.done" | "response.completed" | "response.incomplete" => {
                ServerEvent { ended: Some(finish), ..event }
            }
            "response.cancelled" => ServerEvent { ended: Some(Finish::Cancelled), ..event },
            "response.failed" => ServerEvent { ended: Some(Finish::Failed), ..event },
            kind => {
                let last = kind.strip_prefix("response.").and_then(|rest| rest.rsplit('.').next());
                // Realtime repeats what was said so far, also of what was stopped before the first word.
                let output = match last {
                    Some("delta") => self.has_piece,
                    Some("partial_image") => true,
                    Some("done") => {
                        protocol == Protocol::Responses
                            || kind == "response.function_call_arguments.done"
                    }
                    _ => false,
                };
                ServerEvent { output, ..event }
            }
        }
    }

    fn gemini(self, report: Report) -> ServerEvent {
        ServerEvent {
            begins: false,
            output: self.has_piece,
            ended: self.turn_complete.then_some(Finish::Whole),
            error: None,
            of: Of::Response,
            id: None,
            regards: None,
            lane: None,
            report,
        }
    }
}

impl Sink for Heard {
    fn number(&mut self, path: &str, _: &str) {
        self.is_numbered |= path == "sequence_number";
    }

    fn begin(&mut self, path: &str) {
        self.kept.begin(matches!(
            path,
            "type"
                | "stream_id"
                | "response.id"
                | "response_id"
                | "item_id"
                | "response.status"
                | "error.event_id"
                | "delta"
                | "serverContent.modelTurn.parts[].text"
                | "serverContent.modelTurn.parts[].inlineData.data"
                | "serverContent.outputTranscription.text"
        ));
    }

    fn piece(&mut self, piece: &[u8]) {
        self.kept.piece(piece);
    }

    fn end(&mut self, path: &str, _: Option<&str>) {
        if !self.kept.is_open {
            return;
        }
        let is_empty = self.kept.raw.is_empty();
        match path {
            path if path == "delta" || path.starts_with("serverContent.") => {
                self.has_piece |= !is_empty;
            }
            _ => {}
        }
        let Some(text) = self.kept.end() else { return };
        match path {
            "type" => self.kind = text,
            "response.id" | "response_id" => self.response = Some(text),
            "item_id" => self.item = Some(text),
            "response.status" => self.status = text,
            "error.event_id" => self.regards = Some(text),
            "stream_id" => self.lane = Some(text),
            _ => {}
        }
    }

    fn element(&mut self, path: &str) {
        self.has_piece |= path == "toolCall.functionCalls[]";
    }

    fn is_true(&mut self, path: &str) {
        self.turn_complete |= path == "serverContent.turnComplete";
    }

    fn opened(&mut self, path: &str) {
        self.has_piece |= path == "delta";
    }
}
