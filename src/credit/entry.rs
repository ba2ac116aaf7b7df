//! Entries: the immutable lines of an account's ledger. The account is the fold of its entries.

use serde::{Deserialize, Serialize};

use super::{Credits, Feature, Id, Job, LotKind, Part, SourceId, Timestamp, Work};

/// One line of an account's ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// 1, 2, 3 … within the account, without gaps.
    pub seq: u64,
    /// When. Never before the entry above it.
    pub at: Timestamp,
    /// The operation in whose step this was written.
    pub op: Id,
    /// What happened.
    pub fact: Fact,
    /// The account's balance after it, in µ: what the lots hold, less the debt.
    pub balance: i64,
}

/// What happened to an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fact {
    /// A lot was opened; `repaid` of it went to the debt at once. A plan lot has no source.
    Grant {
        source: Option<SourceId>,
        lot: u32,
        lot_kind: LotKind,
        start: Timestamp,
        end: Timestamp,
        amount: Credits,
        repaid: Credits,
    },
    /// The account may spend until `until`; its record has this version.
    Gate { until: Timestamp, version: u64 },
    /// The plan changed: the open plan lot has `change` µ more or less.
    Plan { lot: u32, allowance: Credits, change: i64 },
    /// Credits were reserved. `feature`: what the call is for, as its caller says.
    Hold {
        hold: Id,
        amount: Credits,
        deadline: Timestamp,
        parts: Vec<Part>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        feature: Option<Feature>,
    },
    /// A running call was heard of: new deadline, more credits, work confirmed so far.
    Extend { hold: Id, added: Vec<Part>, deadline: Timestamp, done: Credits },
    /// A hold was charged: `parts` from lots, `owed` as debt. `late`: after the hold had expired. `work`: what for, where
    /// that decided the amount. `job`: the work goes on, and the charge may be corrected.
    Settle {
        hold: Id,
        charged: Credits,
        parts: Vec<Part>,
        owed: Credits,
        late: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        work: Option<Work>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job: Option<Job>,
    },
    /// A call that was let through without a hold was charged: `parts` from unheld credits, `owed` as debt. `hold` is
    /// the call's id, `feature` what it was for.
    Charge {
        hold: Id,
        charged: Credits,
        parts: Vec<Part>,
        owed: Credits,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        feature: Option<Feature>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        work: Option<Work>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job: Option<Job>,
    },
    /// The job of the call `hold` turned out to cost `charged` in all, and not what it was charged `before`. Of what was
    /// too much, `back` went to lots and `repaid` to the debt; `lost` found no lot from which it could have come. Of what
    /// was missing, `parts` came from lots, and `owed` became debt.
    Correct {
        hold: Id,
        charged: Credits,
        before: Credits,
        back: Vec<Part>,
        repaid: Credits,
        lost: Credits,
        parts: Vec<Part>,
        owed: Credits,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        work: Option<Work>,
    },
    /// A hold was given back whole.
    Release { hold: Id },
    /// A hold ran out: the work confirmed by its last heartbeat was charged, the rest given back. A settlement
    /// that comes before `settle_until` still charges what is missing.
    HoldExpired { hold: Id, done: Credits, parts: Vec<Part>, settle_until: Timestamp },
    /// What nobody held of an ended lot is gone.
    LotExpired { lot: u32, amount: Credits },
    /// Debt was repaid from credits that became free.
    Repay { parts: Vec<Part> },
    /// A refund or chargeback: `taken` from the lot, `owed` as debt. `total` is the cumulative amount asked for.
    Void { source: SourceId, lot: u32, total: Credits, taken: Credits, owed: Credits },
}

/// One side of a double entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Book {
    /// Where granted credits come from.
    Issued,
    /// A lot of the account.
    Lot(u32),
    /// What the account owes (negative while it does).
    Debt,
    /// Work that was charged.
    Used,
    /// Credits that ended unused.
    Expired,
    /// Credits that were taken back.
    Voided,
}

