//! Where accounts live: one interface, one engine for each store.
//!
//! The rules of money stand in `credit`; an engine makes one step of them atomic and durable. When the outcome of
//! a step can't be known, an engine says so, and the caller repeats it under the same id.

use std::sync::Arc;

pub mod archive;
pub mod audit;
mod fingerprint;
pub mod journal;
pub mod migration;
pub mod owned;
pub mod redis;
mod settler;
pub mod sqlite;

pub use settler::{Allowed, Call, Charge, Settler, Slot};

use crate::config::WhenExhausted;
use crate::credit::{
    Account, AccountId, ClaimName, Claims, Credits, Entry, Id, Operation, Period, Refusal,
    Repeated, Reply, Source, SourceId, Timestamp,
};
use crate::directory::{Key, KeyHash, KnownKey, Record};
use owned::{Owned, Thing};

/// Tells the time: an argument wherever it matters, so that a test can hold it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Why the ledger gave no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// The step may have happened or not: repeat it under the same id.
    #[error("the ledger could not confirm the step: {0}")]
    Unknown(String),
    /// The step did not happen.
    #[error("the ledger is not available: {0}")]
    Unavailable(String),
    /// The account's books break a rule. It is frozen; others go on.
    #[error("account `{account}` is frozen: {reason}")]
    Frozen { account: AccountId, reason: String },
}

/// Why the history can't be told.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HistoryError {
    /// The ledger gave no answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// What was asked for has gone to the archive, and this gateway doesn't have that.
    #[error(
        "{0} are in the archive: ask the gateway whose configuration has its folder in [archive]"
    )]
    Archived(String),
}

/// A change to the directory, carried out in one step with the version that it brings.
#[derive(Clone, Debug)]
pub enum Change {
    /// A new account, whose gate is open until the instant.
    Create { record: Record, gate_until: Timestamp },
    /// The gate moves.
    Gate { account: AccountId, until: Timestamp },
    /// The plan changes; the open plan lot follows.
    Plan { account: AccountId, plan: String, allowance: Credits },
    /// Calls without credits are answered with this status, or with the plan's.
    WhenExhausted { account: AccountId, status: Option<WhenExhausted> },
    /// A new key.
    IssueKey { key: Key, hash: KeyHash },
    /// A key is refused from now on.
    RevokeKey { id: String },
}

/// What came of a change.
#[derive(Clone, Debug)]
pub enum Changed {
    /// The record as it is now, where the change concerned an account; the key's hash where it concerned a key.
    Done { record: Option<Record>, key: Option<KeyHash> },
    /// The account's name is taken.
    AccountExists,
    /// There is no such account.
    NoSuchAccount,
    /// There is no such key.
    NoSuchKey,
    /// The ledger refused the step.
    Refused(Refusal),
}

/// What came of a hold whose call may belong to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The hold's answer; `rides`: nothing was held, since another call pays for this one.
    Answered { reply: Reply, rides: bool },
    /// The call repeats one that is not to be made again. Nothing was asked of the account.
    Repeated(Repeated),
}

/// The store of accounts. Cheap to clone.
#[derive(Clone)]
pub enum Ledger {
    /// One SQLite file on this machine.
    Sqlite(Arc<sqlite::Store>),
    /// A Redis server, which many gateways may share.
    Redis(Arc<redis::Store>),
}

impl Ledger {
    /// Carries out one operation, once: the same id with the same arguments gives the same outcome again.
    pub async fn apply(
        &self,
        account: &AccountId,
        id: Id,
        operation: Operation,
    ) -> Result<Reply, LedgerError> {
        match self {
            Self::Sqlite(store) => store.apply(account, id, operation).await,
            Self::Redis(store) => store.apply(account, id, operation).await,
        }
    }

    /// Carries out `hold`, an [`Operation::Hold`], for a call that may repeat another one or be a part of a task, in one step with its claims.
    pub async fn hold(
        &self,
        account: &AccountId,
        id: Id,
        hold: Operation,
        claims: Claims,
    ) -> Result<Claimed, LedgerError> {
        match self {
            Self::Sqlite(store) => store.hold(account, id, hold, claims).await,
            Self::Redis(store) => store.hold(account, id, hold, claims).await,
        }
    }

    /// The answer to the attempt `id` reached its client whole.
    pub async fn delivered(
        &self,
        account: &AccountId,
        key: ClaimName,
        id: Id,
    ) -> Result<(), LedgerError> {
        match self {
            Self::Sqlite(store) => store.delivered(account, key, id).await,
            Self::Redis(store) => store.delivered(account, key, id).await,
        }
    }

    /// The same, if `account` owns all of `things`; nothing, and nothing is done, if it doesn't. One step, as without them.
    pub async fn apply_if_owned(
        &self,
        account: &AccountId,
        id: Id,
        operation: Operation,
        things: &[Thing],
    ) -> Result<Option<Reply>, LedgerError> {
        if things.is_empty() {
            return self.apply(account, id, operation).await.map(Some);
        }
        match self {
            Self::Sqlite(store) => store.apply_if_owned(account, id, operation, things).await,
            Self::Redis(store) => store.apply_if_owned(account, id, &operation, things).await,
        }
    }

