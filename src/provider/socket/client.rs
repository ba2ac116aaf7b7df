//! What a client says.

use super::{Kept, Protocol};
use crate::provider::ids::tuned;
use crate::provider::json::{Reader, Sink};
use crate::provider::tokens::Tally;

/// Most models, or voices, of one event.
const NAMES_MAX: usize = 32;

/// One event of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientEvent {
    /// It asks for a response.
    pub begins: bool,
    /// The models that it names for one, or for the session.
    pub models: Vec<String>,
    /// The model that it wants sound to be written down by.
    pub transcriber: Option<String>,
    /// What it names in a session of Realtime that lives beyond it: models and voices that were made from somebody's
    /// data.
    pub things: Vec<String>,
    /// Its own name for itself.
    pub id: Option<String>,
    /// Which of the responses that may run beside each other it is about.
    pub lane: Option<String>,
    /// The tokens of its text.
    pub tokens: u64,
    /// The most tokens of a response.
    pub output_tokens_max: Option<u64>,
    /// One of the fields that decide may be hidden behind an escape.
    pub is_obscure: bool,
}

/// Reads events of a client as they come.
#[derive(Debug)]
pub struct ClientReader {
    reader: Reader,
    said: Said,
}

impl ClientReader {
    pub fn new(protocol: Protocol) -> Self {
        Self { reader: Reader::default(), said: Said::new(protocol) }
    }

    /// Takes the next bytes of the event.
    pub fn feed(&mut self, piece: &[u8]) {
        self.reader.feed(piece, &mut self.said);
    }

    /// The event, which has ended. What follows is another one.
    pub fn event(&mut self) -> ClientEvent {
        // A number at the very end ends with it.
        self.reader.feed(b" ", &mut self.said);
        self.reader.reset();
        let next = Said::new(self.said.protocol);
        let said = std::mem::replace(&mut self.said, next);
        ClientEvent { tokens: said.words.tokens(), ..said.event }
    }
}

#[derive(Debug)]
struct Said {
    protocol: Protocol,
    event: ClientEvent,
    words: Tally,
    kept: Kept,
    in_words: bool,
}

impl Said {
    fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            event: ClientEvent::default(),
            words: Tally::default(),
            kept: Kept::default(),
            in_words: false,
        }
    }

    /// Notes a name that nobody writes as it can't be read: a parser behind would read it as another.
    fn look(&mut self, path: &str) {
        let mut names = path.split(['.', '[']);
        let (first, second) = (names.next(), names.next());
        let has_voice = matches!(second, Some("audio" | "voice"));
        self.event.is_obscure |= first == Some("?")
            || second == Some("?")
            || (has_voice && self.protocol == Protocol::Realtime && names.any(|name| name == "?"));
    }

    fn is_model(&self, path: &str) -> bool {
        match self.protocol {
            Protocol::Realtime => matches!(path, "session.model" | "response.model"),
            Protocol::Responses => matches!(path, "model" | "response.model"),
            Protocol::Live => path == "setup.model",
        }
    }

    /// The id of a voice that was made from a recording.
    fn is_voice(&self, path: &str) -> bool {
        let within = path.strip_prefix("session.").or(path.strip_prefix("response."));
        self.protocol == Protocol::Realtime
            && within.is_some_and(|path| matches!(path, "audio.output.voice.id" | "voice.id"))
    }
}

impl Sink for Said {
    fn number(&mut self, path: &str, number: &str) {
        self.look(path);
        let is_most = matches!(
            path,
            "max_output_tokens"
                | "response.max_output_tokens"
                | "session.max_output_tokens"
                | "session.max_response_output_tokens"
                | "setup.generationConfig.maxOutputTokens"
                | "setup.generation_config.max_output_tokens"
        );
        if is_most {
            self.event.output_tokens_max = number.parse().ok();
        }
    }

    fn begin(&mut self, path: &str) {
        self.look(path);
        let keep = matches!(path, "type" | "event_id" | "stream_id")
            || self.is_model(path)
            || self.is_voice(path)
            || transcribes(path);
        self.kept.begin(keep);
        let last = path.rsplit('.').next().unwrap_or_default();
        self.in_words = !keep
            && !matches!(
                last,
                "audio" | "data" | "image_url" | "file_data" | "role" | "type" | "id" | "call_id"
            );
    }

    fn piece(&mut self, piece: &[u8]) {
        self.kept.piece(piece);
        if self.in_words {
            self.words.feed(piece);
        }
    }

    fn end(&mut self, path: &str, _: Option<&str>) {
        let is_kept = self.kept.is_open;
        let Some(text) = self.kept.end() else {
            // A name too long to be one.
            self.event.is_obscure |= is_kept && path != "event_id";
            return;
        };
        match path {
            "type" => {
                self.event.begins |= self.protocol != Protocol::Live && text == "response.create";
            }
            "event_id" => self.event.id = Some(text),
            "stream_id" => self.event.lane = Some(text),
            path if transcribes(path) => self.event.transcriber = Some(text),
            path if self.is_voice(path) => self.event.things.push(text),
            _ => {
                if self.protocol == Protocol::Realtime {
                    self.event.things.extend(tuned(&text));
                }
                let name = text.strip_prefix("models/").unwrap_or(&text);
                self.event.models.push(name.to_owned());
            }
        }
        let ClientEvent { models, things, is_obscure, .. } = &mut self.event;
        *is_obscure |= models.len().max(things.len()) > NAMES_MAX;
        models.truncate(NAMES_MAX);
        things.truncate(NAMES_MAX);
    }

    fn element(&mut self, _: &str) {}

    fn is_true(&mut self, path: &str) {
        self.look(path);
        // Google's parsers take both spellings of a name.
        let turn = path.strip_prefix("clientContent.").or(path.strip_prefix("client_content."));
        self.event.begins |= self.protocol == Protocol::Live
            && turn.is_some_and(|name| matches!(name, "turnComplete" | "turn_complete"));
    }

    fn opened(&mut self, path: &str) {
        self.look(path);
    }
}

fn transcribes(path: &str) -> bool {
    matches!(
        path,
        "session.audio.input.transcription.model" | "session.input_audio_transcription.model"
    )
}
