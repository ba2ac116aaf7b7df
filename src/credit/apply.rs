//! The one step that carries out an operation.
//!
//! [`apply`] is the meaning of the ledger (ledger.md): both engines carry it out, the auditor replays with it.
//! It decides which facts an operation brings about; how a fact changes the books stands in `account`.

mod calls;
mod jobs;

use super::account::REMEMBERED_MILLIS;
use super::{
    Account, Broken, Credits, Done, Entry, Fact, Id, Lot, LotKind, Operation, Part, Period,
    Refusal, Reply, Source, SourceId, Timestamp,
};

/// The outcome of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The books afterwards. Expiries that were due show even if the operation was refused.
    pub account: Account,
    /// The source as it is afterwards, where the operation touched one.
    pub source: Option<Source>,
    /// The new lines of the ledger.
    pub entries: Vec<Entry>,
    /// The answer.
    pub reply: Reply,
}

/// Carries out `operation` on `account` at `now`: an atomic step. `source` is what is remembered of
/// [`Operation::source`]. Time never goes back: an earlier `now` than the last entry's counts as that.
///
/// # Errors
/// [`Broken`] when the books would break an invariant: nothing may be kept of the step then.
pub fn apply(
    account: &Account,
    source: Option<&Source>,
    id: Id,
    operation: &Operation,
    now: Timestamp,
) -> Result<Applied, Broken> {
    let now = now.max(account.clock);
    let mut step = Step { account: account.clone(), entries: Vec::new(), id, now };
    step.carry_out_due()?;
    // The source's lot may have ended since the source was last written.
    let known = source.map(|source| source.after(&step.entries));
    let before = step.entries.len();
    let (outcome, source) = step.decide(operation, known.as_ref())?;
    step.carry_out_due()?;
    let source = source.map(|source| source.after(&step.entries[before..]));
    step.account.check()?;
    let funds = step.account.funds(now);
    let Step { account, entries, .. } = step;
    Ok(Applied { account, source, entries, reply: Reply { outcome, funds } })
}

/// The books as a reader sees them at `now`: due expiries carried out and the plan lot of `period` open, written
/// nowhere.
pub fn read(account: &Account, period: Option<Period>, now: Timestamp) -> Result<Account, Broken> {
    let now = now.max(account.clock);
    let mut step =
        Step { account: account.clone(), entries: Vec::new(), id: Id::from_u128(0), now };
    step.carry_out_due()?;
    if now < step.account.gate_until {
        step.open_period(period)?;
    }
    Ok(step.account)
}

struct Step {
    account: Account,
    entries: Vec<Entry>,
    id: Id,
    now: Timestamp,
}

impl Step {
    fn record(&mut self, fact: Fact) -> Result<(), Broken> {
        let entry = self.account.record(self.id, fact, self.now)?;
        self.entries.push(entry);
        Ok(())
    }

    /// What the clock alone brings about: holds run out, lots end, freed credits repay the debt.
    fn carry_out_due(&mut self) -> Result<(), Broken> {
        while let Some(hold) = self.account.holds.iter().find(|hold| hold.deadline <= self.now) {
            let fact = Fact::HoldExpired {
                hold: hold.id,
                done: hold.done,
                parts: first_of(&hold.parts, hold.done),
                settle_until: self.now.after_millis(REMEMBERED_MILLIS),
            };
            self.record(fact)?;
        }
        let now = self.now;
        let ended = |lot: &&Lot| lot.end <= now && !lot.unheld().is_zero();
        while let Some(lot) = self.account.lots.iter().find(ended) {
            self.record(Fact::LotExpired { lot: lot.no, amount: lot.unheld() })?;
        }
        let active = self.now < self.account.gate_until;
        if active && !self.account.debt.is_zero() {
            let (parts, _) = self.unheld_parts(self.account.debt);
            if !parts.is_empty() {
                self.record(Fact::Repay { parts })?;
            }
        }
        Ok(())
    }

