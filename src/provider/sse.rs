//! Finds the events of a server-sent event stream in whatever pieces its bytes arrive.
//!
//! Follows the parsing rules of the HTML standard (section 9.2.6), apart from `id` and `retry`, which carry no
//! content. Changes no byte and knows no provider; holds at most [`EVENT_BYTES_MAX`] and one piece.

use memchr::memchr2;

/// Longest event that is kept whole, in raw bytes. A longer one is reported with its first bytes alone.
pub const EVENT_BYTES_MAX: usize = 1 << 20;

/// How much of a longer event is reported.
pub(super) const HEAD_BYTES: usize = 4096;

/// One event with data. Comments, and events without data, are not reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The last `event:` field; empty if there is none.
    pub name: &'a [u8],
    /// The `data:` fields, joined by line feeds.
    pub data: &'a [u8],
    /// False if the event was longer than [`EVENT_BYTES_MAX`]: then the data is its beginning.
    pub whole: bool,
}

/// Reads a stream piece by piece. Where an event lies in one piece and has one data field, nothing is copied.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "four facts, each true or not by itself")]
pub struct Scanner {
    /// Raw bytes of the event that has begun, from earlier pieces.
    begun: Vec<u8>,
    /// Room to join several data fields.
    joined: Vec<u8>,
    /// The current line has bytes already.
    in_line: bool,
    /// The last byte was a carriage return: a line feed after it ends no other line.
    after_return: bool,
    /// The event that has begun was reported as oversized: the rest of it is skipped.
    skipping: bool,
    /// A first event has been cut off: no byte order mark is looked for any more.
    past_first: bool,
}

