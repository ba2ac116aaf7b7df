//! A ledger that is to be moved elsewhere: everything in the file, while no gateway has it, and the mark that keeps
//! gateways from it afterwards.
//!
//! Reading changes nothing. The mark is a format of its own, which older versions of the program refuse as well, with a
//! table that says where the ledger went; the `sqlite3` shell reads the file as before.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};

use super::{OpenError, books, claims, directory, owned, queries, schema, sources};
use crate::credit::{
    Account, AccountId, Claim, ClaimName, Done, Entry, Id, Refusal, Source, SourceId, Timestamp,
};
use crate::directory::{Key, KeyHash, Record};
use crate::ledger::audit::Report;
use crate::ledger::owned::Owned;

/// Where a ledger went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// When.
    pub at: Timestamp,
    /// The address that it has now, without its password.
    pub target: String,
    /// Which move it was: the target has the same.
    pub migration: String,
}

/// An operation that is remembered, so that repeating it has no second effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Its id.
    pub id: Id,
    /// Its step.
    pub step: String,
    /// Whose books it concerned.
    pub account: AccountId,
    /// Of its arguments.
    pub fingerprint: [u8; 16],
    /// What was answered.
    pub outcome: Result<Done, Refusal>,
}

/// The file can't be read, or the mark can't be written.
#[derive(Debug, thiserror::Error)]
#[error("the ledger's file can't be used: {0}")]
pub struct ExportError(#[from] rusqlite::Error);

/// A ledger's file, kept from every gateway as long as this lives.
pub struct Export {
    path: PathBuf,
    db: Connection,
    _lock: File,
}

impl Export {
    /// Opens the ledger at `path`, which must be there.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { path: path.to_owned(), source };
        std::fs::metadata(path).map_err(io)?;
        let lock = schema::lock(path)?;
        let db = schema::open_to_export(path)?;
        Ok(Self { path: path.to_owned(), db, _lock: lock })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the ledger went, if it was moved before.
    pub fn moved(&self) -> Result<Option<Moved>, ExportError> {
        Ok(schema::moved(&self.db)?)
    }

    /// Keeps every gateway from the file for ever. On disk when this returns.
    pub fn mark(&mut self, moved: &Moved) -> Result<(), ExportError> {
        self.db.pragma_update(None, "synchronous", "full")?;
        let step = self.db.transaction()?;
        schema::mark(&step, moved)?;
        Ok(step.commit()?)
    }

    /// Names of accounts after the name `after`, in order; at most `limit`.
    pub fn accounts(&self, after: &str, limit: u32) -> Result<Vec<AccountId>, ExportError> {
        let sql = "SELECT id FROM account WHERE id > ?1
                   UNION SELECT account FROM record WHERE account > ?1 ORDER BY 1 LIMIT ?2";
        let mut query = self.db.prepare_cached(sql)?;
        let mut rows = query.query(params![after, limit])?;
        let mut names = Vec::new();
        while let Some(row) = rows.next()? {
            names.push(name(row, 0)?);
        }
        Ok(names)
    }

    /// The books of `account` as they are stored.
    pub fn books(&self, account: &AccountId) -> Result<Account, ExportError> {
        Ok(books::read_account(&self.db, account)?.unwrap_or_default())
    }

    /// What is remembered of every source of `account`.
    pub fn sources(&self, account: &AccountId) -> Result<Vec<(SourceId, Source)>, ExportError> {
        Ok(sources::all(&self.db, account)?)
    }

    /// The record of `account`.
    pub fn record(&self, account: &AccountId) -> Result<Option<Record>, ExportError> {
        Ok(directory::record(&self.db, account)?)
    }

    /// The keys of `account`, or the service keys, with their hashes; oldest first.
    pub fn keys(&self, account: Option<&AccountId>) -> Result<Vec<(KeyHash, Key)>, ExportError> {
        let sql = "SELECT hash FROM key WHERE account IS ?1 ORDER BY created, id";
        let mut query = self.db.prepare_cached(sql)?;
        let hashes = query.query_map([account.map(AccountId::as_str)], |row| row.get(0))?;
        let hashes: Vec<[u8; 32]> = hashes.collect::<Result<_, _>>()?;
        let keys = directory::keys(&self.db, account)?;
        Ok(hashes.into_iter().map(KeyHash).zip(keys).collect())
    }

    /// What `account` owns that is still known at `now`, in order.
    pub fn owned(&self, account: &AccountId, now: Timestamp) -> Result<Vec<Owned>, ExportError> {
        Ok(owned::all(&self.db, account, now)?)
    }

    /// Entries of `account` after number `after`, oldest first; at most `limit`.
    pub fn entries(
        &self,
        account: &AccountId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Entry>, ExportError> {
        Ok(queries::entries(&self.db, account, after, limit)?)
    }

    /// What is remembered of operations after that of this id and step, in order; at most `limit`.
    pub fn operations(
        &self,
        after: Option<&Remembered>,
        limit: u32,
    ) -> Result<Vec<Remembered>, ExportError> {
        let sql = "SELECT id, step, account, fingerprint, outcome FROM operation
                   WHERE (id, step) > (?1, ?2) ORDER BY id, step LIMIT ?3";
        let (id, step) = after.map_or((0, ""), |after| (after.id.as_u128(), &after.step));
        let mut query = self.db.prepare_cached(sql)?;
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Remembered {
                id: books::id_at(row, 0)?,
                step: row.get(1)?,
                account: name(row, 2)?,
                fingerprint: row.get(3)?,
                outcome: books::from_json(row, 4)?,
            })
        };
        let found = query.query_map(params![id.to_be_bytes(), step, limit], read)?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Every claim after the last one of before, in order; at most `limit`.
    pub fn claims(
        &self,
        after: Option<&(AccountId, ClaimName, Claim)>,
        limit: u32,
    ) -> Result<Vec<(AccountId, ClaimName, Claim)>, ExportError> {
        Ok(claims::all(&self.db, after, limit)?)
    }

    /// Checks every account's books against its entries.
    pub fn audit(&mut self, now: Timestamp) -> Result<Report, ExportError> {
        Ok(queries::audit(&mut self.db, now)?)
    }
}

fn name(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<AccountId> {
    let name: String = row.get(at)?;
    name.try_into().map_err(|error| books::bad_column(at, error))
}

/// Reads the mark.
pub(super) fn read_mark(db: &Connection) -> rusqlite::Result<Option<Moved>> {
    let read = |row: &rusqlite::Row<'_>| {
        let at = Timestamp::from_millis(row.get(0)?);
        Ok(Moved { at, target: row.get(1)?, migration: row.get(2)? })
    };
    db.query_row("SELECT at, target, migration FROM moved", [], read).optional()
}

/// Writes the mark.
pub(super) fn write_mark(db: &Connection, moved: &Moved) -> rusqlite::Result<()> {
    db.execute_batch(
        "CREATE TABLE moved (
             at         INTEGER NOT NULL,
             target     TEXT    NOT NULL,
             migration  TEXT    NOT NULL
         ) STRICT",
    )?;
    let row = params![moved.at.millis(), moved.target, moved.migration];
    db.execute("INSERT INTO moved VALUES (?1, ?2, ?3)", row).map(|_| ())
}
