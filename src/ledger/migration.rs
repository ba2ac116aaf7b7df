//! Moves a ledger from its file to Redis, whole or not at all.
//!
//! The order is what makes it safe to break off anywhere: the target is claimed, filled and checked; then the file is
//! marked, so that no gateway opens it again; then the target is called complete, before which no gateway opens that.
//! Run again, it fills a claimed target anew, or finishes the marking.

use std::cell::RefCell;
use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::redis::{Arrival, Belongings, Expiries, Migration, Shard, Store, Sum, Sums};
use super::sqlite::{Export, ExportError, Moved};
use super::{Clock, HistoryError, LedgerError};
use crate::credit::{AccountId, Timestamp};
use crate::statement::rfc3339;

/// Shards that are written at the same time.
const AT_ONCE: usize = 16;
/// Rows that are read at once.
const PORTION: u32 = 2000;
/// Remembered operations that are read at once: they go to many shards.
const OPERATIONS: u32 = 20_000;
/// Accounts between two words about the progress.
const TOLD_EVERY: u64 = 10_000;

/// What was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub accounts: u64,
    pub lots: u64,
    pub entries: u64,
    pub open_holds: u64,
    /// What all accounts have, less what they owe, in µ.
    pub balance: i128,
}

/// Why a ledger was not moved.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The file breaks a rule of money.
    #[error(
        "the ledger breaks its own rules in {0} places, the first in account `{1}`: {2}; nothing was moved; start a \
         gateway on it and look at `creditgate verify`"
    )]
    Broken(usize, AccountId, String),
    /// Somebody's ledger is there.
    #[error(
        "the target holds accounts or keys already, so that a ledger can't be moved there; nothing was changed; choose \
         another database (the number at the end of the address) or an empty server"
    )]
    NotEmpty,
    /// The file's ledger is in the target, or elsewhere.
    #[error(
        "the ledger was moved on {}, to {}: it can't be moved twice; set `ledger` to that address and start the \
         gateway", date(.0.at), .0.target
    )]
    MovedBefore(Moved),
    /// Another ledger was moved to the target, or is being moved.
    #[error(
        "the target belongs to the ledger of {}, whose move {}: nothing was changed; choose another database (the \
         number at the end of the address), or empty this one (`FLUSHDB`) if what is in it may be lost",
        .0.source, progress(.0)
    )]
    Taken(Migration),
    /// What was written is not what was read.
    #[error(
        "{0} differs in the target from what the file says: something else writes there; the file was not marked and \
         is still the ledger; empty the target (`FLUSHDB`) and start again"
    )]
    Differs(String),
    /// The file.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// Redis.
    #[error(
        "the target gave up: {0}; the file is unchanged and is still the ledger; run the same command again, which \
         begins anew"
    )]
    Target(#[from] LedgerError),
    /// Redis, at the very end.
    #[error(
        "everything was moved, and the file is marked, but the target could not be told so: {0}; run the same command \
         again, which finishes it; no gateway starts before that"
    )]
    NotTold(LedgerError),
}

fn date(at: Timestamp) -> String {
    rfc3339(at).unwrap_or_default()
}

fn progress(migration: &Migration) -> String {
    match migration.completed {
        Some(at) => format!("was complete on {}", date(at)),
        None => format!("began on {} and is not complete", date(migration.begun)),
    }
}

/// A move of one ledger.
pub struct Move<'a> {
    /// Where it is.
    pub from: &'a mut Export,
    /// How that is called in the target.
    pub source: String,
    /// Where it goes.
    pub to: &'a Store,
    /// How that is called in the file.
    pub target: String,
    pub clock: &'a Clock,
    /// Is told what is being done.
    pub tell: &'a dyn Fn(&str),
}

