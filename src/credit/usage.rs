//! What AI work is measured in, and how much of each there was.
//!
//! Each unit counts what no other counts: a cached token is no [`Unit::Input`], a token of reasoning no
//! [`Unit::Output`]. Whoever reads a provider's numbers takes them apart. Knows no price and no provider.

use std::fmt;
use std::ops::{Index, IndexMut};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A thing that is counted (semantics.md section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Tokens of the request that are nothing of what follows.
    Input,
    /// Tokens of the request that the provider had in its cache.
    CachedInput,
    /// Tokens of the request that the provider wrote to its cache.
    CacheWrites,
    /// Tokens of sound in the request.
    AudioInput,
    /// Tokens of pictures in the request.
    ImageInput,
    /// Tokens of the answer that are nothing of what follows.
    Output,
    /// Tokens of the answer that the model thought and did not say.
    Reasoning,
    /// Tokens of sound in the answer.
    AudioOutput,
    /// Tokens of pictures in the answer.
    ImageOutput,
    /// Pictures that were made.
    Image,
    /// Milliseconds of sound that were listened to. They are priced by the second.
    AudioSecond,
    /// Characters of text that were read out.
    Characters,
    /// Searches that the provider made, of the web or of documents, as it bills them.
    Search,
    /// Pages of a document that were read.
    Page,
}

/// How much of each unit there was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage([u64; Unit::ALL.len()]);

/// The work for which a call was charged, and how it is known. As text `reported:input=12,output=3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    pub basis: Basis,
    pub usage: Usage,
}

/// How the work of a call is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Basis {
    /// The provider reported it.
    Reported,
    /// It was counted or estimated here, since the provider's report never came.
    Estimated,
}

/// A text that tells no work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("work is written as `reported:input=12,output=3`")]
pub struct BadWork;

impl Basis {
    /// The name in the log, in metrics and in the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Estimated => "estimated",
        }
    }
}

impl Unit {
    /// Every unit, in the order in which they are shown.
    pub const ALL: [Self; 14] = [
        Self::Input,
        Self::CachedInput,
        Self::CacheWrites,
        Self::AudioInput,
        Self::ImageInput,
        Self::Output,
        Self::Reasoning,
        Self::AudioOutput,
        Self::ImageOutput,
        Self::Image,
        Self::AudioSecond,
        Self::Characters,
        Self::Search,
        Self::Page,
    ];

    /// The unit's name in the configuration, in the log and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::CachedInput => "cached_input",
            Self::CacheWrites => "cache_writes",
            Self::AudioInput => "audio_input",
            Self::ImageInput => "image_input",
            Self::Output => "output",
            Self::Reasoning => "reasoning",
            Self::AudioOutput => "audio_output",
            Self::ImageOutput => "image_output",
            Self::Image => "image",
            Self::AudioSecond => "audio_second",
            Self::Characters => "characters",
            Self::Search => "search",
            Self::Page => "page",
        }
    }

    /// The unit by whose price this one is charged where it has none of its own.
    pub const fn general(self) -> Option<Self> {
        match self {
            Self::CachedInput | Self::CacheWrites | Self::AudioInput | Self::ImageInput => {
                Some(Self::Input)
            }
            Self::Reasoning | Self::AudioOutput | Self::ImageOutput => Some(Self::Output),
            Self::Input
            | Self::Output
            | Self::Image
            | Self::AudioSecond
            | Self::Characters
            | Self::Search
            | Self::Page => None,
        }
    }

    /// How many are counted where the price is for one: a price for tokens or characters is for a million of them.
    pub const fn counted_for_one(self) -> u64 {
        match self {
            Self::Input
            | Self::CachedInput
            | Self::CacheWrites
            | Self::AudioInput
            | Self::ImageInput
            | Self::Output
            | Self::Reasoning
            | Self::AudioOutput
            | Self::ImageOutput
            | Self::Characters => 1_000_000,
            Self::Image | Self::Search | Self::Page => 1,
            Self::AudioSecond => 1_000,
        }
    }
}

impl Usage {
    /// Nothing of any unit.
    pub const NOTHING: Self = Self([0; Unit::ALL.len()]);

    /// `amount` of `unit` more, or as much as can be counted.
    pub fn with(mut self, unit: Unit, amount: u64) -> Self {
        self.add(unit, amount);
        self
    }

    /// Adds `amount` of `unit`, or as much as can be counted.
    pub fn add(&mut self, unit: Unit, amount: u64) {
        self[unit] = self[unit].saturating_add(amount);
    }

