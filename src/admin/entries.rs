//! The ledger in words: what each entry says to a person.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::Admin;
use super::input::{Asked, Named, Page};
use super::problem::Problem;
use crate::credit::{AccountId, Credits, Entry, Fact, Feature, Id, Part, Timestamp, Work};
use crate::statement::rfc3339;

#[derive(Serialize)]
pub(super) struct Listed {
    account: AccountId,
    entries: Vec<EntryShown>,
    /// The `after` of the next page, if there may be one.
    next: Option<u64>,
}

/// One line of the ledger.
#[derive(Serialize)]
pub(super) struct EntryShown {
    seq: u64,
    at: Option<String>,
    kind: &'static str,
    /// The call that it is about.
    request: Option<Id>,
    /// What the call is for, as its caller said: with the entry that began it.
    #[serde(skip_serializing_if = "Option::is_none")]
    feature: Option<Feature>,
    /// How the balance changed.
    change: Signed,
    /// What the lots held afterwards, less the debt.
    balance: Signed,
    details: String,
}

/// Credits with a sign, in µ; as a JSON number in plain decimal digits.
#[derive(Clone, Copy)]
pub(super) struct Signed(pub i64);

impl Serialize for Signed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The books hold no sum above the limit of an account.
        let amount = Credits::from_micros(self.0.unsigned_abs()).unwrap_or(Credits::MAX);
        let sign = if self.0 < 0 { "-" } else { "" };
        let digits = RawValue::from_string(format!("{sign}{amount}"));
        digits.map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Named(account): Named<AccountId>,
    Asked(page): Asked<Page<u64>>,
) -> Result<Json<Listed>, Problem> {
    let limit = page.limit()?;
    admin.record(&account).await?;
    let entries = admin.ledger.entries(&account, page.after.unwrap_or(0), limit).await?;
    let full = u32::try_from(entries.len()).is_ok_and(|found| found == limit);
    let next = entries.last().filter(|_| full).map(|entry| entry.seq);
    Ok(Json(Listed { account, entries: entries.iter().map(EntryShown::from).collect(), next }))
}

impl From<&Entry> for EntryShown {
    fn from(entry: &Entry) -> Self {
        Self {
            seq: entry.seq,
            at: rfc3339(entry.at),
            kind: entry.fact.name(),
            request: entry.fact.hold(),
            feature: entry.fact.feature().cloned(),
            change: Signed(entry.fact.change()),
            balance: Signed(entry.balance),
            details: details(&entry.fact),
        }
    }
}

/// What happened, for a person.
fn details(fact: &Fact) -> String {
    match fact {
        Fact::Grant { source, lot, lot_kind, start, end, amount, repaid } => {
            let kind = lot_kind.as_str();
            let from = source.as_ref().map_or(String::new(), |source| format!(" from {source}"));
            let debt = some(*repaid, |repaid| format!("; {repaid} of it repaid the debt"));
            format!("lot {lot}: {amount} {kind}{from}, {}{debt}", window(*start, *end))
        }
        Fact::Gate { until, version } => {
            let until =
                rfc3339(*until).map_or("open".to_owned(), |until| format!("open until {until}"));
            format!("{until}; record version {version}")
        }
        Fact::Plan { lot, allowance, .. } => {
            format!("lot {lot} follows a plan of {allowance} a month")
        }
        Fact::Hold { amount, deadline, parts, feature, .. } => {
            let (deadline, lots) = (instant(*deadline), of_lots(parts));
            format!("{amount} held until {deadline}{lots}{}", is_for(feature.as_ref()))
        }
        Fact::Extend { deadline, done, .. } => {
            format!("still running; held until {}, {done} confirmed", instant(*deadline))
        }
        Fact::Settle { charged, parts, owed, late, work, .. } => {
            let late = if *late { " after its hold had expired" } else { "" };
            let owed = some(*owed, |owed| format!("; {owed} of it is owed"));
            format!("{charged} charged{late}{}{owed}{}", of_lots(parts), told(work.as_ref()))
        }
        Fact::Charge { charged, parts, owed, feature, work, .. } => {
            let owed = some(*owed, |owed| format!("; {owed} of it is owed"));
            format!(
                "{charged} charged, let through while the ledger was away{}{owed}{}{}",
                of_lots(parts),
                is_for(feature.as_ref()),
                told(work.as_ref())
            )
        }
        Fact::Correct { charged, before, back, repaid, lost, parts, owed, work, .. } => {
            let repaid = some(*repaid, |repaid| format!("; the debt is {repaid} less"));
            let lost = some(*lost, |lost| format!("; {lost} found no lot to go to"));
            let owed = some(*owed, |owed| format!("; {owed} more is owed"));
            let back =
                if back.is_empty() { String::new() } else { format!("; back{}", of_lots(back)) };
            format!(
                "{charged} charged in all, corrected from {before}{}{back}{repaid}{lost}{owed}{}",
                of_lots(parts),
                told(work.as_ref())
            )
        }
        Fact::Release { .. } => "given back; nothing charged".to_owned(),
        Fact::HoldExpired { done, parts, .. } => {
            format!("the hold ran out; {done} charged{}, the rest given back", of_lots(parts))
        }
        Fact::LotExpired { lot, amount } => format!("{amount} of lot {lot} ended unused"),
        Fact::Repay { parts } => format!("the debt was repaid{}", of_lots(parts)),
        Fact::Void { source, lot, total, taken, owed } => {
            let owed = some(*owed, |owed| format!(", {owed} is owed"));
            format!("{total} of {source} taken back in all: {taken} from lot {lot}{owed}")
        }
    }
}

/// `, 1 of lot 2, 0.5 of lot 3`; nothing without parts.
fn of_lots(parts: &[Part]) -> String {
    let parts: Vec<_> =
        parts.iter().map(|part| format!(", {} of lot {}", part.amount, part.lot)).collect();
    parts.concat()
}

/// `; for copilot`; nothing where the caller didn't say.
fn is_for(feature: Option<&Feature>) -> String {
    feature.map_or_else(String::new, |feature| format!("; for {}", feature.as_str()))
}

/// `; reported: 12 input, 3 output`; nothing where a call has a price.
fn told(work: Option<&Work>) -> String {
    work.map_or_else(String::new, |work| format!("; {}: {}", work.basis.as_str(), work.usage))
}

pub(super) fn instant(at: Timestamp) -> String {
    rfc3339(at).unwrap_or_else(|| "for ever".to_owned())
}

fn some(amount: Credits, words: impl FnOnce(Credits) -> String) -> String {
    if amount.is_zero() { String::new() } else { words(amount) }
}

fn window(start: Timestamp, end: Timestamp) -> String {
    let start = instant(start);
    rfc3339(end).map_or(format!("from {start}"), |end| format!("from {start} until {end}"))
}
