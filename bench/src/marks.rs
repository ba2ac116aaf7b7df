//! The instants that a streamed answer carries in its text: `"@12345@ "` is a piece that was sent at that nanosecond of
//! [`crate::now`], so that whoever reads it on the same machine knows how long it was on its way.

use memchr::memmem;

/// Bytes that a mark takes at most, with what surrounds it.
const LONGEST: usize = 24;

/// The text of a piece that is sent now.
pub fn mark() -> String {
    format!("@{}@ ", crate::now())
}

/// Finds the marks of a stream that comes in pieces.
#[derive(Default)]
pub struct Finder {
    /// The end of what was read, in which a mark may have begun.
    rest: Vec<u8>,
}

impl Finder {
    /// Calls `on_mark` with the instant of every mark that `piece` completes.
    pub fn feed(&mut self, piece: &[u8], mut on_mark: impl FnMut(u64)) {
        self.rest.extend_from_slice(piece);
        let mut from = 0;
        while let Some(at) = memmem::find(&self.rest[from..], b"\"@") {
            let digits = from + at + 2;
            let Some(length) = memchr::memchr(b'@', &self.rest[digits..]) else {
                from += at;
                break;
            };
            on_mark(crate::number(&self.rest[digits..digits + length]));
            from = digits + length + 1;
        }
        // A mark that has not ended may be longer than nothing and shorter than this.
        let kept = self.rest.len().saturating_sub(LONGEST).max(from);
        self.rest.drain(..kept.min(self.rest.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_wherever_the_stream_is_cut() {
        let stream = br#"data: {"content":"@123456789012@ ","x":"@7@ "} data: {"content":"@9@ "}"#;
        for cut in 0..stream.len() {
            let mut finder = Finder::default();
            let mut found = Vec::new();
            for piece in [&stream[..cut], &stream[cut..]] {
                finder.feed(piece, |mark| found.push(mark));
            }
            assert_eq!(found, [123_456_789_012, 7, 9], "cut at {cut}");
        }
    }
}
