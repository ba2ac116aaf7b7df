//! Reads on the side: entries, audits. They go through archive and logs, shard by shard: never on the path of a call.
//!
//! The archive is read up to where it stood when it was opened, and the log from there. What goes from the log
//! meanwhile is in the archive before it goes: then all is read once more. Where entries are missing that may be in an
//! archive which is not here, that is said, instead of half an answer.

use std::collections::{BTreeMap, BTreeSet};

use ::redis::cmd;

use super::log::{Log, Logged, PORTION as LOGGED};
use super::{Shard, Store, Time, keys, text, unreadable};
use crate::credit::{Account, AccountId, Entry, Fact, Id};
use crate::ledger::archive::{Position, Reader};
use crate::ledger::audit::{Auditor, Report};
use crate::ledger::{HistoryError, LedgerError};

/// How often something is read before it is given up, because the log went away under the reader.
const ATTEMPTS: usize = 5;
/// Entries that are read from the archive at once.
const PORTION: u32 = 2000;

impl Store {
    pub(in crate::ledger) async fn entries(
        &self,
        account: &AccountId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Entry>, HistoryError> {
        let shard = Shard::of(account);
        let mut attempts = 1..=ATTEMPTS;
        loop {
            let books = keys::books(account);
            let head: Option<Vec<u8>> = self.ask(&books, cmd("HGET").arg(&books).arg("f")).await?;
            let written = head.map_or(Ok(0), |head| text::seq(&head));
            let written = written.map_err(|error| unreadable(&error))?;
            let reader = self.reader().await?;
            let start = reader.as_ref().and_then(|reader| reader.position(shard));
            let is_here = reader.is_some();
            let mut found = match reader {
                Some(reader) => reader.entries(account, after, limit).await?.1,
                None => vec![],
            };
            self.entries_of_log(account, start, (after, limit), &mut found).await?;
            let Some(missing) = first_missing(&found, after, limit, written) else {
                return Ok(found);
            };
            // What is missing for another reason is for the auditor to say.
            if self.gone(shard).await?.is_within(start) {
                return Ok(found);
            }
            if !is_here || attempts.next().is_none() {
                let next = found.iter().map(|entry| entry.seq).find(|seq| *seq > missing);
                return Err(archived(account, next.unwrap_or(written + 1)));
            }
        }
    }

    /// Adds entries of `account` that follow those which were found, from the log after `start`.
    async fn entries_of_log(
        &self,
        account: &AccountId,
        start: Option<Position>,
        (after, limit): (u64, u32),
        found: &mut Vec<Entry>,
    ) -> Result<(), LedgerError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let last = found.last().map_or(after, |entry| entry.seq);
        let mut log = Log::after(Shard::of(account), start, LOGGED);
        while found.len() < limit
            && let Some(portion) = log.next(self).await?
        {
            let own = portion.into_iter().filter(|logged| logged.account == *account);
            found.extend(own.map(|logged| logged.entry).filter(|entry| entry.seq > last));
        }
        found.truncate(limit);
        Ok(())
    }

    pub(in crate::ledger) async fn explain(
        &self,
        id: Id,
    ) -> Result<Vec<(AccountId, Entry)>, HistoryError> {
        for _ in 1..=ATTEMPTS {
            if let Some(found) = self.explain_whole(id).await? {
                return Ok(found);
            }
            if self.archive.is_none() {
                break;
            }
        }
        Err(HistoryError::Archived("entries of the time of this call".to_owned()))
    }

    /// Every entry about the call `id`; nothing if there may be others.
    async fn explain_whole(&self, id: Id) -> Result<Option<Vec<(AccountId, Entry)>>, LedgerError> {
        // Nothing is known of a call before its id was made; clocks may differ by an hour.
        let since = match self.time {
            Time::Server => id.made_at().millis().saturating_sub(3_600_000).max(0).unsigned_abs(),
            Time::Gateway => 0,
        };
        let (mut found, mut first) = (BTreeMap::new(), None);
        let in_use = self.shards_in_use().await?;
        for shard in &in_use {
            let mut log = Log::since(*shard, since);
            while let Some(portion) = log.next(self).await? {
                for logged in portion.into_iter().filter(|one| one.entry.fact.hold() == Some(id)) {
                    first = first.or(Some(logged.at));
                    found.insert((logged.account, logged.entry.seq), logged.entry);
                }
            }
        }
        // What went from a log while it was read is in the archive by now.
        let mut reader = self.reader().await?;
        if let Some(opened) = reader.take() {
            let (opened, more) = opened.explain(id).await?;
            found.extend(more.into_iter().map(|(account, entry)| ((account, entry.seq), entry)));
            reader = Some(opened);
        }
        let found: Vec<_> =
            found.into_iter().map(|((account, _), entry)| (account, entry)).collect();
        // A call is whole if its hold is there: later entries go later.
        let has_hold = matches!(found.first(), Some((_, Entry { fact: Fact::Hold { .. }, .. })));
        let shards: Vec<Shard> = match found.first() {
            Some((account, _)) => vec![Shard::of(account)],
            None => in_use,
        };
        for shard in shards {
            let gone = self.gone(shard).await?;
            let may_be_gone = gone.upto.is_some_and(|upto| upto.millis >= since);
            let was_read_whole = has_hold && first.is_some() && first > gone.upto;
            let start = reader.as_ref().and_then(|reader| reader.position(shard));
            if may_be_gone && !was_read_whole && !gone.is_within(start) {
                return Ok(None);
            }
        }
        Ok(Some(found))
    }

