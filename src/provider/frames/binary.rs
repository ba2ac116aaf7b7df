//! The messages of `application/vnd.amazon.eventstream`: lengths, named headers, payload, checksums.
//!
//! Follows the format's published description. The checksums are not computed: what can't be read by its lengths is
//! given up, and what can is only looked at.

use super::{EVENT_BYTES_MAX, Event, HEAD_BYTES, Sight};

/// Two lengths of four bytes and their checksum.
const PRELUDE_BYTES: usize = 12;
/// The checksum behind the payload.
const TRAILER_BYTES: usize = 4;
/// Longest message that is believed.
const MESSAGE_BYTES_MAX: usize = 32 << 20;

/// The name under which a message is reported that says the provider failed.
pub(in crate::provider) const EXCEPTION: &[u8] = b"exception";

/// Reads a stream piece by piece.
#[derive(Debug, Default)]
pub(in crate::provider) struct Scanner {
    begun: Vec<u8>,
    /// Bytes of a long message that has been reported.
    skip: usize,
    lost: bool,
}

impl Scanner {
    /// Takes the next piece of the stream and reports each message that it completes, named by its type.
    pub(super) fn feed(&mut self, mut piece: &[u8], mut on_event: impl FnMut(Event<'_>)) {
        while !piece.is_empty() && !self.lost {
            let skipped = self.skip.min(piece.len());
            self.skip -= skipped;
            piece = &piece[skipped..];
            piece = self.take(piece, PRELUDE_BYTES);
            if self.begun.len() < PRELUDE_BYTES {
                return;
            }
            let Some(lengths) = Lengths::read(&self.begun) else {
                (self.lost, self.begun) = (true, Vec::new());
                return;
            };
            let whole = lengths.message <= EVENT_BYTES_MAX;
            let wanted = if whole { lengths.message } else { HEAD_BYTES };
            piece = self.take(piece, wanted);
            if self.begun.len() == wanted {
                on_event(lengths.event(&self.begun, whole));
                self.begun.clear();
                self.skip = lengths.message - wanted;
            }
        }
    }

    pub(super) fn sight(&self) -> Sight {
        if self.lost { Sight::Lost } else { Sight::Clear }
    }

    /// Takes from `piece` what is missing to `wanted` bytes, and returns the rest.
    fn take<'p>(&mut self, piece: &'p [u8], wanted: usize) -> &'p [u8] {
        let missing = wanted.saturating_sub(self.begun.len()).min(piece.len());
        let (taken, rest) = piece.split_at(missing);
        self.begun.extend_from_slice(taken);
        rest
    }
}

struct Lengths {
    message: usize,
    headers: usize,
}

impl Lengths {
    fn read(prelude: &[u8]) -> Option<Self> {
        let length = |bytes: &[u8]| {
            bytes.try_into().ok().and_then(|bytes| usize::try_from(u32::from_be_bytes(bytes)).ok())
        };
        let (message, headers) = (length(prelude.get(..4)?)?, length(prelude.get(4..8)?)?);
        let least = headers.checked_add(PRELUDE_BYTES + TRAILER_BYTES)?;
        (least..=MESSAGE_BYTES_MAX).contains(&message).then_some(Self { message, headers })
    }

    fn event<'m>(&self, message: &'m [u8], whole: bool) -> Event<'m> {
        let payload = PRELUDE_BYTES + self.headers;
        let headers = message.get(PRELUDE_BYTES..payload.min(message.len())).unwrap_or_default();
        let end = if whole { self.message - TRAILER_BYTES } else { message.len() };
        let data = message.get(payload..end).unwrap_or_default();
        Event { name: name(headers), data, whole }
    }
}

/// The type of an event, or [`EXCEPTION`].
fn name(mut headers: &[u8]) -> &[u8] {
    let mut name: &[u8] = b"";
    while let Some((header, value, rest)) = header(headers) {
        match (header, value) {
            (b":message-type", b"exception" | b"error") => return EXCEPTION,
            (b":event-type", value) => name = value,
            (_, _) => {}
        }
        headers = rest;
    }
    name
}

/// The first header's name and value, and what follows. A value that is no text is as if it were empty.
fn header(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name_length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*name_length))?;
    let (kind, rest) = rest.split_first()?;
    let fixed = match kind {
        0 | 1 => 0,
        2 => 1,
        3 => 2,
        4 => 4,
        5 | 8 => 8,
        9 => 16,
        6 | 7 => {
            let (length, rest) = rest.split_at_checked(2)?;
            let length = u16::from_be_bytes(length.try_into().ok()?);
            let (value, rest) = rest.split_at_checked(usize::from(length))?;
            return Some((name, value, rest));
        }
        _ => return None,
    };
    let (_, rest) = rest.split_at_checked(fixed)?;
    Some((name, b"", rest))
}
