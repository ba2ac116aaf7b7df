//! The file: its lock, its format, and how connections to it are set up.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::OpenError;
use super::export::{self, Moved};
use super::{jobs, owned};

/// The format that this version reads and writes, in `PRAGMA user_version`.
const FORMAT: i64 = 1;
/// The format of a file whose ledger was moved elsewhere: "gone". No version opens it for service.
const MOVED: i64 = 0x676f_6e65;
/// The table of entries, which never change.
pub(super) const ENTRIES: &str = include_str!("entry.sql");
/// Tables that came later.
const ADDED: [&str; 3] = [include_str!("claim.sql"), jobs::TABLE, owned::TABLE];
/// Marks the file as ours, in `PRAGMA application_id`: "crgt".
const APPLICATION: i64 = 0x6372_6774;
/// How long a file may be another's before it counts as in use, and how often it is asked for meanwhile.
const LOCK_WAIT: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// WAL pages after which a commit also checkpoints, should the writer never be idle: 16 MiB.
const CHECKPOINT_PAGES: u32 = 4096;

/// Takes the lock file beside the ledger, for this process alone. Waits a moment for one that is just ending, or whose
/// handle a child of it still has.
pub(in crate::ledger) fn lock(path: &Path) -> Result<File, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(with_suffix(path, "-lock"))
        .map_err(io)?;
    let asked = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if asked.elapsed() < LOCK_WAIT => {
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
    }
}

/// Opens or creates the file for writing.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    if rusqlite::version_number() < 3_051_003 {
        return Err(OpenError::Version(rusqlite::version().to_owned()));
    }
    let sqlite = |source| OpenError::Sqlite { path: path.to_owned(), source };
    let mut db = connect(path).map_err(sqlite)?;
    match format(&db).map_err(sqlite)? {
        FORMAT => complete(&db).map_err(sqlite)?,
        0 => create(&mut db).map_err(sqlite)?,
        found => return Err(other_format(path, &db, found)),
    }
    // Not of the format: versions that don't know the table leave it alone.
    sync_folder(path).map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
    Ok(db)
}

/// Opens the file at `path` to read all of it, also if its ledger was moved. A file that is no ledger is left as it is.
pub(super) fn open_to_export(path: &Path) -> Result<Connection, OpenError> {
    let sqlite = |source| OpenError::Sqlite { path: path.to_owned(), source };
    let found = open_read_only(path).and_then(|db| {
        let application = db.query_row("PRAGMA application_id", [], |row| row.get(0))?;
        Ok((application, format(&db)?))
    });
    match found.map_err(sqlite)? {
        (APPLICATION, FORMAT | MOVED) => {
            let db = connect(path).map_err(sqlite)?;
            complete(&db).map_err(sqlite)?;
            Ok(db)
        }
        (APPLICATION, found) => {
            Err(OpenError::Format { path: path.to_owned(), found, known: FORMAT })
        }
        (_, _) => Err(OpenError::NoLedger(path.to_owned())),
    }
}

/// Where the ledger went, if it was moved.
pub(super) fn moved(db: &Connection) -> rusqlite::Result<Option<Moved>> {
    if format(db)? == MOVED { export::read_mark(db) } else { Ok(None) }
}

/// Keeps every gateway from the file.
pub(super) fn mark(db: &Connection, moved: &Moved) -> rusqlite::Result<()> {
    export::write_mark(db, moved)?;
    db.pragma_update(None, "user_version", MOVED)
}

fn format(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn other_format(path: &Path, db: &Connection, found: i64) -> OpenError {
    match moved(db) {
        Ok(Some(moved)) => OpenError::Moved { path: path.to_owned(), moved },
        Ok(None) | Err(_) => OpenError::Format { path: path.to_owned(), found, known: FORMAT },
    }
}

/// Opens a connection that can write, to a file that is there.
pub(in crate::ledger) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(5))?;
    db.pragma_update(None, "journal_mode", "wal")?;
    // Commits are synced by the syncer, before anybody is told of them: see the header of `sqlite`.
    db.pragma_update(None, "synchronous", "normal")?;
    db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    db.pragma_update(None, "mmap_size", 0)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

/// Opens a connection that can only read.
pub(super) fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(Duration::from_secs(5))?;
    Ok(db)
}

/// The write-ahead log beside the file.
pub(super) fn wal(path: &Path) -> PathBuf {
    with_suffix(path, "-wal")
}

fn create(db: &mut Connection) -> rusqlite::Result<()> {
    let step = db.transaction()?;
    step.execute_batch(include_str!("schema.sql"))?;
    step.execute_batch(ENTRIES)?;
    complete(&step)?;
    step.pragma_update(None, "application_id", APPLICATION)?;
    step.pragma_update(None, "user_version", FORMAT)?;
    step.commit()
}

/// Adds what files of earlier versions don't have. Those versions read what they know of it.
fn complete(db: &Connection) -> rusqlite::Result<()> {
    for table in ADDED {
        db.execute_batch(table)?;
    }
    let sql = "SELECT count(*) FROM pragma_table_info('record') WHERE name = 'when_exhausted'";
    if db.query_row(sql, [], |row| row.get::<_, i64>(0))? == 0 {
        db.execute_batch("ALTER TABLE record ADD COLUMN when_exhausted INTEGER")?;
    }
    Ok(())
}

/// Makes the names of the file and its WAL durable.
pub(in crate::ledger) fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
