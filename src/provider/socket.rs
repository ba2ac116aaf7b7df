//! What passes on a WebSocket, told apart by what the gateway must know of it: which event of the client asks for a
//! response, which of the provider's begins one, carries output, or ends it, and what its work was.
//!
//! Events in, facts out; each event is read as its bytes come, and nothing of it is kept but what is asked for. Knows no
//! frames, no accounts and no prices. Sources: the events of OpenAI's Realtime API and of its Responses API over WebSocket,
//! and the messages of Google's Live API.

use bytes::Bytes;
use serde::Serialize;

use super::{Class, Dialect, Path, Refusal, Report, Route, UsageReader};

mod client;
mod server;

pub use client::{ClientEvent, ClientReader};
pub use server::{Failed, Finish, Of, ServerEvent, ServerReader};

/// The language of a socket's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `OpenAI`'s Realtime API: the model is in the query.
    Realtime,
    /// `OpenAI`'s Responses API: each `response.create` names its own.
    Responses,
    /// Google's Live API: the first message names it.
    Live,
}

impl Protocol {
    /// The protocol of a socket at `route`, if it is one that can be metered.
    pub fn of(route: &Route, path: &Path) -> Option<Self> {
        if route.class != Class::Realtime || !route.is_listed() {
            return None;
        }
        let last = |text: &str| route.pattern.rsplit('/').next() == Some(text);
        if route.language == Dialect::OpenAi && last("realtime") {
            Some(Self::Realtime)
        } else if route.language == Dialect::OpenAi && last("responses") {
            Some(Self::Responses)
        } else if route.language == Dialect::Gemini && is_live(path.as_str()) {
            Some(Self::Live)
        } else {
            None
        }
    }

    /// A refusal as an event that the provider itself might send; nothing where it knows no such event. `event` names the
    /// event, `regards` the client's that is refused.
    pub fn refusal(
        self,
        refusal: &Refusal<'_>,
        event: &str,
        regards: Option<&str>,
    ) -> Option<Bytes> {
        #[derive(Serialize)]
        struct Event<'a> {
            r#type: &'a str,
            #[serde(rename = "event_id")]
            id: &'a str,
            status: u16,
            error: Error<'a>,
        }
        #[derive(Serialize)]
        struct Error<'a> {
            r#type: &'a str,
            code: &'a str,
            message: &'a str,
            param: Option<&'a str>,
            event_id: Option<&'a str>,
        }
        let Refusal { status, kind, code, message, param, .. } = *refusal;
        let error = Error { r#type: kind, code, message, param, event_id: regards };
        let event = Event { r#type: "error", id: event, status: status.as_u16(), error };
        // Texts and numbers always serialise.
        let event = || serde_json::to_vec(&event).unwrap_or_default().into();
        (self != Self::Live).then(event)
    }

    /// Whether the conversation is kept on the other side, so that each response reads what was said before.
    pub fn keeps_conversation(self) -> bool {
        self != Self::Responses
    }
}

/// `/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent`. Its kin (music, or a session that a
/// short-lived token describes) are others.
fn is_live(path: &str) -> bool {
    path.strip_prefix("/ws/").is_some_and(|service| {
        service.starts_with("google.ai.generativelanguage.")
            && service.ends_with(".GenerativeService.BidiGenerateContent")
    })
}

/// Longest text that is kept of an event: names and ids.
const KEPT_BYTES_MAX: usize = 256;

/// A short text of an event, gathered from its pieces.
#[derive(Debug, Default)]
struct Kept {
    raw: Vec<u8>,
    is_open: bool,
}

impl Kept {
    fn begin(&mut self, keep: bool) {
        self.raw.clear();
        self.is_open = keep;
    }

    fn piece(&mut self, piece: &[u8]) {
        if self.is_open && self.raw.len() <= KEPT_BYTES_MAX {
            let left = KEPT_BYTES_MAX + 1 - self.raw.len();
            self.raw.extend_from_slice(&piece[..piece.len().min(left)]);
        }
    }

    /// The text without its escapes; nothing if it is too long, or none.
    fn end(&mut self) -> Option<String> {
        let is_whole = std::mem::take(&mut self.is_open) && self.raw.len() <= KEPT_BYTES_MAX;
        let quoted = [b"\"", self.raw.as_slice(), b"\""].concat();
        is_whole.then(|| serde_json::from_slice(&quoted).ok()).flatten()
    }
}

#[cfg(test)]
mod tests;
