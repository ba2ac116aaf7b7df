//! The folder: which files there are, who may write, when the next one is begun.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use super::{ArchiveError, Position, blocking};
use crate::credit::{AccountId, Entry, Id, Timestamp};
use crate::ledger::LedgerError;
use crate::ledger::redis::Shard;
use crate::ledger::sqlite::{ArchiveFile, Label};

/// Accounts whose last number is kept in memory.
const CACHED: usize = 100_000;

/// All files, oldest first.
pub struct Reader {
    id: String,
    files: Vec<ArchiveFile>,
    positions: BTreeMap<u8, Position>,
}

impl Reader {
    /// Opens the files in `folder`; nothing where there are none.
    pub(super) fn open(folder: &Path) -> Result<Option<Self>, ArchiveError> {
        let mut files = Vec::new();
        let mut id = String::new();
        for (number, path) in paths(folder)? {
            let file = ArchiveFile::open_read_only(&path)?;
            check(&file, number, &mut id, path)?;
            files.push(file);
        }
        let Some(newest) = files.last() else { return Ok(None) };
        let positions = positions(newest)?;
        Ok(Some(Self { id, files, positions }))
    }

    /// The archive's id.
    pub(in crate::ledger) fn id(&self) -> &str {
        &self.id
    }

    /// How far the archive went in `shard` when it was opened. What is found may go further.
    pub(in crate::ledger) fn position(&self, shard: Shard) -> Option<Position> {
        self.positions.get(&shard.number()).copied()
    }

    /// Entries of `account` after number `after`, oldest first; at most `limit`.
    pub(in crate::ledger) async fn entries(
        self,
        account: &AccountId,
        after: u64,
        limit: u32,
    ) -> Result<(Self, Vec<Entry>), LedgerError> {
        let account = account.clone();
        self.ask(move |files| {
            let mut found: Vec<Entry> = Vec::new();
            for file in files {
                let after = found.last().map_or(after, |entry| entry.seq);
                let left = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
                found.extend(file.entries(&account, after, left)?);
            }
            Ok(found)
        })
        .await
    }

    /// Every entry about the call `id`, with its account, oldest first.
    pub(in crate::ledger) async fn explain(
        self,
        id: Id,
    ) -> Result<(Self, Vec<(AccountId, Entry)>), LedgerError> {
        self.ask(move |files| {
            let mut found = Vec::new();
            for file in files {
                found.extend(file.explain(id)?);
            }
            Ok(found)
        })
        .await
    }

    async fn ask<T: Send + 'static>(
        self,
        query: impl FnOnce(&[ArchiveFile]) -> Result<T, ArchiveError> + Send + 'static,
    ) -> Result<(Self, T), LedgerError> {
        let ran = blocking(move || {
            let found = query(&self.files)?;
            Ok((self, found))
        });
        ran.await.map_err(|error| LedgerError::Unavailable(error.to_string()))
    }
}

/// What is to be added at once.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) entries: Vec<(AccountId, Entry)>,
    /// Where each shard stands afterwards.
    pub(super) positions: BTreeMap<u8, Position>,
}

/// Which archive it is, and how far it goes.
#[derive(Clone, Default)]
pub(super) struct Progress {
    pub(super) archive: String,
    pub(super) positions: BTreeMap<u8, Position>,
}

impl Progress {
    /// How far the archive goes in `shard`.
    pub(super) fn position(&self, shard: Shard) -> Option<Position> {
        self.positions.get(&shard.number()).copied()
    }
}

/// The newest file, and the right to write it.
pub struct Writer {
    folder: PathBuf,
    /// Oldest first, without the newest.
    older: Vec<ArchiveFile>,
    newest: ArchiveFile,
    progress: Progress,
    /// Numbers of the last entries, of some accounts.
    last: HashMap<AccountId, u64>,
    _lock: File,
}

impl Writer {
    /// Opens the newest file in `folder`, or begins an archive with the id `new`.
    pub(super) fn open(folder: &Path, new: &str, now: Timestamp) -> Result<Self, ArchiveError> {
        let lock = lock(folder)?;
        let mut paths = paths(folder)?;
        if paths.is_empty() {
            let label = Label { archive: new.to_owned(), file: 1 };
            paths.push((1, create(folder, &label, &BTreeMap::new(), now)?));
        }
        let (mut id, mut older) = (String::new(), Vec::new());
        let newest = paths.pop();
        for (number, path) in paths {
            let file = ArchiveFile::open_read_only(&path)?;
            check(&file, number, &mut id, path)?;
            older.push(file);
        }
        let Some((number, path)) = newest else { return Err(missing(folder, 1)) };
        let newest = ArchiveFile::open(&path)?;
        check(&newest, number, &mut id, path)?;
        let progress = Progress { archive: id, positions: positions(&newest)? };
        let (folder, last) = (folder.to_owned(), HashMap::new());
        Ok(Self { folder, older, newest, progress, last, _lock: lock })
    }

