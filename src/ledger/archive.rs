//! Where entries of a Redis ledger go that Redis need not keep.
//!
//! An archive is a folder of files, of which the newest is written: entries and, in the same transaction, how far they
//! go, so that each entry is there once. Its id stands in its files and in Redis: a ledger has one archive. What is in
//! the archive and what is in Redis is read as one history, by the gateways that have the folder.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

mod archiver;
mod folder;

pub use archiver::{Archiver, Settings};
pub use folder::{Reader, Writer};

use super::LedgerError;
use super::sqlite::FileError;
use crate::credit::AccountId;

/// A place in the log of a shard: the id of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// When the message was written, by the server's clock, in ms since 1970.
    pub millis: u64,
    /// Which of that millisecond.
    pub number: u64,
}

/// Not `millis-number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPosition;

impl FromStr for Position {
    type Err = BadPosition;

    fn from_str(text: &str) -> Result<Self, BadPosition> {
        let (millis, number) = text.split_once('-').ok_or(BadPosition)?;
        let parsed = |digits: &str| digits.parse().map_err(|_| BadPosition);
        Ok(Self { millis: parsed(millis)?, number: parsed(number)? })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.number)
    }
}

/// Why nothing is archived.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The folder.
    #[error("the archive's folder `{}` can't be used: {source}", .folder.display())]
    Folder { folder: PathBuf, source: std::io::Error },
    /// Another process writes there.
    #[error("another gateway writes into the archive's folder `{}`", .0.display())]
    InUse(PathBuf),
    /// A file, or the disk.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is missing, or is not one of this archive.
    #[error(
        "`{}` is not file {number} of this archive, or there is none: bring the file back from where it was moved, \
         or from a backup", .path.display()
    )]
    Missing { path: PathBuf, number: u64 },
    /// The folder is another ledger's, or a new one, and the ledger has an archive.
    #[error(
        "the ledger's archive is {ledger}, and the folder has {}: set `folder` to the archive's own, on this gateway or \
         on another one; if it is lost, with all entries that Redis no longer has, delete the key `{{archive}}:id` in \
         Redis, and an empty folder begins a new archive (docs/OPERATIONS.md, Archive)",
        .folder.as_ref().map_or_else(|| "none".to_owned(), |id| format!("archive {id}"))
    )]
    Foreign { folder: Option<String>, ledger: String },
    /// The ledger has no archive, and the folder has one with entries in it.
    #[error(
        "the folder has archive {0}, with entries of another ledger: set `folder` to an empty directory, or `ledger` to \
         the address of that ledger"
    )]
    OthersEntries(String),
    /// The folder is a copy that was left behind.
    #[error(
        "the folder is an old copy of the ledger's archive: another folder has later entries, which Redis may no longer \
         have; set `folder` to that one"
    )]
    Behind,
    /// Somebody else archives now.
    #[error("another gateway archives now")]
    Lost,
    /// Redis has lost something.
    #[error(
        "entry {seq} of account `{account}` is another one in the archive than in Redis, which has lost what it had \
         (a fail-over, an old backup): nothing is archived before somebody has looked, see docs/OPERATIONS.md, Archive"
    )]
    Fork { account: AccountId, seq: u64 },
    /// Redis.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// An archive as a gateway's configuration names it.
pub struct Archive {
    folder: PathBuf,
}

impl Archive {
    /// The archive in `folder`, which is made if it is not there.
    pub fn open(folder: &Path) -> Result<Self, ArchiveError> {
        let failed = |source| ArchiveError::Folder { folder: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        Ok(Self { folder: std::fs::canonicalize(folder).map_err(failed)? })
    }

    /// Opens what is there to read; nothing where nothing was ever archived.
    pub(super) async fn reader(&self) -> Result<Option<Reader>, LedgerError> {
        self.opened().await.map_err(|error| LedgerError::Unavailable(error.to_string()))
    }

    async fn opened(&self) -> Result<Option<Reader>, ArchiveError> {
        let folder = self.folder.clone();
        blocking(move || Reader::open(&folder)).await
    }
}

/// Runs what waits for the disk, off the asynchronous threads.
async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, ArchiveError> {
    let ran = tokio::task::spawn_blocking(run).await;
    ran.unwrap_or_else(|error| Err(LedgerError::Unavailable(error.to_string()).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_in_the_order_of_the_log() {
        let texts = ["0-0", "0-1", "9-10", "10-2", "10-10", "18446744073709551615-0"];
        let positions = texts.map(|text| text.parse::<Position>().unwrap());
        assert!(positions.is_sorted(), "{positions:?}");
        assert_eq!(positions.map(|position| position.to_string()), texts);
        for text in ["", "1", "-1", "1-", "1-x", "1-1-1", "-"] {
            assert_eq!(text.parse::<Position>(), Err(BadPosition), "{text}");
        }
    }
}
