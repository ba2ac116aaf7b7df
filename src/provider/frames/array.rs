//! The elements of one JSON list, as Google streams them where nobody asked for server-sent events.

use super::{Begun, Event, Sight};

/// Reads a document piece by piece. One that is no list has no elements.
#[derive(Debug, Default)]
pub(in crate::provider) struct Scanner {
    at: At,
    element: Begun,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Before the bracket that opens the list.
    #[default]
    Start,
    /// Between two elements.
    Between,
    /// In an element.
    In(Inside),
    /// Behind the list.
    End,
    /// In a document that is no list.
    Other,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Inside {
    /// Open lists and objects of the element.
    depth: usize,
    in_text: bool,
    escaped: bool,
}

/// Whether a byte belongs to the element, and whether the element ends with it.
enum Step {
    On(Inside),
    Last,
    /// It ended with the byte before; this one separates it from the next, or ends the list.
    Past {
        list_ends: bool,
    },
}

impl Scanner {
    /// Takes the next piece of the document and reports each element that it completes.
    pub(super) fn feed(&mut self, piece: &[u8], mut on_event: impl FnMut(Event<'_>)) {
        let mut start = 0;
        for (at, byte) in piece.iter().copied().enumerate() {
            if matches!(self.at, At::Between)
                && !byte.is_ascii_whitespace()
                && !b",]".contains(&byte)
            {
                self.at = At::In(Inside::default());
                start = at;
            }
            match self.at {
                At::Start if byte.is_ascii_whitespace() => {}
                At::Start => self.at = if byte == b'[' { At::Between } else { At::Other },
                At::Between if byte == b']' => self.at = At::End,
                At::Between => {}
                At::In(inside) => match inside.step(byte) {
                    Step::On(inside) => self.at = At::In(inside),
                    Step::Last => {
                        self.element.end(&piece[start..=at], &mut on_event);
                        self.at = At::Between;
                    }
                    Step::Past { list_ends } => {
                        self.element.end(&piece[start..at], &mut on_event);
                        self.at = if list_ends { At::End } else { At::Between };
                    }
                },
                At::End | At::Other => return,
            }
        }
        if matches!(self.at, At::In(_)) {
            self.element.more(&piece[start..], &mut on_event);
        }
    }

    pub(super) fn sight(&self) -> Sight {
        match self.at {
            At::Start => Sight::Early,
            At::Between | At::In(_) | At::End => Sight::Clear,
            At::Other => Sight::Lost,
        }
    }
}

impl Inside {
    fn step(self, byte: u8) -> Step {
        let Self { depth, in_text, escaped } = self;
        if in_text {
            let escaped = !escaped && byte == b'\\';
            // A quote that is not escaped ends the text; `escaped` here is that of the next byte.
            let ends = byte == b'"' && !self.escaped;
            return match ends {
                true if depth == 0 => Step::Last,
                true => Step::On(Self { in_text: false, escaped: false, ..self }),
                false => Step::On(Self { escaped, ..self }),
            };
        }
        match byte {
            b'"' => Step::On(Self { in_text: true, ..self }),
            b'{' | b'[' => Step::On(Self { depth: depth + 1, ..self }),
            b'}' | b']' if depth == 1 => Step::Last,
            b'}' | b']' if depth > 1 => Step::On(Self { depth: depth - 1, ..self }),
            b',' | b']' | b'}' if depth == 0 => Step::Past { list_ends: byte != b',' },
            _ => Step::On(self),
        }
    }
}
