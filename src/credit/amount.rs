//! Amounts of credits as integers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An amount of credits, in micro-credits (µ): 1 credit = 1,000,000 µ. From 0 to [`Credits::MAX`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Credits(u64);

/// Why a text is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not digits with at most six decimals.
    #[error("an amount is a plain decimal number with at most six decimals, such as `7` or `2.5`")]
    Malformed,
    /// Above [`Credits::MAX`].
    #[error("an amount is at most 4,000,000,000 credits")]
    TooLarge,
}

impl Credits {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The most that one account may hold: 4·10¹⁵ µ, so that sums stay exact in a double of 53 bits
    /// (semantics.md section 1).
    pub const MAX: Self = Self(4_000_000_000_000_000);
    const MICROS: u64 = 1_000_000;

    /// An amount of `micros` µ; `None` above [`Credits::MAX`].
    pub const fn from_micros(micros: u64) -> Option<Self> {
        if micros <= Self::MAX.0 { Some(Self(micros)) } else { None }
    }

    /// An amount of whole credits; `None` above [`Credits::MAX`].
    pub const fn whole(credits: u32) -> Self {
        // 2³² credits exceed MAX by little; clamping keeps the constructor total.
        let micros = credits as u64 * Self::MICROS;
        if micros <= Self::MAX.0 { Self(micros) } else { Self::MAX }
    }

    /// The amount in µ.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// The amount in µ with a sign, for sums of ledger lines. Exact: [`Credits::MAX`] is far below `i64::MAX`.
    pub const fn signed(self) -> i64 {
        self.0.cast_signed()
    }

    /// Whether this is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum; `None` above [`Credits::MAX`].
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).and_then(Self::from_micros)
    }

    /// The difference; `None` below nothing.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// What is left after taking `other`, at least nothing.
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The sum, at most [`Credits::MAX`].
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0)).min(Self::MAX)
    }
}

/// Credits as a plain decimal number: no exponent, no trailing zeros (semantics.md section 6).
impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, mut micros) = (self.0 / Self::MICROS, self.0 % Self::MICROS);
        // Each answer tells several amounts, and each line of the log: so without the general formatter.
        f.write_str(itoa::Buffer::new().format(whole))?;
        if micros == 0 {
            return Ok(());
        }
        let mut decimals = *b".000000";
        for digit in decimals[1..].iter_mut().rev() {
            *digit += u8::try_from(micros % 10).unwrap_or_default();
            micros /= 10;
        }
        f.write_str(std::str::from_utf8(&decimals).unwrap_or_default().trim_end_matches('0'))
    }
}

impl FromStr for Credits {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let malformed = whole.is_empty()
            || decimals.len() > 6
            || text.ends_with('.')
            || !digits(whole)
            || !digits(decimals);
        if malformed {
            return Err(AmountError::Malformed);
        }
        let whole: u64 = whole.parse().map_err(|_| AmountError::TooLarge)?;
        let micros: u64 = format!("{decimals:0<6}").parse().map_err(|_| AmountError::Malformed)?;
        whole
            .checked_mul(Self::MICROS)
            .and_then(|sum| sum.checked_add(micros))
            .and_then(Self::from_micros)
            .ok_or(AmountError::TooLarge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_plain_decimals_both_ways() {
        for text in ["0", "7", "2.5", "0.000001", "3999999999.999999", "4000000000"] {
            assert_eq!(text.parse::<Credits>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1.0000001", "1_000", " 1", "٣"] {
            assert_eq!(text.parse::<Credits>(), Err(AmountError::Malformed), "{text}");
        }
        for text in ["4000000000.000001", "99999999999999999999999"] {
            assert_eq!(text.parse::<Credits>(), Err(AmountError::TooLarge), "{text}");
        }
    }
}
