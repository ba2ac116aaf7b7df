//! What the ledger has not taken yet, on this gateway's own disk.
//!
//! A ledger that many gateways share can be away while calls end. What came of them waits here, in one SQLite file, and
//! is repeated under the calls' ids until the ledger has answered. A call that is let through without a hold
//! (`on_outage = "allow"`) is written here before its provider is asked, so that it is charged whatever becomes of the
//! gateway. Knows no HTTP, and not how a ledger is reached.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

mod file;

use super::sqlite::{OpenError, schema};
use crate::credit::{AccountId, Credits, Id, Operation};
use file::{File, Found};

/// The journal's file could not be written; its log line says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal can't be written")]
pub struct JournalError;

/// Why a call may not go on without a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// The account has used what an outage allows.
    #[error("the account has used what it may use while the ledger is away")]
    Spent,
    /// It could not be written down, and so might never be charged.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// What the ledger is still to be asked about one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Who pays.
    pub account: AccountId,
    /// The call's id, under which the ledger is asked.
    pub id: Id,
    /// What the call was let through with while the ledger was away; nothing for the settlement of a hold.
    pub allowed: Credits,
    /// What the ledger is asked.
    pub operation: Operation,
}

/// What a journal holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls whose end the ledger has not taken.
    pub waiting: usize,
    /// Calls whose end the ledger refused for good: kept in the file for a person to look at.
    pub refused: usize,
    /// Credits of calls that were let through and are not charged yet.
    pub allowed: Credits,
}

/// The journal of one gateway.
pub struct Journal {
    file: File,
    known: Mutex<Known>,
    /// Wakes whoever asks the ledger, when there is something new to ask.
    written: Notify,
    /// Held until the journal is dropped: keeps other gateways out.
    _lock: std::fs::File,
}

/// What is in the file, as far as it must be known without asking.
#[derive(Default)]
struct Known {
    /// Calls that were let through and that the ledger has not answered for, by account.
    allowed: HashMap<AccountId, HashMap<Id, Credits>>,
    waiting: usize,
    refused: usize,
}

impl Journal {
    /// Opens or creates the journal at `path`. Of a call that ran when the gateway died, what its last heartbeat had
    /// confirmed is charged.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let lock = schema::lock(path)?;
        let (file, Found { rows, interrupted, refused }) = File::open(path)?;
        for Waiting { account, id, allowed, operation } in &interrupted {
            tracing::warn!(
                %account, request = %id, %allowed, ?operation,
                "a call that was let through while the ledger was away ran when the gateway died: it may have been \
                 served unpaid"
            );
        }
        let mut known = Known { waiting: rows.len(), refused, ..Known::default() };
        for Waiting { account, id, allowed, .. } in rows {
            known.allow(&account, id, allowed);
        }
        let journal = Self { file, known: known.into(), written: Notify::new(), _lock: lock };
        journal.written.notify_one();
        Ok(journal)
    }

    /// Lets a call go on without a hold, if its account has not used `allowance` that way already. `call.operation` is
    /// what the ledger is asked if the gateway dies.
    pub async fn allow(&self, call: Waiting, allowance: Credits) -> Result<(), NotAllowed> {
        let (account, id) = (call.account.clone(), call.id);
        {
            let mut known = self.known();
            let so_far = known.allowed_to(&account);
            if so_far.checked_add(call.allowed).is_none_or(|sum| sum > allowance) {
                return Err(NotAllowed::Spent);
            }
            known.allow(&account, id, call.allowed);
        }
        let written = self.file.step(move |db| file::put(db, "running", &call)).await;
        if written.is_err() {
            self.known().disallow(&account, id);
        }
        Ok(written?)
    }

    /// The call `id`, which was let through, goes on: `operation` now is what the ledger is asked if the gateway dies.
    /// Does nothing for a call that has ended.
    pub async fn confirm(&self, id: Id, operation: Operation) -> Result<(), JournalError> {
        self.file.step(move |db| file::confirm(db, id, &operation)).await
    }

    /// A call has ended: `call.operation` waits for the ledger from now on.
    pub async fn end(&self, call: Waiting) -> Result<(), JournalError> {
        let (account, id, allowed) = (call.account.clone(), call.id, call.allowed);
        self.file.step(move |db| file::put(db, "ended", &call)).await?;
        let mut known = self.known();
        known.waiting += 1;
        if allowed.is_zero() {
            known.disallow(&account, id);
        }
        drop(known);
        self.written.notify_one();
        Ok(())
    }

    /// Calls whose end the ledger has not taken, oldest first, after the call `after`; at most `limit`.
    pub async fn due(&self, after: Option<Id>, limit: u32) -> Result<Vec<Waiting>, JournalError> {
        self.file.step(move |db| file::due(db, after, limit)).await
    }

    /// The ledger has taken what it was asked about `calls`.
    pub async fn forget(&self, calls: &[Waiting]) -> Result<(), JournalError> {
        let ids: Vec<Id> = calls.iter().map(|call| call.id).collect();
        self.file.step(move |db| file::forget(db, &ids)).await?;
        let mut known = self.known();
        known.waiting = known.waiting.saturating_sub(calls.len());
        for call in calls {
            known.disallow(&call.account, call.id);
        }
        Ok(())
    }

    /// The ledger refuses for good what it was asked about `call`.
    pub async fn refuse(&self, call: &Waiting, reason: String) -> Result<(), JournalError> {
        let id = call.id;
        self.file.step(move |db| file::refuse(db, id, &reason)).await?;
        let mut known = self.known();
        known.waiting = known.waiting.saturating_sub(1);
        known.refused += 1;
        known.disallow(&call.account, id);
        Ok(())
    }

    /// Waits until something new was written.
    pub async fn written(&self) {
        self.written.notified().await;
    }

    /// What the journal holds.
    pub fn counts(&self) -> Counts {
        let known = self.known();
        let allowed = known.allowed.values().flat_map(HashMap::values);
        let allowed = allowed.fold(Credits::ZERO, |sum, each| sum.saturating_add(*each));
        Counts { waiting: known.waiting, refused: known.refused, allowed }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn allowed_to(&self, account: &AccountId) -> Credits {
        let calls = self.allowed.get(account).into_iter().flat_map(HashMap::values);
        calls.fold(Credits::ZERO, |sum, each| sum.saturating_add(*each))
    }

    fn allow(&mut self, account: &AccountId, id: Id, amount: Credits) {
        if !amount.is_zero() {
            self.allowed.entry(account.clone()).or_default().insert(id, amount);
        }
    }

    fn disallow(&mut self, account: &AccountId, id: Id) {
        if let Some(calls) = self.allowed.get_mut(account) {
            calls.remove(&id);
            if calls.is_empty() {
                self.allowed.remove(account);
            }
        }
    }
}

#[cfg(test)]
mod tests;
