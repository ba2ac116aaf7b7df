//! A ledger without a gateway: to prepare accounts, and to read what a gateway left behind. A file can be opened only
//! while no gateway has it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use creditgate::credit::{Entry, Fact, Id, Timestamp};
use creditgate::ledger::audit::Report;
use creditgate::ledger::{Change, Ledger, redis, sqlite};

use super::redis_url;

/// A ledger without a gateway.
pub struct Books {
    ledger: Ledger,
}

impl Books {
    /// Opens the ledger at `url`, as a gateway does.
    pub async fn open(url: &str) -> Self {
        let ledger = if let Some(path) = url.strip_prefix("sqlite://") {
            let store = sqlite::Store::open(path.as_ref(), Arc::new(now)).unwrap();
            Ledger::Sqlite(Arc::new(store))
        } else {
            let store =
                redis::Store::open(&redis_url(url), Arc::new(now), redis::Settings::default())
                    .await;
            Ledger::Redis(Arc::new(store.unwrap()))
        };
        Self { ledger }
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub async fn change(&self, change: Change) {
        let changed = self.ledger.change(fresh_id(), change).await.unwrap();
        assert!(matches!(changed, creditgate::ledger::Changed::Done { .. }), "{changed:?}");
    }

    pub async fn close(self) {
        self.ledger.close().await;
    }

    /// Every entry of `account`, oldest first.
    pub async fn entries(&self, account: &str) -> Vec<Entry> {
        let account = account.parse().unwrap();
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let after = entries.last().map_or(0, |entry| entry.seq);
            let page = self.ledger.entries(&account, after, 1000).await.unwrap();
            if page.is_empty() {
                return entries;
            }
            entries.extend(page);
        }
    }

    /// What each call of `account` was charged, in µ; a call that was charged nothing is not there. Fails if a call
    /// was resolved twice.
    pub async fn charges(&self, account: &str) -> BTreeMap<Id, u64> {
        let mut charges = BTreeMap::new();
        let mut resolved = BTreeMap::new();
        for entry in self.entries(account).await {
            let (hold, amount, late) = match entry.fact {
                // All that the call was charged.
                Fact::Correct { hold, charged, .. } => {
                    charges.insert(hold, charged.micros());
                    continue;
                }
                Fact::Settle { hold, charged, late, .. } => (hold, charged, late),
                Fact::Charge { hold, charged, .. } => (hold, charged, false),
                Fact::HoldExpired { hold, done, .. } => (hold, done, false),
                // Also one that ran out with nothing charged: its call came to nothing.
                Fact::Release { hold } => {
                    (hold, creditgate::credit::Credits::ZERO, !charges.contains_key(&hold))
                }
                Fact::Grant { .. }
                | Fact::Gate { .. }
                | Fact::Plan { .. }
                | Fact::Hold { .. }
                | Fact::Extend { .. }
                | Fact::LotExpired { .. }
                | Fact::Repay { .. }
                | Fact::Void { .. } => continue,
            };
            let before = resolved.insert(hold, entry.seq);
            assert!(before.is_none() || late, "{hold} was resolved twice");
            if !amount.is_zero() {
                *charges.entry(hold).or_default() += amount.micros();
            }
        }
        charges
    }

    /// The calls of `account` for which credits were held.
    pub async fn holds(&self, account: &str) -> Vec<Id> {
        let entries = self.entries(account).await;
        let held = |entry: Entry| match entry.fact {
            Fact::Hold { hold, .. } => Some(hold),
            _ => None,
        };
        entries.into_iter().filter_map(held).collect()
    }

    /// What the auditor finds. Fails if a rule is broken.
    pub async fn audit(&self) -> Report {
        let report = self.ledger.audit().await.unwrap();
        assert!(report.is_clean(), "{:#?}", report.broken);
        report
    }
}

/// The wall clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

/// An id that was never used.
pub fn fresh_id() -> Id {
    Id::from_u128(uuid::Uuid::now_v7().as_u128())
}
