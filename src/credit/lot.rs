//! Lots: parcels of credits with a window in which they may be used.

use serde::{Deserialize, Serialize};

use super::{Credits, SourceId, Timestamp};

/// What a lot was granted as. Decides its place in the burn order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LotKind {
    /// The plan's credits of one month. Ends with the month.
    Plan,
    /// Given by the operator.
    Gift,
    /// Bought. Ends 6 months after the purchase.
    Purchased,
}

impl LotKind {
    /// Lower is used first (semantics.md section 1).
    pub const fn priority(self) -> u8 {
        match self {
            Self::Plan => 10,
            Self::Gift => 15,
            Self::Purchased => 20,
        }
    }

    /// The kind in words of the command line and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Gift => "gift",
            Self::Purchased => "purchased",
        }
    }
}

/// A parcel of credits. `held ≤ remaining ≤ granted`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lot {
    /// The lot's number within its account, from 1.
    pub no: u32,
    /// What it was granted as.
    pub kind: LotKind,
    /// Where it came from; plan lots come from their period.
    pub source: Option<SourceId>,
    /// First instant of use.
    pub start: Timestamp,
    /// First instant after use; [`Timestamp::MAX`] for a lot without an end.
    pub end: Timestamp,
    /// Credits ever put into this lot.
    pub granted: Credits,
    /// Credits not yet used, expired or taken back.
    pub remaining: Credits,
    /// The part of `remaining` that open holds reserve.
    pub held: Credits,
}

impl Lot {
    /// The place in the burn order: priority, end, start, number. A total order, no ties (semantics.md section 1).
    pub fn burn_order(&self) -> impl Ord + use<> {
        (self.kind.priority(), self.end, self.start, self.no)
    }

    /// Whether `now` lies in the lot's window.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.start <= now && now < self.end
    }

    /// Credits that no hold reserves.
    pub fn unheld(&self) -> Credits {
        self.remaining.saturating_sub(self.held)
    }
}

/// Credits out of one lot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The lot's number.
    pub lot: u32,
    /// More than nothing.
    pub amount: Credits,
}

/// What is remembered of a source for ever, so that it grants once and can be taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The lot that it opened.
    pub lot: u32,
    /// The grant's arguments: a repeated grant must bring the same.
    pub kind: LotKind,
    /// See [`Lot::start`].
    pub start: Timestamp,
    /// See [`Lot::end`].
    pub end: Timestamp,
    /// What was granted.
    pub granted: Credits,
    /// What of it expired unused.
    pub expired: Credits,
    /// The highest amount asked back so far (cumulative, as payment providers report refunds).
    pub voided: Credits,
    /// What of that was really taken: from the lot, or as debt.
    pub reclaimed: Credits,
}
