//! Takes in a ledger that was kept elsewhere, and says whether one is being taken in.
//!
//! What is written here has the form in which the functions write it. A shard's log is written under ids of our own, one
//! after the other: a portion that is sent twice, because its reply was lost, is refused the second time.

use std::collections::{BTreeMap, HashMap};

use ::redis::{cmd, pipe};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::log::Log;
use super::{Store, directory, hexadecimal, keys, owned, text, unreadable};
use crate::credit::{
    Account, AccountId, Claim, ClaimName, Entry, Fact, Id, Source, SourceId, Timestamp,
};
use crate::directory::{Key, KeyHash, Record};
use crate::ledger::LedgerError;
use crate::ledger::owned::Owned;
use crate::ledger::sqlite::Remembered;
use crate::statement::rfc3339;

pub use super::keys::Shard;

/// Commands that are sent at once.
const PORTION: usize = 500;
/// How long operations are remembered beyond the hour of their ids, in ms, as in books/steps.lua.
const REMEMBERED_MILLIS: i64 = 73 * HOUR_MILLIS;
const HOUR_MILLIS: i64 = 3_600_000;

/// What a server remembers of the ledger that was moved to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// Which move it was.
    pub id: String,
    /// Where the ledger was before.
    pub source: String,
    /// When the move began.
    pub begun: Timestamp,
    /// When it was complete.
    pub completed: Option<Timestamp>,
}

/// Why a gateway can't serve from what was moved to a server.
#[derive(Debug, thiserror::Error)]
pub enum Unfinished {
    /// Not everything is there yet.
    #[error(
        "a ledger is being moved there from {}, since {}, and the move is not complete: run `creditgate migrate` once \
         more with the same addresses; or set `ledger` to {} to go on with that, and empty this database (`FLUSHDB`)",
        .0.source, rfc3339(.0.begun).unwrap_or_default(), .0.source
    )]
    Move(Migration),
    /// Nobody knows.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What is known of an account besides its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Belongings {
    pub books: Account,
    pub sources: Vec<(SourceId, Source)>,
    pub record: Option<Record>,
    pub keys: Vec<(KeyHash, Key)>,
    /// In order.
    pub owned: Vec<Owned>,
}

/// Entries of accounts, as sums that differ where an entry does.
pub type Sums = BTreeMap<AccountId, Sum>;

/// The entries of one account: how many, and their SHA-256.
#[derive(Clone, Default)]
pub struct Sum {
    entries: u64,
    hash: Sha256,
}

impl Sum {
    /// Adds the next entry.
    pub fn add(&mut self, entry: &Entry) {
        self.entries += 1;
        // Our own types: writing them as JSON can't fail, and a text that is empty on one side alone would differ.
        self.hash.update(serde_json::to_vec(entry).unwrap_or_default());
    }

    /// The number of entries, and the hash of them all.
    pub fn finish(self) -> (u64, [u8; 32]) {
        (self.entries, self.hash.finalize().into())
    }
}

impl Store {
    /// The move to this server, whether it is complete or not.
    pub async fn migration(&self) -> Result<Option<Migration>, LedgerError> {
        let text: Option<String> =
            self.ask(keys::MIGRATION, cmd("GET").arg(keys::MIGRATION)).await?;
        let read = |text: String| serde_json::from_str(&text).map_err(|_| text::Unreadable(text));
        text.map(read).transpose().map_err(|error| unreadable(&error))
    }

    /// Refuses to serve from a server to which a ledger is still being moved.
    pub async fn refuse_unfinished(&self) -> Result<(), Unfinished> {
        match self.migration().await? {
            Some(migration) if migration.completed.is_none() => Err(Unfinished::Move(migration)),
            Some(_) | None => Ok(()),
        }
    }

    /// Claims a server on which no move was begun; gives the move that has it.
    pub(in crate::ledger) async fn claim(
        &self,
        migration: &Migration,
    ) -> Result<Option<Migration>, LedgerError> {
        let text = migration_text(migration);
        let set = cmd("SET").arg(keys::MIGRATION).arg(text).arg("NX").to_owned();
        self.ask::<Option<String>>(keys::MIGRATION, &set).await?;
        self.migration().await
    }

    /// Writes what is known of the move.
    pub(in crate::ledger) async fn note(&self, migration: &Migration) -> Result<(), LedgerError> {
        let set = cmd("SET").arg(keys::MIGRATION).arg(migration_text(migration)).to_owned();
        self.write(keys::MIGRATION, &set).await
    }

