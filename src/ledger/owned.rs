//! What was made through an account at a provider (semantics.md, "Whose things are whose"): kept beside the books, and
//! asked in the step of a hold.
//!
//! A thing is known by sixteen bytes of the SHA-256 of its provider and its id, so that it takes the same room whatever
//! a provider calls it. What is made by each call (an answer that may be continued) is kept for some months and then
//! forgotten, as its provider does; all else stays until it is deleted. Knows no dialect.

use sha2::{Digest, Sha256};

use crate::credit::Timestamp;

/// A spell of what is kept for a time: things are forgotten by the spell in which they were made.
const SPELL_MILLIS: i64 = 30 * 24 * 3_600_000;

/// Spells that are looked at: the running one and two before it. So a thing is known for 60 days at least.
const SPELLS: u16 = 3;

/// One thing of a provider's, such as a file or a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Thing([u8; 16]);

/// When something was made that is not kept for ever: the number of its spell of 30 days since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spell(u16);

/// A thing that an account owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owned {
    pub thing: Thing,
    /// When it was made, if it is forgotten some day.
    pub spell: Option<Spell>,
}

impl Thing {
    /// The thing that `provider` calls `id`.
    pub fn of(provider: &str, id: &str) -> Self {
        let hash = Sha256::new().chain_update(provider).chain_update([0]).chain_update(id);
        let hash: [u8; 32] = hash.finalize().into();
        let mut first = [0; 16];
        first.copy_from_slice(&hash[..16]);
        Self(first)
    }

    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its sixteen bytes.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl Spell {
    /// The one that runs at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(u16::try_from(now.millis().max(0) / SPELL_MILLIS).unwrap_or(u16::MAX))
    }

    pub(super) fn from_number(number: u16) -> Self {
        Self(number)
    }

    pub(super) fn number(self) -> u16 {
        self.0
    }

    /// Those whose things are still known at `now`, the running one first.
    pub(super) fn known(now: Timestamp) -> impl Iterator<Item = Self> {
        let Self(running) = Self::at(now);
        (0..SPELLS).map(move |back| Self(running.saturating_sub(back)))
    }

    /// How long after `now` its things are known, in ms.
    pub(super) fn left(self, now: Timestamp) -> i64 {
        (i64::from(self.0) + i64::from(SPELLS)) * SPELL_MILLIS - now.millis()
    }
}

impl Owned {
    /// Whether it is still known at `now`.
    pub(super) fn is_known(&self, now: Timestamp) -> bool {
        self.spell.is_none_or(|spell| Spell::known(now).any(|known| known == spell))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_of_one_provider() {
        let file = Thing::of("openai", "file-1");
        assert_eq!(file, Thing::of("openai", "file-1"));
        for other in [Thing::of("openai", "file-2"), Thing::of("open", "aifile-1")] {
            assert_ne!(file, other);
        }
    }

    #[test]
    fn what_is_forgotten_is_known_for_sixty_days_at_least() {
        const DAY: i64 = 24 * 3_600_000;
        let made = Timestamp::from_millis(1_000 * SPELL_MILLIS - 1);
        let owned = Owned { thing: Thing::of("a", "b"), spell: Some(Spell::at(made)) };
        let after = |days: i64| Timestamp::from_millis(made.millis() + days * DAY);
        assert!(owned.is_known(made) && owned.is_known(after(60)));
        assert!(!owned.is_known(after(61)));
        let spell = Spell::at(made);
        assert_eq!(spell.left(made), 60 * DAY + 1);
        assert!(Owned { spell: None, ..owned }.is_known(after(10_000)));
    }
}
