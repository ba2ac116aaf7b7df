//! The embedded engine: one SQLite file, one writer thread, group commit.
//!
//! The writer drains its queue (up to [`BATCH`] steps), carries them out on books in memory, writes what changed in
//! one transaction, and only then answers. A hold need only survive the process, so it is answered after the commit
//! has been written to the WAL; a settlement, grant or change is answered after the WAL has been synced as well,
//! which a second thread does, so that no call waits for the disk before it goes upstream. That is why the
//! connection runs with `synchronous=NORMAL` and the sync is ours.
//!
//! With the journal, the only home of `rusqlite`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, oneshot};

mod archive;
mod books;
mod claims;
mod directory;
mod export;
mod jobs;
mod owned;
mod queries;
pub(super) mod schema;
mod sources;
mod syncer;
mod writer;

#[cfg(test)]
mod tests;

pub use archive::{ArchiveFile, FileError, Label};
pub use export::{Export, ExportError, Moved, Remembered};

use super::audit::Report;
use super::owned::{Owned, Thing};
use super::{Change, Changed, Claimed, Clock, LedgerError};
use crate::credit::{
    Account, AccountId, ClaimName, Claims, Entry, Id, Operation, Period, Reply, Source, SourceId,
};
use crate::directory::{Key, KeyHash, KnownKey, Record};
use crate::statement::rfc3339;

/// Steps in one transaction.
const BATCH: usize = 256;
/// Steps that wait for the writer; further callers wait for a place.
const QUEUE: usize = 4096;

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("`{}` is in use by another gateway: stop that one, or choose another file", .0.display())]
    InUse(PathBuf),
    /// The file's format is of another version of the product.
    #[error("`{}` has format {found}, this version knows {known}: use the version that wrote it", .path.display())]
    Format { path: PathBuf, found: i64, known: i64 },
    /// The file is something else.
    #[error("`{}` holds no ledger", .0.display())]
    NoLedger(PathBuf),
    /// The ledger is elsewhere now.
    #[error(
        "the ledger in `{}` was moved to Redis on {}: set `ledger` to its address, {}",
        .path.display(), rfc3339(.moved.at).unwrap_or_default(), .moved.target
    )]
    Moved { path: PathBuf, moved: Moved },
    /// The bundled SQLite is too old to be trusted with a WAL.
    #[error("SQLite {0} has a known defect in its WAL: 3.51.3 or newer is needed")]
    Version(String),
    /// The file system refused.
    #[error("can't open `{}`: {source}", .path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// SQLite refused.
    #[error("can't open `{}`: {source}", .path.display())]
    Sqlite { path: PathBuf, source: rusqlite::Error },
}

/// One step for the writer.
enum Job {
    Apply {
        account: AccountId,
        id: Id,
        operation: Operation,
        reply: oneshot::Sender<Result<Reply, LedgerError>>,
    },
    /// The same, if the account owns all of the things; nothing if it doesn't.
    ApplyIfOwned {
        account: AccountId,
        id: Id,
        operation: Operation,
        things: Vec<Thing>,
        reply: oneshot::Sender<Result<Option<Reply>, LedgerError>>,
    },
    Own {
        account: AccountId,
        owned: Vec<Owned>,
        reply: oneshot::Sender<Result<(), LedgerError>>,
    },
    Forget {
        account: AccountId,
        thing: Thing,
        reply: oneshot::Sender<Result<(), LedgerError>>,
    },
    Change {
        id: Id,
        change: Box<Change>,
        reply: oneshot::Sender<Result<Changed, LedgerError>>,
    },
    Claim {
        account: AccountId,
        id: Id,
        hold: Operation,
        claims: Claims,
        reply: oneshot::Sender<Result<Claimed, LedgerError>>,
    },
    Delivered {
        account: AccountId,
        key: ClaimName,
        id: Id,
        reply: oneshot::Sender<Result<(), LedgerError>>,
    },
    Close(oneshot::Sender<()>),
}

/// A ledger in one SQLite file.
pub struct Store {
    path: PathBuf,
    clock: Clock,
    jobs: mpsc::Sender<Job>,
    available: Arc<AtomicBool>,
    readers: Mutex<Vec<rusqlite::Connection>>,
    /// Held until the store is dropped: keeps other processes out.
    _lock: std::fs::File,
}

impl Store {
    /// Opens or creates the ledger at `path` and starts its writer.
    pub fn open(path: &Path, clock: Clock) -> Result<Self, OpenError> {
        let lock = schema::lock(path)?;
        let db = schema::open(path)?;
        let available = Arc::new(AtomicBool::new(true));
        let (jobs, queue) = mpsc::channel(QUEUE);
        writer::start(path, db, queue, Arc::clone(&clock), Arc::clone(&available))?;
        let readers = Mutex::new(Vec::new());
        Ok(Self { path: path.to_owned(), clock, jobs, available, readers, _lock: lock })
    }

    pub(super) async fn apply(
        &self,
        account: &AccountId,
        id: Id,
        operation: Operation,
    ) -> Result<Reply, LedgerError> {
        let account = account.clone();
        self.submit(|reply| Job::Apply { account, id, operation, reply }).await?
    }

