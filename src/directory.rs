//! Accounts' records and keys: what a gateway may cache, with versions.
//!
//! Each record carries a version that rises with every change to the account's plan, gate or keys. A hold brings
//! the version that the caller was identified with; the ledger refuses it as stale if a newer one is known, so
//! that a revoked key or a closed subscription stops the very next AI call without a second round trip.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono_tz::Tz;
use quick_cache::sync::Cache;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::config::WhenExhausted;
use crate::credit::{AccountId, Credits, Period, Timestamp};
use crate::ledger::{Ledger, LedgerError};
use crate::metrics::{CacheLookup, Metrics};

/// Accounts and keys that are kept in memory, each.
const CACHED: usize = 100_000;
/// How long what was read may be used where other gateways change the same ledger and nothing else would tell: how long
/// another gateway's revocation goes unnoticed by free calls, and by service keys, which belong to no account.
const SHARED_AGE: Duration = Duration::from_secs(5);

/// What the gateway must know of an account to serve it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record {
    /// The account's name.
    pub account: AccountId,
    /// Rises with every change to plan, gate or keys.
    pub version: u64,
    /// The plan's name in the configuration.
    pub plan: String,
    /// The instant from which the plan's months are counted.
    pub anchor: Timestamp,
    /// The time zone in which they are counted.
    pub zone: Tz,
    /// When the account was created.
    pub created: Timestamp,
    /// The status of a call for which there are no credits, where it is not what the plan says.
    // Left out where it says nothing, so that a step of an earlier version keeps its fingerprint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when_exhausted: Option<WhenExhausted>,
}

impl Record {
    /// The plan's month at `now`, for a plan of `allowance` credits a month.
    pub fn period(&self, allowance: Credits, now: Timestamp) -> Option<Period> {
        Period::containing(self.anchor, self.zone, allowance, now)
    }
}

/// Whom a key speaks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// One account.
    Account(AccountId),
    /// The SaaS itself, which names the account in each request.
    Service,
}

/// A key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Key {
    /// The key's public name: `key_` and 16 hexadecimal digits.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// Whom it speaks for.
    pub owner: Owner,
    /// The first characters of the secret, for recognition.
    pub prefix: String,
    /// When it was issued.
    pub created: Timestamp,
    /// It is refused from this instant on.
    pub ends: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
}

impl Key {
    /// Whether the key is accepted at `now`.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.ends.is_none_or(|end| now < end)
    }
}

/// A key with the version of its account's record when it was read; 0 for a service key.
#[derive(Clone, Debug)]
pub struct KnownKey {
    /// The key.
    pub key: Key,
    /// See [`Record::version`].
    pub version: u64,
}

/// The SHA-256 of a key's secret. Secrets have 256 random bits, so that a plain hash can't be reversed, and looking
/// one up by its hash tells an attacker nothing by its timing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// The hash of a presented key.
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }
}

/// A new key's secret: `cg_` and 64 hexadecimal digits. Shown once, stored nowhere.
pub struct NewSecret(String);

impl NewSecret {
    /// A secret from the operating system's random numbers.
    pub fn random() -> Result<Self, getrandom::Error> {
        Ok(Self(format!("cg_{}", random_hex::<32>()?)))
    }

    /// The secret itself, for the one answer that shows it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The characters by which people recognise the key.
    pub fn prefix(&self) -> String {
        self.0.chars().take(9).collect()
    }
}

impl fmt::Debug for NewSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewSecret(***)")
    }
}

