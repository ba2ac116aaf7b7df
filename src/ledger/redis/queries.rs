//! Reads on the side: entries, audits. They go through whole logs, shard by shard: never on the path of a call.

use std::collections::{BTreeMap, HashMap};

use ::redis::cmd;

use super::keys::Shard;
use super::{Store, Time, text, unreadable};
use crate::credit::{Account, AccountId, Entry, Id};
use crate::ledger::LedgerError;
use crate::ledger::audit::{Auditor, Report};

/// Messages that are read at once.
const PORTION: usize = 2000;

/// A message of a stream: its id, and its fields.
type Message = (String, HashMap<String, String>);

impl Store {
    pub(in crate::ledger) async fn entries(
        &self,
        account: &AccountId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Entry>, LedgerError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut found = Vec::new();
        let mut log = Log::new(Shard::of(account));
        while found.len() < limit
            && let Some(portion) = log.next(self).await?
        {
            let own = portion.into_iter().filter(|(name, _)| name == account);
            found.extend(own.map(|(_, entry)| entry).filter(|entry| entry.seq > after));
        }
        found.truncate(limit);
        Ok(found)
    }

    pub(in crate::ledger) async fn explain(
        &self,
        id: Id,
    ) -> Result<Vec<(AccountId, Entry)>, LedgerError> {
        let mut found = Vec::new();
        // Nothing is known of a call before its id was made; clocks may differ by an hour.
        let since = match self.time {
            Time::Server => Some(id.made_at().millis().saturating_sub(3_600_000).max(0)),
            Time::Gateway => None,
        };
        for shard in Shard::all() {
            let mut log = Log::new(shard);
            log.last = since.map(|millis| millis.to_string());
            while let Some(portion) = log.next(self).await? {
                found
                    .extend(portion.into_iter().filter(|(_, entry)| entry.fact.hold() == Some(id)));
            }
        }
        Ok(found)
    }

    /// Checks every account against its entries while they go on: each as it was at one moment.
    pub(in crate::ledger) async fn audit(&self) -> Result<Report, LedgerError> {
        let mut report = Report::default();
        for shard in Shard::all() {
            self.audit_shard(shard, &mut report).await?;
        }
        Ok(report)
    }

    async fn audit_shard(&self, shard: Shard, report: &mut Report) -> Result<(), LedgerError> {
        let mut auditors: BTreeMap<AccountId, Auditor> = BTreeMap::new();
        let mut log = Log::new(shard);
        while let Some(portion) = log.next(self).await? {
            for (account, entry) in portion {
                let auditor = auditors.entry(account.clone());
                auditor.or_insert_with(|| Auditor::new(account)).entry(&entry);
            }
        }
        let names: Vec<String> = self.ask(cmd("ZRANGE").arg(shard.names()).arg(0).arg(-1)).await?;
        for name in names {
            let account: AccountId = text::parsed(&name).map_err(|error| unreadable(&error))?;
            auditors.entry(account.clone()).or_insert_with(|| Auditor::new(account));
        }
        let mut stored: BTreeMap<AccountId, Account> = BTreeMap::new();
        for account in auditors.keys() {
            let books = self.books(account).await?.unwrap_or_default();
            stored.insert(account.clone(), books);
        }
        // What was written meanwhile, up to the moment at which the books were read.
        while let Some(portion) = log.next(self).await? {
            for (account, entry) in portion {
                let known = stored.get(&account).is_some_and(|books| entry.seq <= books.seq);
                if known && let Some(auditor) = auditors.get_mut(&account) {
                    auditor.entry(&entry);
                }
            }
        }
        let now = (self.clock)();
        for (account, auditor) in auditors {
            auditor.close(&stored[&account], now, report);
        }
        Ok(())
    }
}

/// The log of a shard, from its beginning or from after a message.
pub(super) struct Log {
    key: String,
    last: Option<String>,
}

impl Log {
    pub(super) fn new(shard: Shard) -> Self {
        Self { key: shard.log(), last: None }
    }

    /// The next entries; nothing at the end, where later ones may follow.
    pub(super) async fn next(
        &mut self,
        store: &Store,
    ) -> Result<Option<Vec<(AccountId, Entry)>>, LedgerError> {
        let mut range = cmd("XRANGE");
        let first = self.last.as_ref().map_or_else(|| "-".to_owned(), |last| format!("({last}"));
        range.arg(&self.key).arg(first).arg("+").arg("COUNT").arg(PORTION);
        let messages: Vec<Message> = store.ask(&range).await?;
        let Some((last, _)) = messages.last() else { return Ok(None) };
        self.last = Some(last.clone());
        let read = |(_, fields): &Message| {
            let field = |name: &str| fields.get(name).map_or("", String::as_str);
            Ok((text::parsed(field("a"))?, text::entry(field("e"))?))
        };
        let entries: Result<_, text::Unreadable> = messages.iter().map(read).collect();
        entries.map(Some).map_err(|error| unreadable(&error))
    }
}
