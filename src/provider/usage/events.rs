//! Server-sent events, whose data is read as it comes: an event may be longer than what is kept of one elsewhere.

use memchr::memchr2;

use crate::provider::json::{Reader, Sink};

/// Where in a line of an event stream the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::provider) enum Line {
    /// So many bytes of `data:` have come.
    Field(usize),
    Data,
    /// Of no interest up to its end.
    Other,
    /// At the start, after a carriage return, whose line feed may follow.
    AfterReturn,
}

const DATA: &[u8] = b"data:";

/// Takes the next piece of an event stream; returns the place after it.
pub(in crate::provider) fn feed_events(
    mut line: Line,
    piece: &[u8],
    reader: &mut Reader,
    seen: &mut impl Sink,
) -> Line {
    let mut rest = piece;
    while let Some((&byte, after)) = rest.split_first() {
        match line {
            Line::AfterReturn => {
                line = Line::Field(0);
                if byte == b'\n' {
                    rest = after;
                }
            }
            // A line feed is space in JSON, and the join of two data fields.
            Line::Field(0) if matches!(byte, b'\n' | b'\r') => {
                reader.reset();
                seen.next_document();
                (line, rest) = (after_end(byte), after);
            }
            Line::Field(matched) if DATA[matched] == byte => {
                line =
                    if matched + 1 == DATA.len() { Line::Data } else { Line::Field(matched + 1) };
                rest = after;
            }
            Line::Field(_) => line = Line::Other,
            Line::Data | Line::Other => {
                let length = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                if line == Line::Data {
                    reader.feed(&rest[..length], seen);
                }
                let Some(&end) = rest.get(length) else { return line };
                if line == Line::Data {
                    reader.feed(b"\n", seen);
                }
                (line, rest) = (after_end(end), &rest[length + 1..]);
            }
        }
    }
    line
}

fn after_end(byte: u8) -> Line {
    if byte == b'\r' { Line::AfterReturn } else { Line::Field(0) }
}