    /// Whether the server has no account and no key.
    pub(in crate::ledger) async fn is_empty(&self) -> Result<bool, LedgerError> {
        let shards = Shard::all().flat_map(|shard| [shard.log(), shard.names()]);
        let places = shards.chain([keys::SERVICE_KEYS.to_owned()]);
        let questions = places.map(|place| {
            let exists = cmd("EXISTS").arg(&place).to_owned();
            (place, exists)
        });
        let found = self.ask_all::<u64>(questions.collect()).await?;
        Ok(found.iter().all(|number| *number == 0))
    }

    /// Writes keys that belong to no account.
    pub(in crate::ledger) async fn take_service_keys(
        &self,
        service: &[(KeyHash, Key)],
    ) -> Result<(), LedgerError> {
        for (hash, key) in service {
            self.take_hints(*hash, key).await?;
            let set = cmd("HSET")
                .arg(keys::SERVICE_KEYS)
                .arg(&directory::key_field(*hash, key))
                .to_owned();
            self.ask::<()>(keys::SERVICE_KEYS, &set).await?;
        }
        Ok(())
    }

    /// The service keys with their hashes, oldest first.
    pub(in crate::ledger) async fn service_keys(&self) -> Result<Vec<(KeyHash, Key)>, LedgerError> {
        self.keys_with_hashes(None).await
    }

    /// Both hints of a key, which stand before the key.
    async fn take_hints(&self, hash: KeyHash, key: &Key) -> Result<(), LedgerError> {
        for (name, hint) in directory::hints(hash, key) {
            self.ask::<()>(&name, cmd("SET").arg(&name).arg(hint)).await?;
        }
        Ok(())
    }

    /// Writes what is remembered of operations; those that are too old to be asked again are left out.
    pub(in crate::ledger) async fn take_operations(
        &self,
        operations: &[Remembered],
    ) -> Result<(), LedgerError> {
        let now = (self.clock)().millis();
        let mut places: BTreeMap<(String, i64), Vec<(String, String)>> = BTreeMap::new();
        for Remembered { id, step, account, fingerprint, outcome } in operations {
            let hour = id.made_at().millis() / HOUR_MILLIS;
            let left = (hour + 1) * HOUR_MILLIS + REMEMBERED_MILLIS - now;
            if left > 0 {
                let place = (keys::operations(account, *id), left);
                let memory =
                    format!("{} {}", hexadecimal(*fingerprint), text::outcome_text(outcome));
                places
                    .entry(place)
                    .or_default()
                    .push((format!("{}.{step}", text::id(*id)), memory));
            }
        }
        for ((place, left), memories) in places {
            for portion in memories.chunks(PORTION) {
                let mut write = pipe();
                write.cmd("HSET").arg(&place).arg("x").arg(1).arg(portion).ignore();
                write.cmd("PEXPIRE").arg(&place).arg(left).ignore();
                self.write_all(&place, &write).await?;
            }
        }
        Ok(())
    }

    /// Writes claims; those that have ended are left out.
    pub(in crate::ledger) async fn take_claims(
        &self,
        claims: &[(AccountId, ClaimName, Claim)],
    ) -> Result<(), LedgerError> {
        let now = (self.clock)().millis();
        for (account, name, claim) in claims {
            let (key, left) = (keys::claim(account, *name), claim.ends.millis() - now);
            if left > 0 {
                let mut write = cmd("SET");
                write.arg(&key).arg(claim.to_string()).arg("PX").arg(left);
                self.ask::<()>(&key, &write).await?;
            }
        }
        Ok(())
    }

    /// The sums of what stands in the log of `shard`.
    pub(in crate::ledger) async fn sums(&self, shard: Shard) -> Result<Sums, LedgerError> {
        let mut sums = Sums::new();
        let mut log = Log::new(shard);
        while let Some(portion) = log.next(self).await? {
            for logged in portion {
                sums.entry(logged.account).or_default().add(&logged.entry);
            }
        }
        Ok(sums)
    }

    /// What is known of `account` besides its entries; its sources in the order of their names.
    pub(in crate::ledger) async fn belongings(
        &self,
        account: &AccountId,
    ) -> Result<Belongings, LedgerError> {
        let place = keys::sources(account);
        let sources: HashMap<String, Vec<u8>> =
            self.ask(&place, cmd("HGETALL").arg(&place)).await?;
        let read =
            |(name, value): (&String, &Vec<u8>)| Ok((text::parsed(name)?, text::source(value)?));
        let sources: Result<Vec<_>, _> = sources.iter().map(read).collect();
        let mut sources = sources.map_err(|error| unreadable(&error))?;
        sources.sort_by(|(a, _): &(SourceId, Source), (b, _)| a.cmp(b));
        Ok(Belongings {
            books: self.books(account).await?.unwrap_or_default(),
            sources,
            record: self.record(account).await?,
            keys: self.keys_with_hashes(Some(account)).await?,
            owned: self.all_owned(account).await?,
        })
    }
}

