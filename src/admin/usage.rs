//! What an account's credits were used for: calls and credits by feature, within a span of time.
//!
//! Read out of the ledger's entries, of which a call's first one says what the call is for. Keeps no sums of its own that
//! could say something else than the ledger.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::Admin;
use super::entries::Signed;
use super::input::{Asked, Instant, Named};
use super::problem::Problem;
use crate::credit::{AccountId, Entry, Fact, Feature, Id, Timestamp};
use crate::ledger::HistoryError;
use crate::statement::rfc3339;

/// How long the span is that nobody has named: 30 days.
const USUAL_MILLIS: i64 = 30 * 24 * 60 * 60 * 1_000;

/// Entries that are read at once.
const PAGE: u32 = 500;

/// Since `from`, and before `until`; the last 30 days where nothing is said.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Span {
    from: Option<Instant>,
    until: Option<Instant>,
}

#[derive(Serialize)]
pub(super) struct Used {
    account: AccountId,
    from: Option<String>,
    until: Option<String>,
    calls: u64,
    credits: Signed,
    /// Who used the most comes first. Calls whose caller said nothing have no name.
    features: Vec<UsedBy>,
}

#[derive(Serialize)]
struct UsedBy {
    feature: Option<Feature>,
    /// Those that were charged, also for nothing.
    calls: u64,
    /// What they were charged. Less than nothing where more was given back for earlier jobs.
    credits: Signed,
}

pub(super) async fn by_feature(
    State(admin): State<Arc<Admin>>,
    Named(account): Named<AccountId>,
    Asked(span): Asked<Span>,
) -> Result<Json<Used>, Problem> {
    admin.record(&account).await?;
    let until = span.until.map_or_else(|| admin.now(), |Instant(until)| until);
    let usual = Timestamp::from_millis(until.millis() - USUAL_MILLIS);
    let from = span.from.map_or(usual, |Instant(from)| from);
    if until <= from {
        return Err(Problem::malformed("`until` lies behind `from`"));
    }
    let mut report = Report { admin: &admin, open: HashMap::new(), sums: BTreeMap::new() };
    let mut after = admin.entries_before(&account, from).await?;
    'pages: loop {
        let page = admin.ledger.entries(&account, after, PAGE).await?;
        for entry in &page {
            // Now is whatever the ledger has, by whose clock ever.
            if span.until.is_some() && entry.at >= until {
                break 'pages;
            }
            report.add(entry).await?;
        }
        let Some(last) = page.last() else { break };
        after = last.seq;
    }
    let mut features: Vec<_> = report.sums.into_iter().collect();
    features.sort_by_key(|(_, Sum { micros, .. })| std::cmp::Reverse(*micros));
    let all = features.iter().map(|(_, sum)| sum);
    Ok(Json(Used {
        account,
        from: rfc3339(from),
        until: rfc3339(until),
        calls: all.clone().map(|sum| sum.calls).sum(),
        credits: Signed(all.map(|sum| sum.micros).sum()),
        features: features
            .into_iter()
            .map(|(feature, Sum { calls, micros })| UsedBy {
                feature,
                calls,
                credits: Signed(micros),
            })
            .collect(),
    }))
}

impl Admin {
    /// How many entries the account has that are older than `from`. Time never goes back in a ledger.
    async fn entries_before(
        &self,
        account: &AccountId,
        from: Timestamp,
    ) -> Result<u64, HistoryError> {
        let books = self.ledger.read(account, None).await?;
        let (mut older, mut not) = (0, books.map_or(0, |books| books.seq));
        while older < not {
            let middle = older + (not - older) / 2;
            let entry = self.ledger.entries(account, middle, 1).await?;
            if entry.first().is_some_and(|entry| entry.at < from) {
                older = middle + 1;
            } else {
                not = middle;
            }
        }
        Ok(older)
    }
}

struct Report<'a> {
    admin: &'a Admin,
    /// What the calls are for that are running.
    open: HashMap<Id, Option<Feature>>,
    sums: BTreeMap<Option<Feature>, Sum>,
}

#[derive(Default)]
struct Sum {
    calls: u64,
    micros: i64,
}

impl Report<'_> {
    async fn add(&mut self, entry: &Entry) -> Result<(), HistoryError> {
        match &entry.fact {
            Fact::Hold { hold, feature, .. } => {
                self.open.insert(*hold, feature.clone());
            }
            Fact::Charge { feature, charged, .. } => {
                self.note(feature.clone(), 1, charged.signed());
            }
            Fact::Settle { hold, charged, late: false, .. } => {
                let (feature, _) = self.told(*hold).await?;
                self.note(feature, 1, charged.signed());
            }
            // What its last heartbeat had confirmed was charged, and counted, when it ran out.
            Fact::Settle { hold, charged, late: true, .. } => {
                let (feature, was_charged) = self.told(*hold).await?;
                self.note(feature, u64::from(!was_charged), charged.signed());
            }
            Fact::HoldExpired { hold, done, .. } => {
                let (feature, _) = self.told(*hold).await?;
                if !done.is_zero() {
                    self.note(feature, 1, done.signed());
                }
            }
            Fact::Correct { hold, charged, before, .. } => {
                let (feature, _) = self.told(*hold).await?;
                self.note(feature, 0, charged.signed() - before.signed());
            }
            Fact::Release { hold } => {
                self.open.remove(hold);
            }
            Fact::Grant { .. }
            | Fact::Gate { .. }
            | Fact::Plan { .. }
            | Fact::Extend { .. }
            | Fact::LotExpired { .. }
            | Fact::Repay { .. }
            | Fact::Void { .. } => {}
        }
        Ok(())
    }

    /// What the call is for, and whether it was charged when its hold ran out. One whose beginning was not met is looked up.
    async fn told(&mut self, call: Id) -> Result<(Option<Feature>, bool), HistoryError> {
        if let Some(feature) = self.open.remove(&call) {
            return Ok((feature, false));
        }
        let story = self.admin.ledger.explain(call).await?;
        let facts = || story.iter().map(|(_, entry)| &entry.fact);
        let ran_out =
            |fact: &Fact| matches!(fact, Fact::HoldExpired { done, .. } if !done.is_zero());
        Ok((facts().find_map(Fact::feature).cloned(), facts().any(ran_out)))
    }

    fn note(&mut self, feature: Option<Feature>, calls: u64, micros: i64) {
        let sum = self.sums.entry(feature).or_default();
        sum.calls += calls;
        sum.micros = sum.micros.saturating_add(micros);
    }
}
