//! An account's books: its lots, holds and debt, as the fold of its entries.
//!
//! This file knows how a fact changes the books and what must always be true of them; which facts an operation
//! brings about is decided in `operation`.

mod jobs;

use serde::{Deserialize, Serialize};

use super::{Credits, Entry, Fact, Id, JOBS_MAX, Lot, LotKind, OpenJob, Part, Timestamp};

/// How long an operation's id is remembered, in ms (semantics.md section 5).
pub const REMEMBERED_MILLIS: u64 = 72 * 60 * 60 * 1000;

/// Open holds of one account at once, and expired ones that are remembered: bounds its size in the store.
pub const HOLDS_MAX: usize = 1000;

/// The books of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The number of the last entry; 0 before the first.
    pub seq: u64,
    /// When the last entry was written.
    pub clock: Timestamp,
    /// The account may spend before this instant.
    pub gate_until: Timestamp,
    /// The version of the account's record (keys, plan, gate) that the ledger knows of.
    pub version: u64,
    /// What the account owes. More than nothing: no new hold.
    pub debt: Credits,
    /// Start of the newest plan period that was opened.
    pub plan_start: Timestamp,
    /// How many lots were ever opened.
    pub lots_opened: u32,
    /// The lots with something left, those that a correction may fill again, and the plan lot of the current period; in
    /// burn order.
    pub lots: Vec<Lot>,
    /// The open holds, by id.
    pub holds: Vec<Hold>,
    /// Holds that expired and may still be settled.
    pub expired: Vec<ExpiredHold>,
    /// Jobs whose charge may be corrected, in the order in which they were charged.
    #[serde(default)]
    pub jobs: Vec<OpenJob>,
}

/// Credits reserved for a running call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The call's id.
    pub id: Id,
    /// The hold expires at this instant.
    pub deadline: Timestamp,
    /// The work confirmed by the last heartbeat; at most the sum of the parts.
    pub done: Credits,
    /// Where the credits are reserved, in the order in which they will be taken.
    pub parts: Vec<Part>,
}

impl Hold {
    /// What is reserved.
    pub fn amount(&self) -> Credits {
        sum(&self.parts)
    }
}

/// What is remembered of a hold that expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpiredHold {
    /// The call's id.
    pub id: Id,
    /// What was charged when it expired.
    pub charged: Credits,
    /// A settlement is accepted before this instant.
    pub settle_until: Timestamp,
}

/// What an account could spend at an instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Funds {
    /// Whether the gate is open.
    pub active: bool,
    /// Unheld credits of the plan lot.
    pub plan: Credits,
    /// Unheld credits of gifts.
    pub gift: Credits,
    /// Unheld purchased credits.
    pub purchased: Credits,
    /// Credits of usable lots that running calls hold.
    pub held: Credits,
    /// What is owed.
    pub debt: Credits,
    /// When the plan lot ends; nothing without one.
    pub plan_end: Option<Timestamp>,
}

impl Funds {
    /// Unheld credits of all usable lots.
    pub fn unheld(&self) -> Credits {
        self.plan.saturating_add(self.gift).saturating_add(self.purchased)
    }

    /// What the next call could hold: nothing while the gate is closed or something is owed.
    pub fn spendable(&self) -> Credits {
        if self.active && self.debt.is_zero() { self.unheld() } else { Credits::ZERO }
    }
}

/// A rule that the books break. Never happens; the account is frozen if it does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("broken invariant: {0}")]
pub struct Broken(pub String);

impl Account {
    /// What could be spent at `now`. The caller has carried out what is due by then.
    pub fn funds(&self, now: Timestamp) -> Funds {
        let mut funds =
            Funds { active: now < self.gate_until, debt: self.debt, ..Funds::default() };
        for lot in self.lots.iter().filter(|lot| lot.is_open(now)) {
            let kind = match lot.kind {
                LotKind::Plan => {
                    funds.plan_end = Some(lot.end);
                    &mut funds.plan
                }
                LotKind::Gift => &mut funds.gift,
                LotKind::Purchased => &mut funds.purchased,
            };
            *kind = kind.saturating_add(lot.unheld());
            funds.held = funds.held.saturating_add(lot.held);
        }
        funds
    }

    /// The balance in µ: what the lots hold, less the debt.
    pub fn balance(&self) -> i64 {
        self.lots.iter().map(|lot| lot.remaining.signed()).sum::<i64>() - self.debt.signed()
    }

    /// The lot with this number, if it still has something left.
    pub fn lot(&self, no: u32) -> Option<&Lot> {
        self.lots.iter().find(|lot| lot.no == no)
    }

    /// The open hold with this id.
    pub fn hold(&self, id: Id) -> Option<&Hold> {
        self.holds.iter().find(|hold| hold.id == id)
    }

    /// The job that the call began, if its charge may be corrected.
    pub fn job(&self, call: Id) -> Option<&OpenJob> {
        self.jobs.iter().find(|job| job.call == call)
    }