    fn decide(
        &mut self,
        operation: &Operation,
        source: Option<&Source>,
    ) -> Result<(Result<Done, Refusal>, Option<Source>), Broken> {
        let outcome = match operation {
            Operation::Grant { source: id, kind, start, end, amount } => {
                return self.grant(id, (*kind, *start, *end, *amount), source);
            }
            Operation::Void { source: id, total } => return self.void(id, *total, source),
            Operation::Gate { until, version } => self.gate(*until, *version)?,
            Operation::Plan { allowance } => self.plan(*allowance)?,
            Operation::Hold { amount, ttl_millis, version, period, feature } => {
                self.hold(*amount, *ttl_millis, *version, *period, feature.as_ref())?
            }
            Operation::Extend { more, ttl_millis, done, .. } => {
                self.extend(*more, *ttl_millis, *done)?
            }
            Operation::Settle { amount, work, job } => self.settle(*amount, *work, job.clone())?,
            Operation::Release => self.release()?,
            Operation::Charge { amount, period, feature, work, job } => {
                self.charge(*amount, *period, feature.as_ref(), *work, job.clone())?
            }
            Operation::Correct { call, amount, work } => self.correct(*call, *amount, *work)?,
        };
        Ok((outcome, source.cloned()))
    }

    fn grant(
        &mut self,
        id: &SourceId,
        (kind, start, end, amount): (LotKind, Timestamp, Timestamp, Credits),
        known: Option<&Source>,
    ) -> Result<(Result<Done, Refusal>, Option<Source>), Broken> {
        if let Some(known) = known {
            let same =
                (known.kind, known.start, known.end, known.granted) == (kind, start, end, amount);
            let outcome = if same {
                Ok(Done::GrantedBefore { lot: known.lot })
            } else {
                Err(Refusal::Conflict)
            };
            return Ok((outcome, Some(known.clone())));
        }
        if end <= start || end <= self.now {
            return Ok((Err(Refusal::Ended), None));
        }
        if !self.has_room(amount) {
            return Ok((Err(Refusal::TooMuch), None));
        }
        let (lot, repaid) = self.open_lot(Some(id.clone()), kind, start, end, amount)?;
        let (granted, nothing) = (amount, Credits::ZERO);
        let source = Source {
            lot,
            kind,
            start,
            end,
            granted,
            expired: nothing,
            voided: nothing,
            reclaimed: nothing,
        };
        Ok((Ok(Done::Granted { lot, repaid }), Some(source)))
    }

    fn open_lot(
        &mut self,
        source: Option<SourceId>,
        lot_kind: LotKind,
        start: Timestamp,
        end: Timestamp,
        amount: Credits,
    ) -> Result<(u32, Credits), Broken> {
        let lot = self.account.lots_opened + 1;
        let repaid = self.account.debt.min(amount);
        self.record(Fact::Grant { source, lot, lot_kind, start, end, amount, repaid })?;
        Ok((lot, repaid))
    }

    fn has_room(&self, amount: Credits) -> bool {
        let mut lots = self.account.lots.iter().map(|lot| lot.remaining);
        lots.try_fold(amount, Credits::checked_add).is_some()
    }

    fn gate(&mut self, until: Timestamp, version: u64) -> Result<Result<Done, Refusal>, Broken> {
        let ignored = version <= self.account.version;
        if !ignored {
            self.record(Fact::Gate { until, version })?;
        }
        Ok(Ok(Done::Gated { ignored }))
    }