impl Move<'_> {
    /// Moves the ledger; `id` names the move.
    pub async fn run(self, id: String) -> Result<Summary, MigrationError> {
        let Self { from, source, to, target, clock, tell } = self;
        if let Some(moved) = from.moved()? {
            return finish(from, to, moved, clock(), tell).await;
        }
        tell("checking the file");
        let report = from.audit(clock())?;
        if let Some(first) = report.broken.first() {
            let (account, what) = (first.account.clone(), first.what.clone());
            return Err(MigrationError::Broken(report.broken.len(), account, what));
        }
        let migration = Migration { id, source, begun: clock(), completed: None };
        claim(to, &migration, tell).await?;
        let copy = Copy::new(from, to, migration.begun, tell)?;
        let (sums, summary) = copy.write().await?;
        tell("checking the target");
        copy.check(sums, &summary).await?;
        let moved = Moved { at: clock(), target, migration: migration.id.clone() };
        from.mark(&moved)?;
        let complete = Migration { completed: Some(clock()), ..migration };
        to.note(&complete).await.map_err(MigrationError::NotTold)?;
        Ok(summary)
    }
}

/// Calls the target complete, if that is all that is missing.
async fn finish(
    from: &Export,
    to: &Store,
    moved: Moved,
    now: Timestamp,
    tell: &dyn Fn(&str),
) -> Result<Summary, MigrationError> {
    match to.migration().await.map_err(MigrationError::NotTold)? {
        Some(begun) if begun.id == moved.migration && begun.completed.is_none() => {
            tell("an earlier attempt has moved everything; what is left is to say so");
            let complete = Migration { completed: Some(now), ..begun };
            to.note(&complete).await.map_err(MigrationError::NotTold)?;
            summary(from)
        }
        Some(_) | None => Err(MigrationError::MovedBefore(moved)),
    }
}

/// Claims an empty target, or one that an earlier attempt has left unfinished: then what that has written is written
/// anew.
async fn claim(
    to: &Store,
    migration: &Migration,
    tell: &dyn Fn(&str),
) -> Result<(), MigrationError> {
    if to.migration().await?.is_none() && !to.is_empty().await? {
        return Err(MigrationError::NotEmpty);
    }
    match to.claim(migration).await? {
        Some(known) if known.id == migration.id => Ok(()),
        Some(known) if known.source == migration.source && known.completed.is_none() => {
            let begun = date(known.begun);
            tell(&format!("an attempt of {begun} broke off: everything is copied anew"));
            Ok(to.note(migration).await?)
        }
        Some(known) => Err(MigrationError::Taken(known)),
        None => Err(MigrationError::Differs("the mark of the move".to_owned())),
    }
}

/// What the file says of an account besides its entries.
fn belongings(
    from: &Export,
    account: &AccountId,
    now: Timestamp,
) -> Result<Belongings, ExportError> {
    Ok(Belongings {
        books: from.books(account)?,
        sources: from.sources(account)?,
        record: from.record(account)?,
        keys: from.keys(Some(account))?,
        owned: from.owned(account, now)?,
    })
}

fn summary(from: &Export) -> Result<Summary, MigrationError> {
    let mut summary = Summary::default();
    for account in names(from)? {
        summary.add(&from.books(&account)?);
    }
    Ok(summary)
}

fn names(from: &Export) -> Result<Vec<AccountId>, ExportError> {
    let mut names: Vec<AccountId> = Vec::new();
    loop {
        let portion = from.accounts(names.last().map_or("", AccountId::as_str), PORTION)?;
        if portion.is_empty() {
            return Ok(names);
        }
        names.extend(portion);
    }
}

impl Summary {
    fn add(&mut self, books: &crate::credit::Account) {
        self.accounts += 1;
        self.lots += books.lots.len() as u64;
        self.entries += books.seq;
        self.open_holds += books.holds.len() as u64;
        self.balance += i128::from(books.balance());
    }
}

/// The copy of everything.
struct Copy<'a> {
    from: &'a Export,
    to: &'a Store,
    begun: Timestamp,
    tell: &'a dyn Fn(&str),
    shards: BTreeMap<Shard, Vec<AccountId>>,
    written: RefCell<Summary>,
}

impl<'a> Copy<'a> {
    fn new(
        from: &'a Export,
        to: &'a Store,
        begun: Timestamp,
        tell: &'a dyn Fn(&str),
    ) -> Result<Self, ExportError> {
        let mut shards: BTreeMap<_, Vec<_>> = Shard::all().map(|shard| (shard, vec![])).collect();
        for name in names(from)? {
            shards.entry(Shard::of(&name)).or_default().push(name);
        }
        Ok(Self { from, to, begun, tell, shards, written: RefCell::default() })
    }