    /// Writes the next entry: carries out `fact` and returns the line that says so. The caller [checks](Self::check)
    /// the books once it is through.
    pub fn record(&mut self, op: Id, fact: Fact, at: Timestamp) -> Result<Entry, Broken> {
        self.evolve(&fact, at)?;
        self.seq += 1;
        self.clock = at;
        Ok(Entry { seq: self.seq, at, op, fact, balance: self.balance() })
    }

    fn evolve(&mut self, fact: &Fact, at: Timestamp) -> Result<(), Broken> {
        match fact {
            Fact::Grant { source, lot, lot_kind, start, end, amount, repaid } => {
                self.debt = less(self.debt, *repaid, "debt")?;
                let (no, kind, source, granted) = (*lot, *lot_kind, source.clone(), *amount);
                let (remaining, held) = (less(granted, *repaid, "grant")?, Credits::ZERO);
                let (start, end) = (*start, *end);
                self.add(Lot { no, kind, source, start, end, granted, remaining, held }, at);
            }
            Fact::Gate { until, version } => {
                (self.gate_until, self.version) = (*until, *version);
            }
            Fact::Plan { lot, change, .. } => self.lot_mut(*lot)?.change(*change)?,
            Fact::Hold { hold, deadline, parts, .. } => {
                self.reserve(parts)?;
                let (id, deadline, done) = (*hold, *deadline, Credits::ZERO);
                let place = self.holds.partition_point(|open| open.id < id);
                self.holds.insert(place, Hold { id, deadline, done, parts: parts.clone() });
            }
            Fact::Extend { hold, added, deadline, done } => {
                self.reserve(added)?;
                let hold = self.holds.iter_mut().find(|open| open.id == *hold);
                let hold = hold.ok_or_else(|| Broken("an unknown hold was extended".into()))?;
                hold.parts.extend_from_slice(added);
                (hold.deadline, hold.done) = (*deadline, *done);
            }
            Fact::Settle { hold, charged, parts, owed, late, job, .. } => {
                let expired = self.expired.iter().find(|expired| *late && expired.id == *hold);
                let before = expired.map_or(Credits::ZERO, |expired| expired.charged);
                let charged = before.saturating_add(*charged);
                self.await_job(*hold, job.as_ref(), (charged, *owed, parts), at);
                if *late {
                    self.expired.retain(|expired| expired.id != *hold);
                } else {
                    self.unreserve(*hold)?;
                }
                self.pay(parts, *owed)?;
            }
            Fact::Charge { hold, charged, parts, owed, job, .. } => {
                self.await_job(*hold, job.as_ref(), (*charged, *owed, parts), at);
                self.pay(parts, *owed)?;
            }
            Fact::Correct { hold, back, repaid, parts, owed, .. } => {
                self.close_job(*hold)?;
                self.put_back(back)?;
                self.debt = less(self.debt, *repaid, "debt")?;
                self.pay(parts, *owed)?;
            }
            Fact::Release { hold } => self.give_up(*hold)?,
            Fact::HoldExpired { hold, done, parts, settle_until } => {
                self.unreserve(*hold)?;
                self.take(parts)?;
                let (id, charged, settle_until) = (*hold, *done, *settle_until);
                self.expired.push(ExpiredHold { id, charged, settle_until });
            }
            Fact::LotExpired { lot, amount } => {
                self.take(&[Part { lot: *lot, amount: *amount }])?;
            }
            Fact::Repay { parts } => {
                self.take(parts)?;
                self.debt = less(self.debt, sum(parts), "debt")?;
            }
            Fact::Void { lot, taken, owed, .. } => {
                self.ask_back(*lot, *owed, at);
                let taken = (!taken.is_zero()).then_some(Part { lot: *lot, amount: *taken });
                self.pay(taken.as_slice(), *owed)?;
            }
        }
        self.forget(at);
        Ok(())
    }

    fn add(&mut self, lot: Lot, at: Timestamp) {
        if lot.kind == LotKind::Plan {
            // One plan lot at a time: a new period ends the one before it.
            let former = self.lots.iter_mut().filter(|lot| lot.kind == LotKind::Plan);
            former.for_each(|lot| lot.end = lot.end.min(at));
            self.plan_start = lot.start;
        }
        self.lots_opened = lot.no;
        self.lots.push(lot);
        self.lots.sort_by_key(Lot::burn_order);
    }

    /// Takes `parts`, and owes the rest.
    fn pay(&mut self, parts: &[Part], owed: Credits) -> Result<(), Broken> {
        self.take(parts)?;
        self.debt = more(self.debt, owed, "debt")?;
        Ok(())
    }

    fn put_back(&mut self, parts: &[Part]) -> Result<(), Broken> {
        for part in parts {
            let lot = self.lot_mut(part.lot)?;
            lot.remaining = more(lot.remaining, part.amount, "lot")?;
        }
        Ok(())
    }

