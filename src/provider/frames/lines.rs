//! A JSON document on each line (NDJSON).

use memchr::memchr;

use super::{Begun, Event};

/// Reads a stream piece by piece.
#[derive(Debug, Default)]
pub(in crate::provider) struct Scanner {
    line: Begun,
}

impl Scanner {
    /// Takes the next piece of the stream and reports each line that it ends, without blank ones.
    pub(super) fn feed(&mut self, mut piece: &[u8], mut on_event: impl FnMut(Event<'_>)) {
        while let Some(end) = memchr(b'\n', piece) {
            self.line.end(&piece[..end], &mut on_event);
            piece = &piece[end + 1..];
        }
        self.line.more(piece, &mut on_event);
    }
}