    pub(super) async fn hold(
        &self,
        account: &AccountId,
        id: Id,
        hold: Operation,
        claims: Claims,
    ) -> Result<Claimed, LedgerError> {
        let account = account.clone();
        self.submit(|reply| Job::Claim { account, id, hold, claims, reply }).await?
    }

    pub(super) async fn delivered(
        &self,
        account: &AccountId,
        key: ClaimName,
        id: Id,
    ) -> Result<(), LedgerError> {
        let account = account.clone();
        self.submit(|reply| Job::Delivered { account, key, id, reply }).await?
    }

    pub(super) async fn apply_if_owned(
        &self,
        account: &AccountId,
        id: Id,
        operation: Operation,
        things: &[Thing],
    ) -> Result<Option<Reply>, LedgerError> {
        let (account, things) = (account.clone(), things.to_vec());
        self.submit(|reply| Job::ApplyIfOwned { account, id, operation, things, reply }).await?
    }

    pub(super) async fn own(
        &self,
        account: &AccountId,
        owned: &[Owned],
    ) -> Result<(), LedgerError> {
        let (account, owned) = (account.clone(), owned.to_vec());
        self.submit(|reply| Job::Own { account, owned, reply }).await?
    }

    pub(super) async fn forget(
        &self,
        account: &AccountId,
        thing: Thing,
    ) -> Result<(), LedgerError> {
        let account = account.clone();
        self.submit(|reply| Job::Forget { account, thing, reply }).await?
    }

    pub(super) async fn owns(
        &self,
        account: &AccountId,
        things: &[Thing],
    ) -> Result<Vec<bool>, LedgerError> {
        let (account, things, now) = (account.clone(), things.to_vec(), (self.clock)());
        let is_owned = move |db: &mut rusqlite::Connection| {
            things.iter().map(|thing| owned::is_owned(db, &account, thing, now)).collect()
        };
        self.query(is_owned).await
    }

    pub(super) async fn change(&self, id: Id, change: Change) -> Result<Changed, LedgerError> {
        self.submit(|reply| Job::Change { id, change: Box::new(change), reply }).await?
    }

    async fn submit<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<T>) -> Job,
    ) -> Result<T, LedgerError> {
        let (reply, answer) = oneshot::channel();
        let gone = || LedgerError::Unavailable("its writer has stopped".into());
        self.jobs.send(job(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| LedgerError::Unknown("its writer has stopped".into()))
    }

    pub(super) fn is_available(&self) -> bool {
        self.available.load(Ordering::Relaxed) && !self.jobs.is_closed()
    }

    pub(super) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.jobs.send(Job::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }

    pub(super) async fn read(
        &self,
        account: &AccountId,
        period: Option<Period>,
    ) -> Result<Option<Account>, LedgerError> {
        let (account, now) = (account.clone(), (self.clock)());
        self.query(move |db| queries::account_at(db, &account, period, now)).await
    }

    pub(super) async fn record(&self, account: &AccountId) -> Result<Option<Record>, LedgerError> {
        let account = account.clone();
        self.query(move |db| directory::record(db, &account)).await
    }

    pub(super) async fn records(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Record>, LedgerError> {
        let after = after.to_owned();
        self.query(move |db| directory::records(db, &after, limit)).await
    }

    pub(super) async fn key(&self, hash: KeyHash) -> Result<Option<KnownKey>, LedgerError> {
        self.query(move |db| directory::key(db, hash)).await
    }

    pub(super) async fn keys(&self, account: Option<&AccountId>) -> Result<Vec<Key>, LedgerError> {
        let account = account.cloned();
        self.query(move |db| directory::keys(db, account.as_ref())).await
    }

    pub(super) async fn entries(
        &self,
        account: &AccountId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Entry>, LedgerError> {
        let account = account.clone();
        self.query(move |db| queries::entries(db, &account, after, limit)).await
    }

    pub(super) async fn explain(&self, id: Id) -> Result<Vec<(AccountId, Entry)>, LedgerError> {
        self.query(move |db| queries::explain(db, id)).await
    }

    pub(super) async fn source(
        &self,
        account: &AccountId,
        source: &SourceId,
    ) -> Result<Option<Source>, LedgerError> {
        let (account, source) = (account.clone(), source.clone());
        self.query(move |db| sources::one(db, &account, &source)).await
    }

    pub(super) async fn audit(&self) -> Result<Report, LedgerError> {
        let now = (self.clock)();
        self.query(move |db| queries::audit(db, now)).await
    }

    /// Runs `query` on a read-only connection, off the asynchronous threads.
    async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let idle = self.readers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        let path = self.path.clone();
        let run = move || {
            let mut db = idle.map_or_else(|| schema::open_read_only(&path), Ok)?;
            let found = query(&mut db)?;
            Ok::<_, rusqlite::Error>((found, db))
        };
        let unavailable = |error: String| LedgerError::Unavailable(error);
        let ran = tokio::task::spawn_blocking(run).await.map_err(|e| unavailable(e.to_string()))?;
        let (found, db) = ran.map_err(|error| unavailable(error.to_string()))?;
        self.readers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(db);
        Ok(found)
    }
}