    /// Drops what no rule needs any more: jobs that are too old to correct, empty lots (but the current plan lot, which a
    /// plan change may refill, and those that a correction may) and expired holds that are too old to settle.
    fn forget(&mut self, at: Timestamp) {
        self.jobs.retain(|job| at < job.correct_until);
        let surplus = self.jobs.len().saturating_sub(JOBS_MAX);
        self.jobs.drain(..surplus);
        let jobs = &self.jobs;
        // What repaid a job's debt goes to whichever lots are open; the rest goes where it came from, to expire there if it
        // must: a refund doesn't ask for what has.
        let is_owed = jobs.iter().any(|job| !job.owed.is_zero());
        let paid = |job: &OpenJob, no| job.parts.iter().any(|part| part.lot == no);
        let is_needed = |lot: &Lot| {
            at < lot.end && (lot.kind == LotKind::Plan || is_owed)
                || jobs.iter().any(|job| paid(job, lot.no))
        };
        self.lots.retain(|lot| !lot.remaining.is_zero() || is_needed(lot));
        self.expired.retain(|hold| at < hold.settle_until);
        let surplus = self.expired.len().saturating_sub(HOLDS_MAX);
        self.expired.drain(..surplus);
    }

    fn lot_mut(&mut self, no: u32) -> Result<&mut Lot, Broken> {
        let lot = self.lots.iter_mut().find(|lot| lot.no == no);
        lot.ok_or_else(|| Broken(format!("lot {no} is not there")))
    }

    fn reserve(&mut self, parts: &[Part]) -> Result<(), Broken> {
        for part in parts {
            let lot = self.lot_mut(part.lot)?;
            lot.held = more(lot.held, part.amount, "hold")?;
        }
        Ok(())
    }

    /// Forgets a hold: one that is open, or has run out.
    fn give_up(&mut self, hold: Id) -> Result<(), Broken> {
        let late = self.expired.iter().position(|expired| expired.id == hold);
        match late.filter(|_| self.hold(hold).is_none()) {
            Some(late) => drop(self.expired.remove(late)),
            None => self.unreserve(hold)?,
        }
        Ok(())
    }

    fn unreserve(&mut self, hold: Id) -> Result<(), Broken> {
        let place = self.holds.iter().position(|open| open.id == hold);
        let place = place.ok_or_else(|| Broken(format!("hold {hold} is not open")))?;
        for part in self.holds.remove(place).parts {
            let lot = self.lot_mut(part.lot)?;
            lot.held = less(lot.held, part.amount, "release")?;
        }
        Ok(())
    }

    fn take(&mut self, parts: &[Part]) -> Result<(), Broken> {
        for part in parts {
            let lot = self.lot_mut(part.lot)?;
            lot.remaining = less(lot.remaining, part.amount, "lot")?;
        }
        Ok(())
    }

    /// The invariants that one state of the books can show (ledger.md, invariants 1 and 2).
    pub fn check(&self) -> Result<(), Broken> {
        for lot in &self.lots {
            if lot.held > lot.remaining || lot.remaining > lot.granted {
                return Err(Broken(format!("lot {}: held ≤ remaining ≤ granted fails", lot.no)));
            }
            let parts = self.holds.iter().flat_map(|hold| &hold.parts);
            let held: u64 =
                parts.filter(|part| part.lot == lot.no).map(|part| part.amount.micros()).sum();
            if held != lot.held.micros() {
                return Err(Broken(format!("lot {}: held is not the sum of open holds", lot.no)));
            }
        }
        if let Some(hold) = self.holds.iter().find(|hold| hold.done > hold.amount()) {
            return Err(Broken(format!("hold {}: more work done than held", hold.id)));
        }
        Ok(())
    }
}

impl Lot {
    /// Puts `change` µ more into the lot, or takes them out.
    fn change(&mut self, change: i64) -> Result<(), Broken> {
        let by = Credits::from_micros(change.unsigned_abs());
        let by = by.ok_or_else(|| Broken("a plan changed by too much".into()))?;
        let apply = if change < 0 { less } else { more };
        self.granted = apply(self.granted, by, "plan")?;
        self.remaining = apply(self.remaining, by, "plan")?;
        Ok(())
    }
}

/// The sum of parts. Exact: parts come out of lots, whose sum an account bounds.
pub(super) fn sum(parts: &[Part]) -> Credits {
    parts.iter().fold(Credits::ZERO, |sum, part| sum.saturating_add(part.amount))
}

fn less(from: Credits, amount: Credits, what: &str) -> Result<Credits, Broken> {
    from.checked_sub(amount).ok_or_else(|| Broken(format!("{what} would fall below nothing")))
}

fn more(to: Credits, amount: Credits, what: &str) -> Result<Credits, Broken> {
    to.checked_add(amount).ok_or_else(|| Broken(format!("{what} would pass the limit")))
}
