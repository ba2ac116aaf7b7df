//! The texts of the scripts: read, and written as the scripts write them. Each form is described in books/stored.lua.

use std::str::FromStr;

use crate::credit::{Credits, Id, LotKind, Part, Timestamp};

mod books;
mod entry;
mod outcome;
mod packed;
#[cfg(test)]
mod tests;

pub(super) use books::{account, account_fields, seq, source, source_text};
pub(super) use entry::{entry, entry_text};
pub(super) use outcome::{funds, outcome, outcome_text};

/// A text that no function writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what Redis keeps can't be read: {0:?}")]
pub(super) struct Unreadable(pub(super) String);

/// An id as the functions write it: 32 hexadecimal digits.
pub(super) fn id(id: Id) -> String {
    std::str::from_utf8(&id.digits()).unwrap_or_default().to_owned()
}

pub(super) fn kind(kind: LotKind) -> &'static str {
    match kind {
        LotKind::Plan => "P",
        LotKind::Gift => "G",
        LotKind::Purchased => "B",
    }
}

fn kind_of(letter: &str) -> Option<LotKind> {
    match letter {
        "P" => Some(LotKind::Plan),
        "G" => Some(LotKind::Gift),
        "B" => Some(LotKind::Purchased),
        _ => None,
    }
}

/// Parts of lots as `lot=amount,lot=amount`.
fn parts(parts: &[Part]) -> String {
    let texts: Vec<_> =
        parts.iter().map(|part| format!("{}={}", part.lot, part.amount.micros())).collect();
    texts.join(",")
}

pub(super) fn parsed<T: FromStr>(text: &str) -> Result<T, Unreadable> {
    text.parse().map_err(|_| Unreadable(text.to_owned()))
}

fn credits(text: &str) -> Result<Credits, Unreadable> {
    Credits::from_micros(parsed(text)?).ok_or_else(|| Unreadable(text.to_owned()))
}

/// A text, word by word. Each answer has some, all of them short: looking for the next separator byte by byte is quicker
/// than by a general search.
pub(super) struct Words<'a> {
    whole: &'a str,
    separator: char,
    /// What follows; nothing behind the last word.
    rest: Option<&'a str>,
}

impl<'a> Words<'a> {
    /// `separator` is a character of ASCII.
    pub(super) fn new(whole: &'a str, separator: char) -> Self {
        Self { whole, separator, rest: Some(whole) }
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Unreadable> {
        self.rest().ok_or_else(|| Unreadable(self.whole.to_owned()))
    }

    /// The next word, if there is one.
    fn rest(&mut self) -> Option<&'a str> {
        let rest = self.rest?;
        let end = rest.bytes().position(|byte| char::from(byte) == self.separator);
        let (word, after) = match end {
            Some(end) => (&rest[..end], Some(&rest[end + 1..])),
            None => (rest, None),
        };
        self.rest = after;
        Some(word)
    }

    /// What stands after `beginning` in the next word, if that begins so.
    fn rest_after(&mut self, beginning: &str) -> Option<&'a str> {
        self.rest?.strip_prefix(beginning)?;
        self.rest()?.strip_prefix(beginning)
    }

    fn number<T: FromStr>(&mut self) -> Result<T, Unreadable> {
        self.text().and_then(parsed)
    }

    fn credits(&mut self) -> Result<Credits, Unreadable> {
        self.text().and_then(credits)
    }

    pub(super) fn instant(&mut self) -> Result<Timestamp, Unreadable> {
        self.number().map(Timestamp::from_millis)
    }

    fn id(&mut self) -> Result<Id, Unreadable> {
        self.text().and_then(parsed)
    }

    fn hold(&mut self, op: Id) -> Result<Id, Unreadable> {
        match self.text()? {
            "=" => Ok(op),
            id => parsed(id),
        }
    }

    fn kind(&mut self) -> Result<LotKind, Unreadable> {
        kind_of(self.text()?).map_or_else(|| self.unreadable(), Ok)
    }

    fn parts(&mut self) -> Result<Vec<Part>, Unreadable> {
        let text = self.text()?;
        if text == "-" {
            return Ok(vec![]);
        }
        let part = |text: &str| {
            let (lot, amount) = text.split_once('=').ok_or(Unreadable(text.to_owned()))?;
            Ok(Part { lot: parsed(lot)?, amount: credits(amount)? })
        };
        text.split(',').map(part).collect()
    }

    fn end(mut self) -> Result<(), Unreadable> {
        if self.rest().is_some() { self.unreadable() } else { Ok(()) }
    }

    fn unreadable<T>(&self) -> Result<T, Unreadable> {
        Err(Unreadable(self.whole.to_owned()))
    }
}