/// Writes the accounts of one shard, one after the other. What an earlier attempt left there goes first.
pub(in crate::ledger) struct Arrival<'a> {
    store: &'a Store,
    shard: Shard,
    begun: Timestamp,
    written: u64,
}

impl<'a> Arrival<'a> {
    /// Begins with an empty log, in a move that began at `begun`.
    pub(in crate::ledger) async fn begin(
        store: &'a Store,
        shard: Shard,
        begun: Timestamp,
    ) -> Result<Self, LedgerError> {
        let log = shard.log();
        store.ask::<()>(&log, cmd("DEL").arg(&log).arg(shard.names())).await?;
        Ok(Self { store, shard, begun, written: 0 })
    }

    /// The next entries of `account`.
    pub(in crate::ledger) async fn entries(
        &mut self,
        account: &AccountId,
        entries: &[Entry],
    ) -> Result<(), LedgerError> {
        for portion in entries.chunks(PORTION) {
            let mut write = pipe();
            for entry in portion {
                self.written += 1;
                let id = format!("{}-{}", self.begun.millis(), self.written);
                let add = write.cmd("XADD").arg(self.shard.log()).arg(id);
                add.arg("a").arg(account.as_str()).arg("e").arg(text::entry_text(entry)).ignore();
            }
            self.store.write_all(&self.shard.log(), &write).await?;
        }
        Ok(())
    }

    /// All that is known of `account` besides its entries. `order` as for [`text::account_fields`].
    pub(in crate::ledger) async fn account(
        &self,
        account: &AccountId,
        belongings: &Belongings,
        order: impl Fn(Id) -> u64,
    ) -> Result<(), LedgerError> {
        let Belongings { books, sources, record, keys: own, owned: things } = belongings;
        for (hash, key) in own {
            self.store.take_hints(*hash, key).await?;
        }
        let places = [
            keys::books(account),
            keys::sources(account),
            keys::record(account),
            keys::keys(account),
        ];
        let mut write = pipe();
        write.cmd("DEL").arg(&places).arg(owned::places(account, self.begun)).ignore();
        let [at_books, at_sources, at_record, at_keys] = &places;
        write.cmd("HSET").arg(at_books).arg(text::account_fields(books, order)).ignore();
        write.cmd("ZADD").arg(self.shard.names()).arg(0).arg(account.as_str()).ignore();
        for portion in sources.chunks(PORTION) {
            let texts: Vec<_> = portion
                .iter()
                .map(|(name, source)| (name.as_str(), text::source_text(source)))
                .collect();
            write.cmd("HSET").arg(at_sources).arg(texts).ignore();
        }
        if let Some(record) = record {
            write.cmd("HSET").arg(at_record).arg(&directory::record_text(record)).ignore();
        }
        for (hash, key) in own {
            write.cmd("HSET").arg(at_keys).arg(&directory::key_field(*hash, key)).ignore();
        }
        self.store.write_all(at_books, &write).await?;
        self.store.own(account, things).await
    }
}

/// Of holds that ran out and of jobs that may be corrected, the numbers of the entries which say so.
#[derive(Default)]
pub(in crate::ledger) struct Expiries(HashMap<Id, u64>);

impl Expiries {
    /// Those of `books`, to be found among its entries.
    pub(in crate::ledger) fn of(books: &Account) -> Self {
        let holds = books.expired.iter().map(|hold| hold.id);
        let jobs = books.jobs.iter().map(|job| job.call);
        Self(holds.chain(jobs).map(|id| (id, 0)).collect())
    }

    pub(in crate::ledger) fn see(&mut self, entry: &Entry) {
        if let Fact::HoldExpired { hold, .. }
        | Fact::Settle { hold, job: Some(_), .. }
        | Fact::Charge { hold, job: Some(_), .. } = &entry.fact
            && let Some(number) = self.0.get_mut(hold)
        {
            *number = entry.seq;
        }
    }

    pub(in crate::ledger) fn number(&self, hold: Id) -> u64 {
        self.0.get(&hold).copied().unwrap_or_default()
    }
}

fn migration_text(migration: &Migration) -> String {
    // As with fingerprints: our own types can't fail, and an empty text would be refused when it is read.
    serde_json::to_string(migration).unwrap_or_default()
}
