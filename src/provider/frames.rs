//! How the events of a streamed answer are found in whatever pieces its bytes arrive.
//!
//! Each framing is one file with a scanner that changes no byte, knows no provider and holds at most
//! [`EVENT_BYTES_MAX`]. An event that is longer is reported by its beginning.

mod array;
mod binary;
mod lines;

pub use super::sse::Event;

pub(super) use binary::EXCEPTION;

use super::sse::{self, EVENT_BYTES_MAX, HEAD_BYTES};

/// How an answer's bytes are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Server-sent events.
    Events,
    /// A JSON document on each line.
    Lines,
    /// One JSON document, whose elements are the events if it is a list.
    Array,
    /// `application/vnd.amazon.eventstream`.
    Binary,
    /// Generated media: any byte is content.
    Media,
    /// One body that is of use when it is whole.
    Whole,
}

/// The scanner of a framing that has events.
#[derive(Debug)]
pub(super) enum Frames {
    Events(Box<sse::Scanner>),
    Lines(lines::Scanner),
    Array(array::Scanner),
    Binary(binary::Scanner),
}

/// What is known of the framing after some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Events come, as was said.
    Clear,
    /// Too early to say.
    Early,
    /// The bytes are not framed as was said: nothing can be learnt from them.
    Lost,
}

impl Framing {
    /// What most providers use.
    pub(super) fn usual(content_type: &str) -> Self {
        match content_type {
            "text/event-stream" => Self::Events,
            "application/octet-stream" => Self::Media,
            kind if ["audio/", "image/", "video/"].iter().any(|top| kind.starts_with(top)) => {
                Self::Media
            }
            _ => Self::Whole,
        }
    }
}

impl Frames {
    /// The scanner of `framing`, if it has events.
    pub(super) fn of(framing: Framing) -> Option<Self> {
        match framing {
            Framing::Events => Some(Self::Events(Box::default())),
            Framing::Lines => Some(Self::Lines(lines::Scanner::default())),
            Framing::Array => Some(Self::Array(array::Scanner::default())),
            Framing::Binary => Some(Self::Binary(binary::Scanner::default())),
            Framing::Media | Framing::Whole => None,
        }
    }

    /// Takes the next piece of the stream and reports each event that it completes.
    pub(super) fn feed(&mut self, piece: &[u8], on_event: impl FnMut(Event<'_>)) {
        match self {
            Self::Events(scanner) => scanner.feed(piece, on_event),
            Self::Lines(scanner) => scanner.feed(piece, on_event),
            Self::Array(scanner) => scanner.feed(piece, on_event),
            Self::Binary(scanner) => scanner.feed(piece, on_event),
        }
    }

    /// What is known of the framing by now.
    pub(super) fn sight(&self) -> Sight {
        match self {
            Self::Events(_) | Self::Lines(_) => Sight::Clear,
            Self::Array(scanner) => scanner.sight(),
            Self::Binary(scanner) => scanner.sight(),
        }
    }
}

/// The bytes of one document that comes in pieces.
#[derive(Debug, Default)]
struct Begun {
    bytes: Vec<u8>,
    /// It was too long and has been reported: the rest of it is skipped.
    reported: bool,
}

impl Begun {
    /// Takes more of the document; reports it once it is too long.
    fn more(&mut self, piece: &[u8], on_event: &mut impl FnMut(Event<'_>)) {
        if self.reported {
            return;
        }
        if self.bytes.len() + piece.len() <= EVENT_BYTES_MAX {
            self.bytes.extend_from_slice(piece);
            return;
        }
        let missing = HEAD_BYTES.saturating_sub(self.bytes.len()).min(piece.len());
        self.bytes.extend_from_slice(&piece[..missing]);
        let head = &self.bytes[..self.bytes.len().min(HEAD_BYTES)];
        on_event(Event { name: b"", data: head, whole: false });
        *self = Self { bytes: Vec::new(), reported: true };
    }

    /// Takes the last of the document and reports it, unless it is blank.
    fn end(&mut self, piece: &[u8], on_event: &mut impl FnMut(Event<'_>)) {
        self.more(piece, on_event);
        let data = self.bytes.trim_ascii();
        if !self.reported && !data.is_empty() {
            on_event(Event { name: b"", data, whole: true });
        }
        self.bytes.clear();
        self.reported = false;
    }
}