    /// The sum with `other`.
    pub fn plus(self, other: &Self) -> Self {
        other.amounts().fold(self, |sum, (unit, amount)| sum.with(unit, amount))
    }

    /// Each unit of which there is any, with its amount.
    pub fn amounts(&self) -> impl Iterator<Item = (Unit, u64)> {
        Unit::ALL.into_iter().map(|unit| (unit, self[unit])).filter(|(_, amount)| *amount > 0)
    }
}

impl Index<Unit> for Usage {
    type Output = u64;

    fn index(&self, unit: Unit) -> &u64 {
        &self.0[unit as usize]
    }
}

impl IndexMut<Unit> for Usage {
    fn index_mut(&mut self, unit: Unit) -> &mut u64 {
        &mut self.0[unit as usize]
    }
}

/// `12 input, 3 output`; `nothing`. Seconds have at most three decimals.
impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (unit, amount) in self.amounts() {
            f.write_str(separator)?;
            let (whole, millis) = if unit == Unit::AudioSecond {
                (amount / 1_000, amount % 1_000)
            } else {
                (amount, 0)
            };
            write!(f, "{whole}")?;
            if millis > 0 {
                write!(f, ".{}", format!("{millis:03}").trim_end_matches('0'))?;
            }
            write!(f, " {}", unit.as_str())?;
            separator = ", ";
        }
        if separator.is_empty() { f.write_str("nothing") } else { Ok(()) }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.basis.as_str())?;
        for (place, (unit, amount)) in self.usage.amounts().enumerate() {
            let separator = if place == 0 { "" } else { "," };
            write!(f, "{separator}{}={amount}", unit.as_str())?;
        }
        Ok(())
    }
}

impl FromStr for Work {
    type Err = BadWork;

    fn from_str(text: &str) -> Result<Self, BadWork> {
        let (basis, amounts) = text.split_once(':').ok_or(BadWork)?;
        let basis = [Basis::Reported, Basis::Estimated].into_iter().find(|it| it.as_str() == basis);
        let mut usage = Usage::NOTHING;
        for amount in amounts.split(',').filter(|amount| !amount.is_empty()) {
            let (unit, amount) = amount.split_once('=').ok_or(BadWork)?;
            let unit = Unit::ALL.into_iter().find(|it| it.as_str() == unit).ok_or(BadWork)?;
            usage[unit] = amount.parse().map_err(|_| BadWork)?;
        }
        Ok(Self { basis: basis.ok_or(BadWork)?, usage })
    }
}

/// As text.
impl Serialize for Work {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Work {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_told_with_their_units() {
        assert_eq!(Usage::NOTHING.to_string(), "nothing");
        let usage =
            Usage::NOTHING.with(Unit::Output, 3).with(Unit::Input, 12).with(Unit::Output, 1);
        assert_eq!(usage.to_string(), "12 input, 4 output");
        for (millis, text) in [(12_000, "12"), (12_500, "12.5"), (12_005, "12.005"), (5, "0.005")] {
            let usage = Usage::NOTHING.with(Unit::AudioSecond, millis);
            assert_eq!(usage.to_string(), format!("{text} audio_second"));
        }
    }

    #[test]
    fn work_is_written_and_read_again() {
        let every =
            Unit::ALL.into_iter().fold(Usage::NOTHING, |all, unit| all.with(unit, u64::MAX));
        for usage in [Usage::NOTHING, Usage::NOTHING.with(Unit::Output, 3), every] {
            for basis in [Basis::Reported, Basis::Estimated] {
                let work = Work { basis, usage };
                assert_eq!(work.to_string().parse(), Ok(work));
                let json = serde_json::to_string(&work).unwrap();
                assert_eq!(serde_json::from_str::<Work>(&json).unwrap(), work);
                assert!(!json.contains(' '), "{json}");
            }
        }
        let usage = Usage::NOTHING.with(Unit::Output, 3).with(Unit::Input, 12);
        let work = Work { basis: Basis::Reported, usage };
        assert_eq!(work.to_string(), "reported:input=12,output=3");
        for text in
            ["", "reported", "told:", "reported:input", "reported:inputs=1", "reported:input=-1"]
        {
            assert_eq!(text.parse::<Work>(), Err(BadWork), "{text}");
        }
    }

    #[test]
    fn every_unit_has_its_own_place() {
        for (place, unit) in Unit::ALL.into_iter().enumerate() {
            assert_eq!(unit as usize, place);
            assert!(unit.general().is_none_or(|general| general.general().is_none()));
        }
    }
}
