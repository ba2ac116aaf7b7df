//! Numbers of a few bytes each, the lowest first, as the functions have them packed by `struct`.

use super::{Unreadable, kind, kind_of};
use crate::credit::{Credits, LotKind, Part, Timestamp};

/// Bytes of an instant in ms, which is below 2^48.
const INSTANT: usize = 6;
/// Bytes of an amount in µ, which is below 2^56.
const AMOUNT: usize = 7;
/// Bytes of a lot's number.
const LOT: usize = 4;
/// Bytes of a part.
const PART: usize = LOT + AMOUNT;

/// What is packed, number by number.
pub(super) struct Packed<'a> {
    whole: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Packed<'a> {
    pub(super) fn new(whole: &'a [u8]) -> Self {
        Self { whole, rest: whole }
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or_else(|| self.unreadable())?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next number, of at most eight bytes.
    pub(super) fn number(&mut self, bytes: usize) -> Result<u64, Unreadable> {
        let taken = self.take(bytes)?;
        Ok(taken.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The next number, of two bytes or four.
    pub(super) fn count(&mut self, bytes: usize) -> Result<u32, Unreadable> {
        let number = self.number(bytes)?;
        u32::try_from(number).map_err(|_| self.unreadable())
    }

    pub(super) fn instant(&mut self) -> Result<Timestamp, Unreadable> {
        let millis = self.number(INSTANT)?;
        i64::try_from(millis).map(Timestamp::from_millis).map_err(|_| self.unreadable())
    }

    pub(super) fn credits(&mut self) -> Result<Credits, Unreadable> {
        let micros = self.number(AMOUNT)?;
        Credits::from_micros(micros).ok_or_else(|| self.unreadable())
    }

    /// A lot's number and its kind.
    pub(super) fn lot(&mut self) -> Result<(u32, LotKind), Unreadable> {
        let code = self.count(LOT)?;
        let letter = KINDS.get((code % 4) as usize).ok_or_else(|| self.unreadable())?;
        Ok((code / 4, kind_of(letter).ok_or_else(|| self.unreadable())?))
    }

    pub(super) fn parts(&mut self, count: usize) -> Result<Vec<Part>, Unreadable> {
        (0..count).map(|_| Ok(Part { lot: self.count(LOT)?, amount: self.credits()? })).collect()
    }

    /// The parts up to the end.
    pub(super) fn last_parts(mut self) -> Result<Vec<Part>, Unreadable> {
        let parts = self.parts(self.rest.len() / PART)?;
        self.end()?;
        Ok(parts)
    }

    /// The text up to the end.
    pub(super) fn last_text(self) -> Result<&'a str, Unreadable> {
        str::from_utf8(self.rest).map_err(|_| self.unreadable())
    }

    pub(super) fn end(self) -> Result<(), Unreadable> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.unreadable()) }
    }

    pub(super) fn unreadable(&self) -> Unreadable {
        Unreadable(self.whole.escape_ascii().to_string())
    }
}

/// The kinds of lots, as they are numbered.
const KINDS: [&str; 3] = ["P", "G", "B"];

/// Packs numbers, one after the other.
#[derive(Default)]
pub(super) struct Packer(Vec<u8>);

impl Packer {
    pub(super) fn number(mut self, number: impl Into<u64>, bytes: usize) -> Self {
        self.0.extend(number.into().to_le_bytes().into_iter().take(bytes));
        self
    }

    pub(super) fn instant(self, instant: Timestamp) -> Self {
        self.number(instant.millis().unsigned_abs(), INSTANT)
    }

    pub(super) fn credits(self, credits: Credits) -> Self {
        self.number(credits.micros(), AMOUNT)
    }

    pub(super) fn lot(self, no: u32, of: LotKind) -> Self {
        let code = KINDS.iter().position(|letter| *letter == kind(of)).unwrap_or_default();
        self.number(u64::from(no) * 4 + code as u64, LOT)
    }

    pub(super) fn parts(self, parts: &[Part]) -> Self {
        parts.iter().fold(self, |packer, part| packer.number(part.lot, LOT).credits(part.amount))
    }

    pub(super) fn text(mut self, text: &str) -> Self {
        self.0.extend(text.as_bytes());
        self
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}