    /// Writes everything; gives the sums of the entries.
    async fn write(&self) -> Result<(Sums, Summary), MigrationError> {
        let shards = self.shards.iter().map(|(shard, names)| self.write_shard(*shard, names));
        let sums = stream::iter(shards).buffer_unordered(AT_ONCE);
        let sums: Vec<Sums> = sums.try_collect().await?;
        self.to.take_service_keys(&self.from.keys(None)?).await?;
        (self.tell)("copying what is remembered of operations");
        let mut last = None;
        loop {
            let portion = self.from.operations(last.as_ref(), OPERATIONS)?;
            self.to.take_operations(&portion).await?;
            last = portion.last().cloned();
            if last.is_none() {
                break;
            }
        }
        let mut last = None;
        loop {
            let portion = self.from.claims(last.as_ref(), OPERATIONS)?;
            self.to.take_claims(&portion).await?;
            last = portion.last().cloned();
            if last.is_none() {
                break;
            }
        }
        Ok((sums.into_iter().flatten().collect(), *self.written.borrow()))
    }

    async fn write_shard(
        &self,
        shard: Shard,
        accounts: &[AccountId],
    ) -> Result<Sums, MigrationError> {
        let mut arrival = Arrival::begin(self.to, shard, self.begun).await?;
        let mut sums = Sums::new();
        for account in accounts {
            let belongings = belongings(self.from, account, self.begun)?;
            let (mut sum, mut expiries) = (Sum::default(), Expiries::of(&belongings.books));
            let mut after = 0;
            loop {
                let entries = self.from.entries(account, after, PORTION)?;
                let Some(last) = entries.last() else { break };
                after = last.seq;
                for entry in &entries {
                    sum.add(entry);
                    expiries.see(entry);
                }
                arrival.entries(account, &entries).await?;
            }
            arrival.account(account, &belongings, |hold| expiries.number(hold)).await?;
            sums.insert(account.clone(), sum);
            self.count(&belongings);
        }
        Ok(sums)
    }

    fn count(&self, belongings: &Belongings) {
        let mut written = self.written.borrow_mut();
        written.add(&belongings.books);
        if written.accounts.is_multiple_of(TOLD_EVERY) {
            let all: usize = self.shards.values().map(Vec::len).sum();
            (self.tell)(&format!("{} of {all} accounts copied", written.accounts));
        }
    }

    /// Refuses a target that is not the same as the file.
    async fn check(&self, sums: Sums, summary: &Summary) -> Result<(), MigrationError> {
        let differs = |what: String| Err(MigrationError::Differs(what));
        let report = match self.to.audit().await {
            Ok(report) => report,
            Err(HistoryError::Ledger(error)) => return Err(error.into()),
            Err(HistoryError::Archived(what)) => return differs(what),
        };
        if let Some(broken) = report.broken.first() {
            return differs(format!("account `{}` ({})", broken.account, broken.what));
        }
        if (report.accounts, report.entries) != (summary.accounts, summary.entries) {
            return differs("the number of accounts or entries".to_owned());
        }
        let shards = self.shards.iter().map(|(shard, names)| self.check_shard(*shard, names));
        let found = stream::iter(shards).buffer_unordered(AT_ONCE);
        let mut found: Sums = found.try_collect::<Vec<_>>().await?.into_iter().flatten().collect();
        for (account, sum) in sums {
            let written = found.remove(&account).unwrap_or_default();
            if written.finish() != sum.finish() {
                return differs(format!("an entry of account `{account}`"));
            }
        }
        if self.to.service_keys().await? != self.from.keys(None)? {
            return differs("a service key".to_owned());
        }
        Ok(())
    }

    async fn check_shard(
        &self,
        shard: Shard,
        accounts: &[AccountId],
    ) -> Result<Sums, MigrationError> {
        for account in accounts {
            if self.to.belongings(account).await? != belongings(self.from, account, self.begun)? {
                return Err(MigrationError::Differs(format!("account `{account}`")));
            }
        }
        Ok(self.to.sums(shard).await?)
    }
}