    /// Where it stands.
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Writes `batch`. On disk when this returns; begins the next file if this one has more than `rotate` bytes then.
    pub(super) fn add(
        &mut self,
        batch: &Batch,
        rotate: u64,
        now: Timestamp,
    ) -> Result<(), ArchiveError> {
        let mut fresh = Vec::with_capacity(batch.entries.len());
        for (account, entry) in &batch.entries {
            let last = self.last(account)?;
            if entry.seq > last {
                self.last.insert(account.clone(), entry.seq);
                fresh.push((account, entry));
            } else if !self.has(account, entry)? {
                let (account, seq) = (account.clone(), entry.seq);
                return Err(ArchiveError::Fork { account, seq });
            }
        }
        self.newest.add(fresh, &texts(&batch.positions))?;
        self.progress.positions.extend(&batch.positions);
        if self.newest.size()? > rotate {
            self.begin_next(now)?;
        }
        Ok(())
    }

    fn begin_next(&mut self, now: Timestamp) -> Result<(), ArchiveError> {
        let file = self.older.len() as u64 + 2;
        let label = Label { archive: self.progress.archive.clone(), file };
        let path = create(&self.folder, &label, &texts(&self.progress.positions), now)?;
        let full = path_of(&self.folder, file - 1);
        self.newest = ArchiveFile::open(&path)?;
        self.older.push(ArchiveFile::open_read_only(&full)?);
        Ok(())
    }

    /// The number of the last entry of `account`; 0 without one.
    fn last(&mut self, account: &AccountId) -> Result<u64, ArchiveError> {
        if let Some(last) = self.last.get(account) {
            return Ok(*last);
        }
        if self.last.len() >= CACHED {
            self.last.clear();
        }
        let mut last = 0;
        for file in std::iter::once(&self.newest).chain(self.older.iter().rev()) {
            if let Some(found) = file.last(account)? {
                last = found;
                break;
            }
        }
        self.last.insert(account.clone(), last);
        Ok(last)
    }

    /// Whether this very entry is there.
    fn has(&self, account: &AccountId, entry: &Entry) -> Result<bool, ArchiveError> {
        for file in std::iter::once(&self.newest).chain(self.older.iter().rev()) {
            if let [found] = file.entries(account, entry.seq - 1, 1)?.as_slice()
                && found.seq == entry.seq
            {
                return Ok(found == entry);
            }
        }
        Ok(false)
    }
}

/// The files in `folder` by number, from 1 without gaps.
fn paths(folder: &Path) -> Result<Vec<(u64, PathBuf)>, ArchiveError> {
    let failed = |source| ArchiveError::Folder { folder: folder.to_owned(), source };
    let mut numbers = Vec::new();
    for found in std::fs::read_dir(folder).map_err(failed)? {
        let name = found.map_err(failed)?.file_name();
        let number = name.to_str().and_then(|name| {
            name.strip_prefix("archive-")?.strip_suffix(".sqlite")?.parse::<u64>().ok()
        });
        numbers.extend(number);
    }
    numbers.sort_unstable();
    let in_order = |(place, number): (usize, u64)| {
        let expected = place as u64 + 1;
        let found = number == expected;
        if found { Ok((number, path_of(folder, number))) } else { Err(missing(folder, expected)) }
    };
    numbers.into_iter().enumerate().map(in_order).collect()
}

fn path_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("archive-{number:06}.sqlite"))
}

fn missing(folder: &Path, number: u64) -> ArchiveError {
    ArchiveError::Missing { path: path_of(folder, number), number }
}

/// Refuses a file of another number or another archive; the first one decides which archive it is.
fn check(
    file: &ArchiveFile,
    number: u64,
    id: &mut String,
    path: PathBuf,
) -> Result<(), ArchiveError> {
    let label = file.label()?;
    if id.is_empty() {
        id.clone_from(&label.archive);
    }
    if label.file != number || label.archive != *id {
        return Err(ArchiveError::Missing { path, number });
    }
    Ok(())
}

/// Makes the next file under another name first: a file that has its name is whole.
fn create(
    folder: &Path,
    label: &Label,
    positions: &BTreeMap<u8, String>,
    now: Timestamp,
) -> Result<PathBuf, ArchiveError> {
    let failed = |source| ArchiveError::Folder { folder: folder.to_owned(), source };
    let path = path_of(folder, label.file);
    let new = path.with_extension("new");
    for left in [new.clone(), path.with_extension("new-journal")] {
        if left.exists() {
            std::fs::remove_file(left).map_err(failed)?;
        }
    }
    ArchiveFile::create(&new, label, positions, now)?;
    std::fs::rename(&new, &path).map_err(failed)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(path)
}

/// Takes the folder for this process alone.
fn lock(folder: &Path) -> Result<File, ArchiveError> {
    let failed = |source| ArchiveError::Folder { folder: folder.to_owned(), source };
    let path = folder.join("archive.lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ArchiveError::InUse(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn positions(file: &ArchiveFile) -> Result<BTreeMap<u8, Position>, ArchiveError> {
    let read = |(shard, last): (u8, String)| {
        let position = last.parse().map_err(|_| {
            LedgerError::Unavailable(format!("the archive's position {last:?} can't be read"))
        })?;
        Ok((shard, position))
    };
    file.positions()?.into_iter().map(read).collect()
}

fn texts(positions: &BTreeMap<u8, Position>) -> BTreeMap<u8, String> {
    positions.iter().map(|(shard, position)| (*shard, position.to_string())).collect()
}