    /// Moves the open plan lot to `allowance` less what is used of it, never below what is held: computed from the
    /// allowance and not from the last difference, so that plans changed to and fro never add up.
    fn plan(&mut self, allowance: Credits) -> Result<Result<Done, Refusal>, Broken> {
        let current = |lot: &&Lot| lot.kind == LotKind::Plan && lot.is_open(self.now);
        let Some(lot) = self.account.lots.iter().find(current) else {
            return Ok(Ok(Done::Planned { change: 0 }));
        };
        let used = lot.granted.saturating_sub(lot.remaining);
        let remaining = allowance.saturating_sub(used).max(lot.held);
        let change = remaining.signed() - lot.remaining.signed();
        if change > 0 && !self.has_room(remaining.saturating_sub(lot.remaining)) {
            return Ok(Err(Refusal::TooMuch));
        }
        if change != 0 {
            self.record(Fact::Plan { lot: lot.no, allowance, change })?;
        }
        Ok(Ok(Done::Planned { change }))
    }

    /// Opens the plan lot of `period`, once: a period that starts no later than the newest one is known already.
    fn open_period(&mut self, period: Option<Period>) -> Result<(), Broken> {
        let Some(Period { start, end, allowance }) = period else { return Ok(()) };
        let due = start > self.account.plan_start && start <= self.now && self.now < end;
        if due && !allowance.is_zero() && self.has_room(allowance) {
            self.open_lot(None, LotKind::Plan, start, end, allowance)?;
            self.carry_out_due()?;
        }
        Ok(())
    }

    /// Takes back the unheld part of a source's lot at once. What was used, or is held, becomes debt; what had
    /// expired was lost to the customer before, and is not asked for twice.
    fn void(
        &mut self,
        id: &SourceId,
        total: Credits,
        known: Option<&Source>,
    ) -> Result<(Result<Done, Refusal>, Option<Source>), Broken> {
        let Some(known) = known else { return Ok((Err(Refusal::UnknownSource), None)) };
        let mut source = known.clone();
        let total = total.min(source.granted);
        let due = total.saturating_sub(source.voided);
        if due.is_zero() {
            return Ok((Ok(Done::Voided { taken: due, owed: due }), Some(source)));
        }
        let unheld = self.account.lot(source.lot).map_or(Credits::ZERO, Lot::unheld);
        let taken = due.min(unheld);
        let gone = source.expired.saturating_add(source.reclaimed).saturating_add(unheld);
        let owed = due.saturating_sub(taken).min(source.granted.saturating_sub(gone));
        if self.account.debt.checked_add(owed).is_none() {
            return Ok((Err(Refusal::TooMuch), Some(source)));
        }
        source.voided = total;
        source.reclaimed = source.reclaimed.saturating_add(taken).saturating_add(owed);
        self.record(Fact::Void { source: id.clone(), lot: source.lot, total, taken, owed })?;
        Ok((Ok(Done::Voided { taken, owed }), Some(source)))
    }

    /// Up to `amount` of unheld credits from open lots in burn order, and what is missing.
    fn unheld_parts(&self, amount: Credits) -> (Vec<Part>, Credits) {
        let (mut parts, mut missing) = (Vec::new(), amount);
        for lot in self.account.lots.iter().filter(|lot| lot.is_open(self.now)) {
            let taken = lot.unheld().min(missing);
            if !taken.is_zero() {
                parts.push(Part { lot: lot.no, amount: taken });
                missing = missing.saturating_sub(taken);
            }
        }
        (parts, missing)
    }
}

impl Source {
    /// The source after `entries`: what of its lot they say has expired is noted.
    fn after(&self, entries: &[Entry]) -> Self {
        let expired = |entry: &Entry| match entry.fact {
            Fact::LotExpired { lot, amount } if lot == self.lot => amount,
            _ => Credits::ZERO,
        };
        let sum = entries.iter().map(expired).fold(self.expired, Credits::saturating_add);
        Self { expired: sum, ..self.clone() }
    }
}

/// The first `amount` out of `parts`, in their order.
fn first_of(parts: &[Part], amount: Credits) -> Vec<Part> {
    let mut left = amount;
    let mut taken = Vec::new();
    for part in parts {
        let amount = part.amount.min(left);
        if !amount.is_zero() {
            taken.push(Part { lot: part.lot, amount });
            left = left.saturating_sub(amount);
        }
    }
    taken
}