impl Scanner {
    /// Takes the next piece of the stream and reports each event that it completes.
    pub fn feed(&mut self, piece: &[u8], mut on_event: impl FnMut(Event<'_>)) {
        let mut event_start = 0;
        let mut at = 0;
        while at < piece.len() {
            if self.after_return {
                self.after_return = false;
                if piece[at] == b'\n' {
                    at += 1;
                    // At the start of an event the line feed belongs to the blank line before it.
                    if !self.skipping && self.begun.is_empty() && event_start + 1 == at {
                        event_start = at;
                    }
                    continue;
                }
            }
            let Some(length) = memchr2(b'\n', b'\r', &piece[at..]) else {
                self.in_line = true;
                break;
            };
            let line_end = at + length;
            let blank = length == 0 && !self.in_line;
            self.in_line = false;
            self.after_return = piece[line_end] == b'\r';
            at = line_end + 1;
            if blank {
                self.end_event(&piece[event_start..line_end], &mut on_event);
                event_start = at;
            }
        }
        self.keep(&piece[event_start..], &mut on_event);
    }

    /// Reports the event whose last raw bytes are `rest`.
    fn end_event(&mut self, rest: &[u8], on_event: &mut impl FnMut(Event<'_>)) {
        if self.skipping {
            self.skipping = false;
        } else if self.begun.is_empty() {
            let first = !self.past_first;
            report(rest, first, &mut self.joined, on_event);
        } else {
            self.keep(rest, on_event);
            if !std::mem::take(&mut self.skipping) {
                report(&self.begun, !self.past_first, &mut self.joined, on_event);
            }
        }
        self.begun.clear();
        self.past_first = true;
    }

    /// Keeps the raw bytes of an event that goes on, or reports it once it is too long.
    fn keep(&mut self, rest: &[u8], on_event: &mut impl FnMut(Event<'_>)) {
        if self.skipping {
            return;
        }
        if self.begun.len() + rest.len() <= EVENT_BYTES_MAX {
            self.begun.extend_from_slice(rest);
            return;
        }
        let missing = HEAD_BYTES.saturating_sub(self.begun.len()).min(rest.len());
        self.begun.extend_from_slice(&rest[..missing]);
        report_head(&self.begun, !self.past_first, &mut self.joined, on_event);
        self.begun = Vec::new();
        self.skipping = true;
    }
}

/// Reports one event from all its raw bytes.
fn report(raw: &[u8], first: bool, joined: &mut Vec<u8>, on_event: &mut impl FnMut(Event<'_>)) {
    if raw.len() > EVENT_BYTES_MAX {
        report_head(raw, first, joined, on_event);
    } else if let Some(event) = parse(raw, first, joined) {
        on_event(event);
    }
}

fn report_head(
    raw: &[u8],
    first: bool,
    joined: &mut Vec<u8>,
    on_event: &mut impl FnMut(Event<'_>),
) {
    let head = &raw[..raw.len().min(HEAD_BYTES)];
    let event = parse(head, first, joined).unwrap_or(Event { name: b"", data: b"", whole: false });
    on_event(Event { whole: false, ..event });
}

/// Reads the fields of an event. `None` if it has no data.
fn parse<'a>(raw: &'a [u8], first: bool, joined: &'a mut Vec<u8>) -> Option<Event<'a>> {
    let raw = if first { raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(raw) } else { raw };
    let mut name: &[u8] = b"";
    let mut data: Option<&[u8]> = None;
    let mut several = false;
    joined.clear();
    for line in lines(raw) {
        let (field, value) = field(line);
        match (field, data) {
            (b"event", _) => name = value,
            (b"data", None) => data = Some(value),
            (b"data", Some(before)) => {
                if !several {
                    joined.extend_from_slice(before);
                    several = true;
                }
                joined.push(b'\n');
                joined.extend_from_slice(value);
            }
            // A comment (no name before the colon), `id`, `retry`, or what a parser must ignore.
            (_, _) => {}
        }
    }
    let data = if several { joined.as_slice() } else { data? };
    Some(Event { name, data, whole: true })
}

/// The lines of an event, whichever of the three line ends they have.
fn lines(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = raw;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        // The line feed of a pair leaves an empty line behind, which has no field.
        let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(line)
    })
}

fn field(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b':', line) {
        Some(colon) => {
            let value = &line[colon + 1..];
            (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
        }
        None => (line, b""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Seen = Vec<(String, Vec<u8>, bool)>;

    fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Seen {
        let mut scanner = Scanner::default();
        let mut seen = Vec::new();
        for piece in pieces {
            scanner.feed(piece, |event| {
                let name = String::from_utf8_lossy(event.name).into_owned();
                seen.push((name, event.data.to_vec(), event.whole));
            });
            assert!(scanner.begun.len() <= EVENT_BYTES_MAX);
        }
        seen
    }

    fn check(stream: &str, expected: &[(&str, &str)]) {
        let expected: Seen = expected
            .iter()
            .map(|(name, data)| ((*name).to_owned(), data.as_bytes().to_vec(), true))
            .collect();
        assert_eq!(scan([stream.as_bytes()]), expected, "{stream:?} at once");
        assert_eq!(scan(stream.as_bytes().chunks(1)), expected, "{stream:?} byte by byte");
    }

    #[test]
    fn the_examples_of_the_standard() {
        check("data: YHOO\ndata: +2\ndata: 10\n\n", &[("", "YHOO\n+2\n10")]);
        check(
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            &[("", "first event"), ("", "second event"), ("", " third event")],
        );
        check("data\n\ndata\ndata\n\ndata:", &[("", ""), ("", "\n")]);
        check(
            "event: add\ndata: 1\n\nevent: remove\ndata: 2\n\n",
            &[("add", "1"), ("remove", "2")],
        );
    }

    #[test]
    fn each_line_end_ends_a_line() {
        for end in ["\n", "\r\n", "\r"] {
            let stream = format!("event: a{end}data: 1{end}data: 2{end}{end}data: 3{end}{end}");
            check(&stream, &[("a", "1\n2"), ("", "3")]);
        }
        check("data: 1\r\ndata: 2\n\r\ndata: 3\r\n\n", &[("", "1\n2"), ("", "3")]);
    }

    #[test]
    fn a_byte_order_mark_counts_only_at_the_start() {
        check("\u{feff}data: 1\n\n\u{feff}data: 2\n\n", &[("", "1")]);
    }

    #[test]
    fn an_event_that_never_ends_is_not_reported() {
        check("data: 1\n\ndata: 2\n", &[("", "1")]);
    }

    #[test]
    fn a_long_event_is_reported_by_its_beginning() {
        let long = format!(
            "event: big\ndata: {}\n\nevent: next\ndata: 1\n\n",
            "x".repeat(EVENT_BYTES_MAX)
        );
        let at_once = scan([long.as_bytes()]);
        assert_eq!(at_once, scan(long.as_bytes().chunks(1000)));
        assert_eq!(at_once.len(), 2);
        let (name, data, whole) = &at_once[0];
        assert_eq!((name.as_str(), *whole), ("big", false));
        assert!(data.starts_with(b"xxx") && data.len() < HEAD_BYTES);
        assert_eq!(at_once[1], ("next".to_owned(), b"1".to_vec(), true));
    }

    #[test]
    fn the_limit_is_the_same_in_any_pieces() {
        for excess in [0, 1] {
            let head = "data: ";
            let filling = "x".repeat(EVENT_BYTES_MAX - head.len() - 2 + excess);
            let stream = format!("{head}{filling}\r\n\r\n");
            for size in [stream.len(), stream.len() - 1, stream.len() - 2, stream.len() - 3, 4095] {
                let seen = scan(stream.as_bytes().chunks(size));
                assert_eq!(seen.len(), 1);
                assert_eq!(seen[0].2, excess == 0, "pieces of {size}");
            }
        }
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            stream in "((data|event|id|):? ?[a-c:é]{0,3}|\u{feff})?((\n|\r|\r\n){1,3}(data: x|data|event:y|:c|z)?){0,12}",
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let bytes = stream.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let starts = std::iter::once(0).chain(cuts.iter().copied());
            let ends = cuts.iter().copied().chain([bytes.len()]);
            let pieces: Vec<&[u8]> = starts.zip(ends).map(|(start, end)| &bytes[start..end]).collect();
            prop_assert_eq!(scan(pieces), scan([bytes]));
        }

        #[test]
        fn any_bytes_are_taken(pieces in proptest::collection::vec(any::<Vec<u8>>(), 0..6)) {
            let whole = pieces.concat();
            prop_assert_eq!(scan(pieces.iter().map(Vec::as_slice)), scan([whole.as_slice()]));
        }
    }
}