impl Fact {
    /// The fact as double entry, in µ. The amounts sum to zero; those of [`Book::Lot`] and [`Book::Debt`] sum to
    /// the change of the balance.
    pub fn lines(&self) -> Vec<(Book, i64)> {
        let from_lots = |parts: &[Part], to: Book| {
            let mut lines: Vec<_> =
                parts.iter().map(|part| (Book::Lot(part.lot), -part.amount.signed())).collect();
            lines.push((to, parts.iter().map(|part| part.amount.signed()).sum()));
            lines
        };
        match self {
            Self::Grant { lot, amount, repaid, .. } => vec![
                (Book::Issued, -amount.signed()),
                (Book::Lot(*lot), amount.signed() - repaid.signed()),
                (Book::Debt, repaid.signed()),
            ],
            Self::Plan { lot, change, .. } => {
                vec![(Book::Issued, -change), (Book::Lot(*lot), *change)]
            }
            Self::Settle { parts, owed, .. } | Self::Charge { parts, owed, .. } => {
                let mut lines = from_lots(parts, Book::Used);
                lines.push((Book::Debt, -owed.signed()));
                lines.push((Book::Used, owed.signed()));
                lines
            }
            Self::Correct { charged, before, back, repaid, lost, parts, owed, .. } => {
                let mut lines: Vec<_> = [(parts, -1), (back, 1)]
                    .into_iter()
                    .flat_map(|(moved, sign)| moved.iter().map(move |part| (part, sign)))
                    .map(|(part, sign)| (Book::Lot(part.lot), sign * part.amount.signed()))
                    .collect();
                lines.push((Book::Debt, repaid.signed() - owed.signed()));
                lines.push((Book::Expired, lost.signed()));
                lines.push((Book::Used, charged.signed() - before.signed()));
                lines
            }
            Self::HoldExpired { parts, .. } => from_lots(parts, Book::Used),
            Self::LotExpired { lot, amount } => {
                vec![(Book::Lot(*lot), -amount.signed()), (Book::Expired, amount.signed())]
            }
            Self::Repay { parts } => from_lots(parts, Book::Debt),
            Self::Void { lot, taken, owed, .. } => vec![
                (Book::Lot(*lot), -taken.signed()),
                (Book::Debt, -owed.signed()),
                (Book::Voided, taken.signed() + owed.signed()),
            ],
            Self::Gate { .. } | Self::Hold { .. } | Self::Extend { .. } | Self::Release { .. } => {
                vec![]
            }
        }
    }

    /// How the balance changes, in µ.
    pub fn change(&self) -> i64 {
        let of_balance = |book: &Book| matches!(book, Book::Lot(_) | Book::Debt);
        self.lines().iter().filter(|(book, _)| of_balance(book)).map(|(_, amount)| amount).sum()
    }

    /// The call that the fact is about: its hold's id.
    pub fn hold(&self) -> Option<Id> {
        match self {
            Self::Hold { hold, .. }
            | Self::Extend { hold, .. }
            | Self::Settle { hold, .. }
            | Self::Charge { hold, .. }
            | Self::Correct { hold, .. }
            | Self::Release { hold }
            | Self::HoldExpired { hold, .. } => Some(*hold),
            Self::Grant { .. }
            | Self::Gate { .. }
            | Self::Plan { .. }
            | Self::LotExpired { .. }
            | Self::Repay { .. }
            | Self::Void { .. } => None,
        }
    }

    /// What the call is for, where the fact tells it: its first one does.
    pub fn feature(&self) -> Option<&Feature> {
        match self {
            Self::Hold { feature, .. } | Self::Charge { feature, .. } => feature.as_ref(),
            _ => None,
        }
    }

    /// The fact's name, as in its JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Grant { .. } => "grant",
            Self::Gate { .. } => "gate",
            Self::Plan { .. } => "plan",
            Self::Hold { .. } => "hold",
            Self::Extend { .. } => "extend",
            Self::Settle { .. } => "settle",
            Self::Charge { .. } => "charge",
            Self::Correct { .. } => "correct",
            Self::Release { .. } => "release",
            Self::HoldExpired { .. } => "hold_expired",
            Self::LotExpired { .. } => "lot_expired",
            Self::Repay { .. } => "repay",
            Self::Void { .. } => "void",
        }
    }
}
