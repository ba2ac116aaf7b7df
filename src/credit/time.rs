//! Instants as integers.

use serde::{Deserialize, Serialize};

/// An instant in milliseconds since the Unix epoch, UTC. The rules of money never read a clock: they are told.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Before everything: a gate that never opened.
    pub const MIN: Self = Self(0);
    /// After everything: a gate without an end. Year 9999, so that every calendar can print it.
    pub const MAX: Self = Self(253_402_300_799_000);

    /// The instant `millis` ms after the epoch, kept within [`Timestamp::MIN`] and [`Timestamp::MAX`].
    pub fn from_millis(millis: i64) -> Self {
        Self(millis).clamp(Self::MIN, Self::MAX)
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// The instant `millis` ms later, at most [`Timestamp::MAX`].
    pub fn after_millis(self, millis: u64) -> Self {
        Self::from_millis(self.0.saturating_add_unsigned(millis))
    }
}