    /// Which of `things` belong to `account`, in their order.
    pub async fn owns(
        &self,
        account: &AccountId,
        things: &[Thing],
    ) -> Result<Vec<bool>, LedgerError> {
        match self {
            Self::Sqlite(store) => store.owns(account, things).await,
            Self::Redis(store) => store.owns(account, things).await,
        }
    }

    /// `account` owns these from now on. Repeating it changes nothing.
    pub async fn own(&self, account: &AccountId, owned: &[Owned]) -> Result<(), LedgerError> {
        match self {
            Self::Sqlite(store) => store.own(account, owned).await,
            Self::Redis(store) => store.own(account, owned).await,
        }
    }

    /// `account` doesn't own `thing` any more.
    pub async fn forget(&self, account: &AccountId, thing: Thing) -> Result<(), LedgerError> {
        match self {
            Self::Sqlite(store) => store.forget(account, thing).await,
            Self::Redis(store) => store.forget(account, &thing).await,
        }
    }

    /// Carries out one change of the directory.
    pub async fn change(&self, id: Id, change: Change) -> Result<Changed, LedgerError> {
        match self {
            Self::Sqlite(store) => store.change(id, change).await,
            Self::Redis(store) => store.change(id, change).await,
        }
    }

    /// The books of `account` now, with `period` open and due expiries carried out; nothing is written.
    pub async fn read(
        &self,
        account: &AccountId,
        period: Option<Period>,
    ) -> Result<Option<Account>, LedgerError> {
        match self {
            Self::Sqlite(store) => store.read(account, period).await,
            Self::Redis(store) => store.read(account, period).await,
        }
    }

    /// The record of `account`.
    pub async fn record(&self, account: &AccountId) -> Result<Option<Record>, LedgerError> {
        match self {
            Self::Sqlite(store) => store.record(account).await,
            Self::Redis(store) => store.record(account).await,
        }
    }

    /// The records of accounts after the name `after`, in the order of their names; at most `limit`.
    pub async fn records(&self, after: &str, limit: u32) -> Result<Vec<Record>, LedgerError> {
        match self {
            Self::Sqlite(store) => store.records(after, limit).await,
            Self::Redis(store) => store.records(after, limit).await,
        }
    }

    /// The key with this hash, and the version of its account's record.
    pub async fn key(&self, hash: KeyHash) -> Result<Option<KnownKey>, LedgerError> {
        match self {
            Self::Sqlite(store) => store.key(hash).await,
            Self::Redis(store) => store.key(hash).await,
        }
    }

    /// The keys of `account`; the service keys without one.
    pub async fn keys(&self, account: Option<&AccountId>) -> Result<Vec<Key>, LedgerError> {
        match self {
            Self::Sqlite(store) => store.keys(account).await,
            Self::Redis(store) => store.keys(account).await,
        }
    }

    /// The entries of `account` after number `after`, oldest first; at most `limit`.
    pub async fn entries(
        &self,
        account: &AccountId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Entry>, HistoryError> {
        match self {
            Self::Sqlite(store) => Ok(store.entries(account, after, limit).await?),
            Self::Redis(store) => store.entries(account, after, limit).await,
        }
    }

    /// Every entry about the call `id`, with its account, oldest first.
    pub async fn explain(&self, id: Id) -> Result<Vec<(AccountId, Entry)>, HistoryError> {
        match self {
            Self::Sqlite(store) => Ok(store.explain(id).await?),
            Self::Redis(store) => store.explain(id).await,
        }
    }

    /// What is remembered of `source`, if it ever granted anything to `account`.
    pub async fn source(
        &self,
        account: &AccountId,
        source: &SourceId,
    ) -> Result<Option<Source>, LedgerError> {
        match self {
            Self::Sqlite(store) => store.source(account, source).await,
            Self::Redis(store) => store.source(account, source).await,
        }
    }

    /// Checks every account's books against its entries.
    pub async fn audit(&self) -> Result<audit::Report, HistoryError> {
        match self {
            Self::Sqlite(store) => Ok(store.audit().await?),
            Self::Redis(store) => store.audit().await,
        }
    }

    /// Whether other gateways may change the same ledger.
    pub fn is_shared(&self) -> bool {
        match self {
            Self::Sqlite(_) => false,
            Self::Redis(_) => true,
        }
    }

    /// Whether steps are being carried out.
    pub fn is_available(&self) -> bool {
        match self {
            Self::Sqlite(store) => store.is_available(),
            Self::Redis(store) => store.is_available(),
        }
    }

    /// Writes out what is queued and closes the store.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(store) => store.close().await,
            // Nothing is queued here: every answer was given.
            Self::Redis(_) => {}
        }
    }
}