    /// Checks every account against its entries while they go on: each as it was at one moment.
    pub(in crate::ledger) async fn audit(&self) -> Result<Report, HistoryError> {
        let mut report = Report::default();
        for shard in self.shards_in_use().await? {
            let mut attempt = 1;
            while !self.audit_shard(shard, &mut report, attempt >= ATTEMPTS).await? {
                attempt += 1;
            }
        }
        Ok(report)
    }

    /// Whether the shard was read whole; if not, nothing was reported. `is_last`: that is an error then.
    async fn audit_shard(
        &self,
        shard: Shard,
        report: &mut Report,
        is_last: bool,
    ) -> Result<bool, HistoryError> {
        let mut reader = self.reader().await?;
        let is_here = reader.is_some();
        let start = reader.as_ref().and_then(|reader| reader.position(shard));
        let mut replay = Replay::default();
        for account in self.shard_names(shard).await? {
            replay.add(account.clone());
            if let Some(opened) = reader.take() {
                reader = Some(replay.archived(&account, opened).await?);
            }
        }
        let mut log = Log::after(shard, start, LOGGED);
        while let Some(portion) = log.next(self).await? {
            for logged in portion {
                replay.logged(&logged);
            }
        }
        for account in self.shard_names(shard).await? {
            replay.add(account);
        }
        let stored = self.stored(replay.accounts.keys()).await?;
        // What was written meanwhile, up to the moment at which the books were read.
        while let Some(portion) = log.next(self).await? {
            for logged in portion {
                if stored.get(&logged.account).is_some_and(|books| logged.entry.seq <= books.seq) {
                    replay.logged(&logged);
                }
            }
        }
        let gone = self.gone(shard).await?;
        if !gone.is_within(start)
            && let Some((account, before)) = replay.first_missing(&stored)
        {
            return if is_here && !is_last { Ok(false) } else { Err(archived(&account, before)) };
        }
        let now = (self.clock)();
        for (account, replayed) in replay.accounts {
            replayed.auditor.close(&stored[&account], now, report);
        }
        Ok(true)
    }

    async fn shard_names(&self, shard: Shard) -> Result<BTreeSet<AccountId>, LedgerError> {
        let key = shard.names();
        let names: Vec<String> = self.ask(&key, cmd("ZRANGE").arg(&key).arg(0).arg(-1)).await?;
        let names = names.iter().map(|name| text::parsed(name));
        names.collect::<Result<_, _>>().map_err(|error| unreadable(&error))
    }

    /// The archive, opened to read, if it is here.
    async fn reader(&self) -> Result<Option<Reader>, LedgerError> {
        let Some(archive) = &self.archive else { return Ok(None) };
        let Some(id) = self.archive_id().await? else { return Ok(None) };
        // A folder that is another ledger's has nothing to say about this one.
        Ok(archive.reader().await?.filter(|reader| reader.id() == id))
    }
}

/// Accounts whose entries are being replayed.
#[derive(Default)]
struct Replay {
    accounts: BTreeMap<AccountId, Replayed>,
}

struct Replayed {
    auditor: Auditor,
    /// The number of the last entry that came from the archive: the log may have it as well.
    archived: u64,
    /// The number of the last entry.
    last: u64,
    /// The number of the first entry before which one is missing.
    gap: Option<u64>,
}

impl Replay {
    fn add(&mut self, account: AccountId) -> &mut Replayed {
        let auditor = Auditor::new(account.clone());
        let new = Replayed { auditor, archived: 0, last: 0, gap: None };
        self.accounts.entry(account).or_insert(new)
    }

    /// All that the archive has of `account`.
    async fn archived(
        &mut self,
        account: &AccountId,
        mut reader: Reader,
    ) -> Result<Reader, LedgerError> {
        let replayed = self.add(account.clone());
        loop {
            let (opened, entries) = reader.entries(account, replayed.last, PORTION).await?;
            reader = opened;
            for entry in &entries {
                replayed.entry(entry);
            }
            if entries.is_empty() {
                replayed.archived = replayed.last;
                return Ok(reader);
            }
        }
    }

    /// One message of the log.
    fn logged(&mut self, logged: &Logged) {
        let replayed = match self.accounts.get_mut(&logged.account) {
            Some(replayed) => replayed,
            None => self.add(logged.account.clone()),
        };
        if logged.entry.seq > replayed.archived {
            replayed.entry(&logged.entry);
        }
    }

    /// An account of which entries are missing, and the number before which they are.
    fn first_missing(&self, stored: &BTreeMap<AccountId, Account>) -> Option<(AccountId, u64)> {
        self.accounts.iter().find_map(|(account, replayed)| {
            let written = stored.get(account).map_or(0, |books| books.seq);
            let at_end = (replayed.last < written).then_some(written + 1);
            Some((account.clone(), replayed.gap.or(at_end)?))
        })
    }
}

impl Replayed {
    fn entry(&mut self, entry: &Entry) {
        if entry.seq > self.last + 1 {
            self.gap = self.gap.or(Some(entry.seq));
        }
        self.last = entry.seq;
        self.auditor.entry(entry);
    }
}

/// The first number after `after` that is not among those found, of an account with `written` entries of which `limit`
/// were wanted.
fn first_missing(found: &[Entry], after: u64, limit: u32, written: u64) -> Option<u64> {
    let wanted =
        (after.saturating_add(1)..=written).take(usize::try_from(limit).unwrap_or(usize::MAX));
    let mut numbers = found.iter().map(|entry| entry.seq);
    wanted.into_iter().find(|number| numbers.next() != Some(*number))
}

fn archived(account: &AccountId, before: u64) -> HistoryError {
    HistoryError::Archived(format!("entries of account `{account}` before number {before}"))
}
