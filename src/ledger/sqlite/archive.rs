//! One file of an archive: entries, and how far they go, written together or not at all.
//!
//! Knows nothing of the other files, nor of where the entries come from. See `ledger::archive`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{books, queries, schema};
use crate::credit::{AccountId, Entry, Id, Timestamp};

/// The format that this version reads and writes, in `PRAGMA user_version`.
const FORMAT: i64 = 1;
/// Marks the file as an archive's, in `PRAGMA application_id`: "crga".
const APPLICATION: i64 = 0x6372_6761;

/// A file that can't be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the archive's file `{}` can't be used: {source}", .path.display())]
pub struct FileError {
    path: PathBuf,
    source: rusqlite::Error,
}

/// Which file it is: the archive's id, and the file's number, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub archive: String,
    pub file: u64,
}

/// An open file.
pub struct ArchiveFile {
    path: PathBuf,
    db: Connection,
}

impl ArchiveFile {
    /// Makes a file at `path`, where none is, that begins at `positions`. On disk, but for its name, when this returns.
    pub fn create(
        path: &Path,
        label: &Label,
        positions: &BTreeMap<u8, String>,
        now: Timestamp,
    ) -> Result<(), FileError> {
        let create = || {
            let mut db = Connection::open(path)?;
            db.pragma_update(None, "synchronous", "full")?;
            let step = db.transaction()?;
            step.execute_batch(include_str!("archive.sql"))?;
            step.execute_batch(schema::ENTRIES)?;
            let row = params![label.archive, label.file, now.millis()];
            step.execute("INSERT INTO archive VALUES (?1, ?2, ?3)", row)?;
            write_positions(&step, positions)?;
            step.pragma_update(None, "application_id", APPLICATION)?;
            step.pragma_update(None, "user_version", FORMAT)?;
            step.commit()
        };
        create().map_err(|source| FileError { path: path.to_owned(), source })
    }

    /// Opens the file at `path` to write. Each commit is on disk before it returns.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let connect = || {
            let db = schema::connect(path)?;
            db.pragma_update(None, "synchronous", "full")?;
            Ok(db)
        };
        Self::checked(path, connect())
    }

    /// Opens the file at `path` to read.
    pub fn open_read_only(path: &Path) -> Result<Self, FileError> {
        Self::checked(path, schema::open_read_only(path))
    }

    fn checked(path: &Path, db: rusqlite::Result<Connection>) -> Result<Self, FileError> {
        let checked = db.and_then(|db| {
            let number = |pragma: &str| db.query_row(pragma, [], |row| row.get::<_, i64>(0));
            let found = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
            if found == (APPLICATION, FORMAT) {
                return Ok(db);
            }
            Err(books::bad_column(0, "it is no archive that this version knows"))
        });
        let db = checked.map_err(|source| FileError { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), db })
    }

    /// Which file it is.
    pub fn label(&self) -> Result<Label, FileError> {
        let read = |row: &rusqlite::Row<'_>| Ok(Label { archive: row.get(0)?, file: row.get(1)? });
        self.noted(self.db.query_row("SELECT id, file FROM archive", [], read))
    }

    /// The last messages that are archived, by shard.
    pub fn positions(&self) -> Result<BTreeMap<u8, String>, FileError> {
        let read = || {
            let mut query = self.db.prepare_cached("SELECT shard, last FROM position")?;
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        self.noted(read())
    }

    /// Adds `entries` and moves on to `positions`, both or neither.
    pub fn add<'a>(
        &mut self,
        entries: impl IntoIterator<Item = (&'a AccountId, &'a Entry)>,
        positions: &BTreeMap<u8, String>,
    ) -> Result<(), FileError> {
        let add = || {
            let step = self.db.transaction()?;
            for (account, entry) in entries {
                books::insert_entry(&step, account, entry)?;
            }
            write_positions(&step, positions)?;
            step.commit()
        };
        add().map_err(|source| FileError { path: self.path.clone(), source })
    }

    /// The number of the last entry of `account` in this file.
    pub fn last(&self, account: &AccountId) -> Result<Option<u64>, FileError> {
        let read = || {
            let sql = "SELECT seq FROM entry WHERE account = ?1 ORDER BY seq DESC LIMIT 1";
            let mut query = self.db.prepare_cached(sql)?;
            query.query_row([account.as_str()], |row| row.get(0)).optional()
        };
        self.noted(read())
    }

    /// Entries of `account` after number `after`, oldest first; at most `limit`.
    pub fn entries(
        &self,
        account: &AccountId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Entry>, FileError> {
        self.noted(queries::entries(&self.db, account, after, limit))
    }

    /// Every entry about the call `id`, with its account, oldest first.
    pub fn explain(&self, id: Id) -> Result<Vec<(AccountId, Entry)>, FileError> {
        self.noted(queries::explain(&self.db, id))
    }

    /// Bytes that it takes on the disk, besides what is still in its WAL.
    pub fn size(&self) -> Result<u64, FileError> {
        let sql = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
        self.noted(self.db.query_row(sql, [], |row| row.get(0)))
    }

    fn noted<T>(&self, found: rusqlite::Result<T>) -> Result<T, FileError> {
        found.map_err(|source| FileError { path: self.path.clone(), source })
    }
}

fn write_positions(db: &Transaction<'_>, positions: &BTreeMap<u8, String>) -> rusqlite::Result<()> {
    let sql = "INSERT INTO position VALUES (?1, ?2) ON CONFLICT (shard) DO UPDATE SET last = ?2";
    let mut write = db.prepare_cached(sql)?;
    for (shard, last) in positions {
        write.execute(params![shard, last])?;
    }
    Ok(())
}
