//! An account's balance in the words that people see: in `GET /credits`, in the admin API, on the command line.
//!
//! Amounts are credits as plain decimal numbers, instants RFC 3339 in UTC (semantics.md section 6).

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::credit::{Account, AccountId, Credits, Funds, LotKind, Period, Timestamp};
use crate::directory::Record;

/// What an account has, and what ends when.
#[derive(Debug, Serialize)]
pub struct Statement {
    pub account: AccountId,
    /// Whether AI calls are allowed at all.
    pub active: bool,
    /// What the next call could hold.
    pub remaining: Decimal,
    /// What running calls hold.
    pub held: Decimal,
    /// What is owed for work that cost more than was left.
    pub owed: Decimal,
    pub plan: Plan,
    /// Usable and frozen lots, in the order in which they are used.
    pub lots: Vec<Lot>,
    /// The lot that ends next with something left in it.
    pub ends_next: Option<Ending>,
}

/// The plan's month.
#[derive(Debug, Serialize)]
pub struct Plan {
    pub name: String,
    pub monthly_credits: Decimal,
    pub remaining: Decimal,
    /// When the next month starts.
    pub resets_at: Option<String>,
}

/// A parcel of credits.
#[derive(Debug, Serialize)]
pub struct Lot {
    pub number: u32,
    pub kind: LotKind,
    pub source: Option<String>,
    pub granted: Decimal,
    pub remaining: Decimal,
    pub held: Decimal,
    pub starts_at: Option<String>,
    pub ends_at: Option<String>,
    pub state: LotState,
}

/// Whether a lot can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LotState {
    /// It can.
    Open,
    /// Not yet.
    Scheduled,
    /// Not while the subscription is inactive; its end still comes.
    Frozen,
    /// Only by calls that hold of it.
    Ended,
}

/// What is lost next.
#[derive(Debug, Serialize)]
pub struct Ending {
    pub lot: u32,
    pub kind: LotKind,
    pub credits: Decimal,
    pub at: Option<String>,
}

/// Credits as a JSON number in plain decimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal(pub Credits);

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits =
            RawValue::from_string(self.0.to_string()).map_err(serde::ser::Error::custom)?;
        digits.serialize(serializer)
    }
}

impl Statement {
    /// The statement of `books`, which were read at `now` with `period` open.
    pub fn new(
        record: &Record,
        books: &Account,
        allowance: Credits,
        period: Option<Period>,
        now: Timestamp,
    ) -> Self {
        let funds: Funds = books.funds(now);
        let left = |lot: &&crate::credit::Lot| now < lot.end && !lot.unheld().is_zero();
        let next = books.lots.iter().filter(left).min_by_key(|lot| (lot.end, lot.no));
        Self {
            account: record.account.clone(),
            active: funds.active,
            remaining: Decimal(funds.spendable()),
            held: Decimal(funds.held),
            owed: Decimal(funds.debt),
            plan: Plan {
                name: record.plan.clone(),
                monthly_credits: Decimal(allowance),
                remaining: Decimal(if funds.active { funds.plan } else { Credits::ZERO }),
                resets_at: period.and_then(|period| rfc3339(period.end)),
            },
            lots: books.lots.iter().map(|lot| Lot::new(lot, funds.active, now)).collect(),
            ends_next: next.filter(|lot| lot.end < Timestamp::MAX).map(|lot| Ending {
                lot: lot.no,
                kind: lot.kind,
                credits: Decimal(lot.unheld()),
                at: rfc3339(lot.end),
            }),
        }
    }
}

impl Lot {
    fn new(lot: &crate::credit::Lot, active: bool, now: Timestamp) -> Self {
        let state = match (active, lot.is_open(now)) {
            _ if lot.end <= now => LotState::Ended,
            (_, false) => LotState::Scheduled,
            (true, true) => LotState::Open,
            (false, true) => LotState::Frozen,
        };
        Self {
            number: lot.no,
            kind: lot.kind,
            source: lot.source.as_ref().map(ToString::to_string),
            granted: Decimal(lot.granted),
            remaining: Decimal(lot.remaining),
            held: Decimal(lot.held),
            starts_at: rfc3339(lot.start),
            ends_at: rfc3339(lot.end),
            state,
        }
    }
}

/// The instant as RFC 3339 in UTC, to the second; nothing for one without an end.
pub fn rfc3339(at: Timestamp) -> Option<String> {
    if at == Timestamp::MAX {
        return None;
    }
    let at = DateTime::<Utc>::from_timestamp_millis(at.millis())?;
    Some(at.to_rfc3339_opts(SecondsFormat::Secs, true))
}
