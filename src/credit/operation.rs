//! What can be asked of an account, and what it answers.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Credits, Feature, Funds, Id, Job, LotKind, Period, SourceId, Timestamp, Work};

/// What is asked of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Operation {
    /// Repay the debt, then open a lot with the rest. Once per source, for ever.
    Grant { source: SourceId, kind: LotKind, start: Timestamp, end: Timestamp, amount: Credits },
    /// The account may spend before `until`. An older version than the known one is ignored.
    Gate { until: Timestamp, version: u64 },
    /// The plan allows another amount each month: change the open plan lot by the difference.
    Plan { allowance: Credits },
    /// Reserve `amount` for `ttl_millis`, all or nothing, in burn order. The hold's id is the operation's.
    /// Opens the plan lot of `period` if it is missing. `version`: of the account's record that the gateway
    /// decided on. `feature`: what the call is for; it only goes into the entry.
    Hold {
        amount: Credits,
        ttl_millis: u64,
        version: u64,
        period: Option<Period>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        feature: Option<Feature>,
    },
    /// Heartbeat number `beat` of a running call: reserve `more`, wait `ttl_millis` from now, `done` is confirmed.
    Extend { beat: u32, more: Credits, ttl_millis: u64, done: Credits },
    /// Charge `amount` for the hold of this id. `work`: what it is charged for, where that decides the amount; it only
    /// goes into the entry. `job`: the work goes on, and the charge may be [corrected](Self::Correct) once.
    Settle {
        amount: Credits,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        work: Option<Work>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job: Option<Job>,
    },
    /// Give the hold of this id back whole.
    Release,
    /// Charge `amount` for the call of this id, which was let through while the ledger was away (semantics.md
    /// section 4). If its hold was placed after all this is its settlement, late where that would be late. Else it
    /// opens the plan lot of `period` if it is missing and takes unheld credits in burn order; what they don't cover
    /// is owed, and all of it while the gate is closed. Refused neither for lack of credits nor for a debt.
    ///
    /// A call is charged, settled or released: its gateway sends one of these, and repeats it unchanged, the period
    /// too. See [`ruled_out_by`](Self::ruled_out_by) for what becomes of a second one.
    Charge {
        amount: Credits,
        period: Option<Period>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        feature: Option<Feature>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        work: Option<Work>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job: Option<Job>,
    },
    /// The job of `call` turned out to cost `amount` in all. Once for each job, within
    /// [`CORRECTABLE_MILLIS`](super::CORRECTABLE_MILLIS) of its settlement. Works whatever the gate says, and is refused
    /// neither for lack of credits nor for a debt. Has an id of its own: that of the call may be too old by then.
    Correct {
        call: Id,
        amount: Credits,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        work: Option<Work>,
    },
    /// Take back what `source` granted: `total` µ in all, counted over all refunds so far.
    Void { source: SourceId, total: Credits },
}