/// `N` random bytes of the operating system, as lower-case hexadecimal digits.
pub fn random_hex<const N: usize>() -> Result<String, getrandom::Error> {
    use fmt::Write as _;
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().fold(String::with_capacity(2 * N), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// What makes sure that something read earlier still holds, where other gateways may have changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// A hold will bring the version of what was read, and be refused as stale if it is old.
    Hold,
    /// Nothing but its age.
    Age,
}

/// The records and keys of a ledger, cached.
pub struct Directory {
    ledger: Ledger,
    keys: Cached<KeyHash, Option<Arc<KnownKey>>>,
    records: Cached<AccountId, Option<Arc<Record>>>,
    metrics: Arc<Metrics>,
}

impl Directory {
    /// The directory kept in `ledger`. While that is away, what was read is trusted for `trust_for`.
    pub fn new(ledger: Ledger, trust_for: Duration, metrics: Arc<Metrics>) -> Self {
        let age = ledger.is_shared().then_some(SHARED_AGE);
        let (keys, records) = (Cached::new(age, trust_for), Cached::new(age, trust_for));
        Self { ledger, keys, records, metrics }
    }

    /// The key with this hash.
    pub async fn key(
        &self,
        hash: KeyHash,
        check: Check,
    ) -> Result<Option<Arc<KnownKey>>, LedgerError> {
        let load = async || Ok(self.ledger.key(hash).await?.map(Arc::new));
        let is_checked = |key: &Option<Arc<KnownKey>>| {
            let owner = key.as_ref().map(|known| &known.key.owner);
            check == Check::Hold && matches!(owner, Some(Owner::Account(_)))
        };
        self.keys.get_or_load(&hash, is_checked, &self.metrics, load).await
    }

    /// The record of `account`.
    pub async fn record(
        &self,
        account: &AccountId,
        check: Check,
    ) -> Result<Option<Arc<Record>>, LedgerError> {
        let load = async || Ok(self.ledger.record(account).await?.map(Arc::new));
        let is_checked = |record: &Option<_>| check == Check::Hold && record.is_some();
        self.records.get_or_load(account, is_checked, &self.metrics, load).await
    }

    /// Forgets what was cached of an account, and of a key: after a change, and when the ledger called it stale.
    pub fn forget(&self, account: Option<&AccountId>, key: Option<KeyHash>) {
        if let Some(account) = account {
            self.records.forget(account);
        }
        if let Some(key) = key {
            self.keys.forget(&key);
        }
    }
}

/// A cache that never keeps what was read before a change and put in after it: an entry is put in only if nothing
/// was forgotten while it was being read.
struct Cached<K, V> {
    entries: Cache<K, (V, Instant)>,
    /// Entries older than this are read again.
    age: Option<Duration>,
    /// Entries older than this are not used even if they can't be read again.
    trust_for: Duration,
    generation: AtomicU64,
}

impl<K: Eq + Hash + Clone, V: Clone> Cached<K, V> {
    fn new(age: Option<Duration>, trust_for: Duration) -> Self {
        Self { entries: Cache::new(CACHED), age, trust_for, generation: AtomicU64::new(0) }
    }

    async fn get_or_load(
        &self,
        key: &K,
        is_checked: impl Fn(&V) -> bool,
        metrics: &Metrics,
        load: impl AsyncFnOnce() -> Result<V, LedgerError>,
    ) -> Result<V, LedgerError> {
        let known = self.entries.get(key);
        let younger = |read: &Instant, age| read.elapsed() < age;
        if let Some((value, read)) = &known
            && (self.age.is_none_or(|age| younger(read, age)) || is_checked(value))
        {
            metrics.directory_lookup(CacheLookup::Hit);
            return Ok(value.clone());
        }
        let before = self.generation.load(Ordering::SeqCst);
        let read = Instant::now();
        let value = match (load().await, known) {
            (Ok(value), _) => value,
            (Err(_), Some((value, read))) if younger(&read, self.trust_for) => {
                metrics.directory_lookup(CacheLookup::Trusted);
                return Ok(value);
            }
            (Err(error), _) => return Err(error),
        };
        metrics.directory_lookup(CacheLookup::Miss);
        self.entries.insert(key.clone(), (value.clone(), read));
        if self.generation.load(Ordering::SeqCst) != before {
            // Something changed meanwhile: what was read may be old. The next call reads again.
            self.entries.remove(key);
        }
        Ok(value)
    }

    fn forget(&self, key: &K) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.entries.remove(key);
    }
}
