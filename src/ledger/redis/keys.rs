//! The names of everything that is kept in Redis.
//!
//! All keys of an account carry the tag of its shard, so that one script may touch them all on a cluster as well: the
//! shard is the first byte of the SHA-256 of the account's name, for ever.

use crate::credit::{AccountId, ClaimName, Id};
use crate::directory::KeyHash;
use crate::ledger::owned::Spell;

/// Where service keys are kept: details by hash, as in [`keys`].
pub(super) const SERVICE_KEYS: &str = "{service}:k";

/// What is remembered of the ledger that was moved here.
pub(super) const MIGRATION: &str = "{migration}";

/// The id of the ledger's archive, who writes it for the time being, and how often that has changed.
pub(super) const ARCHIVE: [&str; 3] = ["{archive}:id", "{archive}:lease", "{archive}:fence"];

/// One of 256 shards, each with a log of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard(u8);

impl Shard {
    /// Where `account` is, for ever.
    pub fn of(account: &AccountId) -> Self {
        Self(account.spread())
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// How far the log is archived, and what may be gone from it.
    pub(super) fn archived(self) -> String {
        self.tagged(9) + ":archived"
    }

    /// The stream of every entry of the shard's accounts.
    pub(super) fn log(self) -> String {
        self.tagged(4) + ":log"
    }

    /// The names of the shard's accounts.
    pub(super) fn names(self) -> String {
        self.tagged(6) + ":names"
    }

    /// Keys that are there for the length of a question.
    pub(super) fn probes(self) -> [String; 4] {
        ["hash", "stream", "set", "text"].map(|kind| self.key("probe", kind))
    }

    fn operations(self, id: Id) -> String {
        self.key("op", itoa::Buffer::new().format(id.made_at().millis() / 3_600_000))
    }

    fn key(self, kind: &str, name: &str) -> String {
        let mut key = self.tagged(kind.len() + name.len() + 2);
        for part in [":", kind, ":", name] {
            key.push_str(part);
        }
        key
    }

    /// The tag, with room for `more` bytes. Each call has a dozen of them written, so not by way of a formatter.
    fn tagged(self, more: usize) -> String {
        let digit = |number: u8| char::from(b'0' + number % 10);
        let mut key = String::with_capacity(6 + more);
        key.push_str("{s");
        key.extend([digit(self.0 / 100), digit(self.0 / 10), digit(self.0)]);
        key.push('}');
        key
    }
}

/// The books of `account`.
pub(super) fn books(account: &AccountId) -> String {
    Shard::of(account).key("a", account.as_str())
}

/// What is remembered of the sources of `account`.
pub(super) fn sources(account: &AccountId) -> String {
    Shard::of(account).key("src", account.as_str())
}

/// What `account` owns: what stays for ever, or what was made in a spell and goes with it.
pub(super) fn owned(account: &AccountId, spell: Option<Spell>) -> String {
    let kind = spell.map_or_else(|| "own".to_owned(), |spell| format!("own{}", spell.number()));
    Shard::of(account).key(&kind, account.as_str())
}

/// The record of `account`.
pub(super) fn record(account: &AccountId) -> String {
    Shard::of(account).key("r", account.as_str())
}

/// The keys of `account`: details by hash.
pub(super) fn keys(account: &AccountId) -> String {
    Shard::of(account).key("k", account.as_str())
}

/// Whose key a hash is: the account's name, or nothing for a service key. A hint that is written before the key and
/// never goes: what counts stands in the account's own keys.
pub(super) fn owner(hash: KeyHash) -> String {
    format!("{{k{:03}}}:{}", hash.0[0], hex(hash))
}

/// The hash of the key with this public name, and its owner: `hash account`. A hint as well.
pub(super) fn hash_of(key: &str) -> String {
    format!("{{i}}:{key}")
}

/// A key of the same slot as `key`, which has a tag, that may be written at will.
pub(super) fn fence_beside(key: &str) -> String {
    let tag = key.split_inclusive('}').next().unwrap_or_default();
    format!("{tag}:fence")
}

/// The keys of a step, in the order in which the functions want them.
pub(super) fn of_step(account: &AccountId, id: Id) -> [String; 5] {
    let shard = Shard::of(account);
    let [books, sources] = ["a", "src"].map(|kind| shard.key(kind, account.as_str()));
    [books, sources, shard.operations(id), shard.log(), shard.names()]
}

/// What `account` remembers under `name` of calls that belong together.
pub(super) fn claim(account: &AccountId, name: ClaimName) -> String {
    Shard::of(account).key("claim", &format!("{account}:{}", name.hex()))
}

/// What is remembered of operations of the shard of `account` in the hour of `id`.
pub(super) fn operations(account: &AccountId, id: Id) -> String {
    Shard::of(account).operations(id)
}

/// A hash as lower-case hexadecimal digits.
pub(super) fn hex(hash: KeyHash) -> String {
    use std::fmt::Write as _;
    hash.0.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_keeps_its_shard_for_ever() {
        for (account, key) in [("acc", "{s065}:a:acc"), ("demo", "{s042}:a:demo")] {
            assert_eq!(books(&account.parse().unwrap()), key);
        }
        assert_eq!(Shard::all().count(), 256);
    }
}