impl Operation {
    /// Tells the operations on one id apart: `hold`, `extend.3`, `settle` …
    pub fn step(&self) -> Cow<'static, str> {
        match self {
            Self::Grant { .. } => "grant".into(),
            Self::Gate { .. } => "gate".into(),
            Self::Plan { .. } => "plan".into(),
            Self::Hold { .. } => "hold".into(),
            Self::Extend { beat, .. } => format!("extend.{beat}").into(),
            Self::Settle { .. } => "settle".into(),
            Self::Release => "release".into(),
            Self::Charge { .. } => "charge".into(),
            Self::Correct { .. } => "correct".into(),
            Self::Void { .. } => "void".into(),
        }
    }

    /// The source that the step must know of.
    pub fn source(&self) -> Option<&SourceId> {
        match self {
            Self::Grant { source, .. } | Self::Void { source, .. } => Some(source),
            Self::Gate { .. }
            | Self::Plan { .. }
            | Self::Hold { .. }
            | Self::Extend { .. }
            | Self::Settle { .. }
            | Self::Release
            | Self::Charge { .. }
            | Self::Correct { .. } => None,
        }
    }

    /// Steps that leave no room for this one if they were [done](Self::was_done) under the same id, and the answer
    /// then. The books forget a call once it is resolved, so the engines look into their memory of ids, which lasts
    /// exactly as long as an id is accepted.
    pub fn ruled_out_by(&self) -> &'static [(&'static str, Refusal)] {
        match self {
            Self::Charge { .. } => {
                &[("settle", Refusal::AlreadyResolved), ("release", Refusal::AlreadyResolved)]
            }
            // It was still on its way when its call was charged or given up: nobody would ever resolve it.
            Self::Hold { .. } => {
                &[("charge", Refusal::Conflict), ("release", Refusal::AlreadyResolved)]
            }
            Self::Grant { .. }
            | Self::Gate { .. }
            | Self::Plan { .. }
            | Self::Extend { .. }
            | Self::Settle { .. }
            | Self::Release
            | Self::Correct { .. }
            | Self::Void { .. } => &[],
        }
    }

    /// Whether the step of this name was done, going by what came of it. A release that found no hold has given up
    /// the call all the same.
    pub fn was_done(step: &str, outcome: &Result<Done, Refusal>) -> bool {
        outcome.is_ok() || step == "release"
    }
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "done", rename_all = "snake_case")]
pub enum Done {
    /// Lot number `lot` was opened; `repaid` of it went to the debt.
    Granted { lot: u32, repaid: Credits },
    /// This very grant was made before.
    GrantedBefore { lot: u32 },
    /// The gate stands as asked, or `ignored`: a newer version was known.
    Gated { ignored: bool },
    /// The open plan lot changed by this many µ.
    Planned { change: i64 },
    /// The credits are reserved.
    Held,
    /// The hold lives on.
    Extended,
    /// The charge; `owed` of it became debt.
    Settled { charged: Credits, owed: Credits },
    /// The charge of a job, as it was and as it is; `owed` of the difference became debt.
    Corrected { before: Credits, charged: Credits, owed: Credits },
    /// The hold is given back.
    Released,
    /// What the refund took now: from the lot, and as debt.
    Voided { taken: Credits, owed: Credits },
}

/// Why an operation was refused. Nothing was done for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "refused", rename_all = "snake_case")]
pub enum Refusal {
    /// Not even the credits that running calls hold would suffice.
    #[error("the credits are used up")]
    Exhausted,
    /// Running calls hold the credits.
    #[error("the credits are held by calls that are still running")]
    Held,
    /// A debt must be repaid first.
    #[error("the account owes credits")]
    Owed,
    /// The gate is closed.
    #[error("the account is not active")]
    Inactive,
    /// The account's record is another than the one that the gateway read.
    #[error("the account's record has version {version}")]
    Stale { version: u64 },
    /// More than [`HOLDS_MAX`](super::HOLDS_MAX) calls of the account are running.
    #[error("too many calls of the account are running")]
    TooManyHolds,
    /// No hold of this id is open: it was resolved, or never placed. Of a charge: the call was resolved before. Of a
    /// correction: no job of the call waits for one.
    #[error("no hold of this id is open")]
    AlreadyResolved,
    /// The id or the source was used before, with other arguments.
    #[error("the id or the source was used before with other arguments")]
    Conflict,
    /// The id was made more than 72 hours ago.
    #[error("the operation's id is older than 72 hours")]
    TooOld,
    /// Nothing was ever granted from this source.
    #[error("nothing was ever granted from this source")]
    UnknownSource,
    /// The window ends before it starts, or has ended.
    #[error("the lot's window has ended")]
    Ended,
    /// The account would pass [`Credits::MAX`].
    #[error("the amount passes the limit of an account")]
    TooMuch,
}

/// The answer to one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What was done, or why not.
    pub outcome: Result<Done, Refusal>,
    /// What the account could spend after the step.
    pub funds: Funds,
}
