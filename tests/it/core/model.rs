//! The rules of credits, written a second time from their specification alone.
//!
//! Built unlike the core on purpose: one flat list of rows says where every credit that was ever granted is now,
//! numbers are `i128`, and what the core stores (remaining, held, used …) is counted from the rows each time it is
//! asked for. Slow, and short enough to be read against the rules. It must not share code with the core beyond
//! the types in which questions are asked and answered.

mod books;
mod calls;
mod jobs;
mod lots;

use std::collections::BTreeMap;

use creditgate::credit::{
    Credits, Done, ExpiredHold, HOLDS_MAX, Id, Job, LotKind, Operation, Period, REMEMBERED_MILLIS,
    Refusal, SourceId, Timestamp,
};

const MAX: i128 = 4_000_000_000_000_000;

/// Where credits are. Those that left `Free` and `Held` come back only by a correction. Each part of a hold has its own number,
/// which rises with time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Free,
    Held(Id, u32),
    Used,
    Expired,
    Voided,
    Repaid,
}

/// So many credits of one lot in one place.
#[derive(Clone, Debug)]
struct Row {
    lot: u32,
    place: Place,
    amount: i128,
}

/// What was agreed on when a lot was opened.
#[derive(Clone, Debug)]
struct Terms {
    no: u32,
    kind: LotKind,
    source: Option<SourceId>,
    start: Timestamp,
    end: Timestamp,
    /// It had nothing left when something was written, and nothing could come back to it.
    forgotten: bool,
}

#[derive(Clone, Debug)]
struct Running {
    id: Id,
    deadline: Timestamp,
    done: i128,
}

/// What a source was granted, and what was asked back: `voided` in all, `owed` of it as debt.
#[derive(Clone, Debug)]
struct Granted {
    lot: u32,
    kind: LotKind,
    start: Timestamp,
    end: Timestamp,
    amount: i128,
    voided: i128,
    owed: i128,
    /// What was taken out of the lot.
    taken: i128,
    /// What was in the lot when it had ended, each time.
    expired: i128,
}

/// Work that goes on: what it was charged, and where that came from, the first first.
#[derive(Clone, Debug)]
struct Begun {
    call: Id,
    until: Timestamp,
    charged: i128,
    owed: i128,
    paid: Vec<(u32, i128)>,
    job: Job,
}

/// One account.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    rows: Vec<Row>,
    lots: Vec<Terms>,
    running: Vec<Running>,
    expired: Vec<ExpiredHold>,
    jobs: Vec<Begun>,
    sources: BTreeMap<SourceId, Granted>,
    /// How often credits were reserved.
    parts: u32,
    debt: i128,
    gate: Timestamp,
    version: u64,
    plan_start: Timestamp,
    clock: Timestamp,
    wrote: bool,
}

impl Model {
    /// One operation at `now`: what is due, the operation, what is due then.
    pub(super) fn apply(
        &mut self,
        id: Id,
        operation: &Operation,
        now: Timestamp,
    ) -> Result<Done, Refusal> {
        let now = now.max(self.clock);
        self.wrote = false;
        self.carry_out_due(now);
        self.forget(now);
        let outcome = self.operate(id, operation, now);
        self.wrote |= outcome.as_ref().is_ok_and(always_writes);
        self.forget(now);
        self.carry_out_due(now);
        self.forget(now);
        if self.wrote {
            self.clock = now;
        }
        outcome
    }

    /// What a reader sees at `now`.
    pub(super) fn read(&self, period: Option<Period>, now: Timestamp) -> Self {
        let mut seen = self.clone();
        let now = now.max(seen.clock);
        seen.wrote = false;
        seen.carry_out_due(now);
        if now < seen.gate {
            seen.open_period(period, now);
        }
        seen.carry_out_due(now);
        seen.forget(now);
        if seen.wrote {
            seen.clock = now;
        }
        seen
    }

    fn operate(&mut self, id: Id, operation: &Operation, now: Timestamp) -> Result<Done, Refusal> {
        match operation {
            Operation::Grant { source, kind, start, end, amount } => {
                let asked = (*kind, *start, *end, micros(*amount));
                self.grant(source, asked, now)
            }
            Operation::Gate { until, version } => Ok(self.set_gate(*until, *version)),
            Operation::Plan { allowance } => self.change_plan(micros(*allowance), now),
            Operation::Hold { amount, ttl_millis, version, period, feature: _ } => {
                if *version != self.version {
                    return Err(Refusal::Stale { version: self.version });
                }
                self.hold(id, micros(*amount), now.after_millis(*ttl_millis), *period, now)
            }
            Operation::Extend { beat: _, more, ttl_millis, done } => {
                self.extend(id, micros(*more), now.after_millis(*ttl_millis), micros(*done), now)
            }
            Operation::Settle { amount, job, .. } => {
                self.settle(id, micros(*amount), job.as_ref(), now)
            }
            Operation::Release => {
                if self.end_hold(id).is_none() {
                    let unpaid = |old: &ExpiredHold| {
                        old.id == id && now < old.settle_until && old.charged.is_zero()
                    };
                    let at = self.expired.iter().position(unpaid);
                    self.expired.remove(at.ok_or(Refusal::AlreadyResolved)?);
                }
                Ok(Done::Released)
            }
            Operation::Charge { amount, period, job, .. } => {
                self.charge(id, micros(*amount), *period, job.as_ref(), now)
            }
            Operation::Correct { call, amount, .. } => self.correct(*call, micros(*amount), now),
            Operation::Void { source, total } => self.void(source, micros(*total), now),
        }
    }

    fn set_gate(&mut self, until: Timestamp, version: u64) -> Done {
        let ignored = version <= self.version;
        if !ignored {
            (self.gate, self.version) = (until, version);
        }
        Done::Gated { ignored }
    }

    /// Holds run out, then lots end, then debt is repaid.
    fn carry_out_due(&mut self, now: Timestamp) {
        let due = |hold: &Running| hold.deadline <= now;
        for Running { id, done, .. } in self.running.clone().into_iter().filter(due) {
            self.take(done, &self.parts_of(id), Place::Used);
            self.end_hold(id);
            let settle_until = now.after_millis(REMEMBERED_MILLIS);
            self.expired.push(ExpiredHold { id, charged: credits(done), settle_until });
            // No more are remembered than may run at once.
            let surplus = self.expired.len().saturating_sub(HOLDS_MAX);
            self.expired.drain(..surplus);
            self.wrote = true;
        }
        let ended = self.lots.iter().filter(|lot| lot.end <= now);
        let ended: Vec<_> = ended.map(|lot| (lot.no, Place::Free)).collect();
        for (lot, place) in ended {
            let expired = self.take(MAX, &[(lot, place)], Place::Expired);
            self.wrote |= expired > 0;
            let sources = self.sources.values_mut().filter(|source| source.lot == lot);
            sources.for_each(|source| source.expired += expired);
        }
        if now < self.gate {
            let repaid = self.take(self.debt, &self.usable(now), Place::Repaid);
            self.debt -= repaid;
            self.wrote |= repaid > 0;
        }
    }

    /// Lots with nothing left are forgotten when something is written, but for those to which credits may come back: the
    /// current plan's, those that paid for an open job, and all that are not over while such a job left a debt.
    fn forget(&mut self, now: Timestamp) {
        let is_owed = self.open_jobs(now).any(|job| job.owed > 0);
        let needed: Vec<_> = self
            .lots
            .iter()
            .map(|lot| {
                let refills = lot.kind == LotKind::Plan || is_owed;
                now < lot.end && refills || self.paid_a_job(lot.no, now)
            })
            .collect();
        let empty: Vec<_> = self.lots.iter().map(|lot| self.remaining(lot.no) == 0).collect();
        for ((lot, is_empty), is_needed) in self.lots.iter_mut().zip(empty).zip(needed) {
            lot.forgotten |= self.wrote && is_empty && !is_needed;
        }
    }

    /// Moves up to `amount` out of `from`, one after the other, to another place; how much it was.
    fn take(&mut self, amount: i128, from: &[(u32, Place)], to: Place) -> i128 {
        let mut left = amount;
        for &(lot, place) in from {
            let moved = left.min(self.at(lot, place));
            self.put(lot, place, -moved);
            self.put(lot, to, moved);
            left -= moved;
        }
        amount - left
    }

    fn put(&mut self, lot: u32, place: Place, amount: i128) {
        match self.rows.iter_mut().find(|row| row.lot == lot && row.place == place) {
            Some(row) => row.amount += amount,
            None => self.rows.push(Row { lot, place, amount }),
        }
        self.rows.retain(|row| row.amount != 0);
    }
}

/// Whether an operation with this outcome always leaves an entry. The others say so themselves, if it did.
fn always_writes(done: &Done) -> bool {
    match done {
        Done::GrantedBefore { .. } | Done::Planned { .. } | Done::Voided { .. } => false,
        Done::Gated { ignored } => !ignored,
        Done::Granted { .. }
        | Done::Held
        | Done::Extended
        | Done::Settled { .. }
        | Done::Corrected { .. }
        | Done::Released => true,
    }
}

fn micros(amount: Credits) -> i128 {
    i128::from(amount.micros())
}

fn credits(amount: i128) -> Credits {
    Credits::from_micros(u64::try_from(amount).unwrap()).unwrap()
}
