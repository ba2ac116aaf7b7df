//! What a call does: hold, extend, settle, charge.

use creditgate::credit::{Done, ExpiredHold, HOLDS_MAX, Id, Job, Period, Refusal, Timestamp};

use super::{MAX, Model, Place, Running, credits, micros};

impl Model {
    pub(super) fn hold(
        &mut self,
        id: Id,
        amount: i128,
        deadline: Timestamp,
        period: Option<Period>,
        now: Timestamp,
    ) -> Result<Done, Refusal> {
        if now >= self.gate {
            return Err(Refusal::Inactive);
        }
        let settleable = |old: &ExpiredHold| old.id == id && now < old.settle_until;
        if self.running.iter().any(|old| old.id == id) || self.expired.iter().any(settleable) {
            return Err(Refusal::Conflict);
        }
        self.open_period(period, now);
        if self.running.len() >= HOLDS_MAX {
            return Err(Refusal::TooManyHolds);
        }
        if self.debt > 0 {
            return Err(Refusal::Owed);
        }
        self.enough_for(amount, now)?;
        self.reserve(id, amount, now);
        self.running.push(Running { id, deadline, done: 0 });
        // Open holds have no order of their own: they are told by their ids.
        self.running.sort_by_key(|hold| hold.id);
        Ok(Done::Held)
    }

    pub(super) fn extend(
        &mut self,
        id: Id,
        more: i128,
        deadline: Timestamp,
        done: i128,
        now: Timestamp,
    ) -> Result<Done, Refusal> {
        if !self.running.iter().any(|hold| hold.id == id) {
            return Err(Refusal::AlreadyResolved);
        }
        if more > 0 {
            if now >= self.gate {
                return Err(Refusal::Inactive);
            }
            self.enough_for(more, now)?;
        }
        self.reserve(id, more, now);
        let held: i128 = self.parts_of(id).iter().map(|&(lot, part)| self.at(lot, part)).sum();
        for hold in self.running.iter_mut().filter(|hold| hold.id == id) {
            hold.deadline = hold.deadline.max(deadline);
            hold.done = hold.done.max(done.min(held));
        }
        Ok(Done::Extended)
    }

    pub(super) fn settle(
        &mut self,
        id: Id,
        amount: i128,
        job: Option<&Job>,
        now: Timestamp,
    ) -> Result<Done, Refusal> {
        let before = self.clone();
        let settleable = |old: &ExpiredHold| old.id == id && now < old.settle_until;
        let mut confirmed = 0;
        let charge = if self.running.iter().any(|hold| hold.id == id) {
            amount
        } else if let Some(at) = self.expired.iter().position(settleable) {
            confirmed = micros(self.expired.remove(at).charged);
            (amount - confirmed).max(0)
        } else {
            return Err(Refusal::AlreadyResolved);
        };
        // What was written before in this step has forgotten what was empty then.
        self.forget(now);
        let (own, mut paid) = self.pay(charge, &self.parts_of(id));
        self.end_hold(id);
        let (overrun, more) = self.pay(charge - own, &self.usable(now));
        paid.extend(more);
        let owed = charge - own - overrun;
        self.debt += owed;
        if self.debt > MAX {
            *self = before;
            return Err(Refusal::TooMuch);
        }
        self.begin(id, job, (confirmed + charge, owed, paid), now);
        Ok(Done::Settled { charged: credits(charge), owed: credits(owed) })
    }

    /// A call that ran without asking: its hold pays if there is one after all, else whatever is free while the gate
    /// is open, and the account owes the rest.
    pub(super) fn charge(
        &mut self,
        id: Id,
        amount: i128,
        period: Option<Period>,
        job: Option<&Job>,
        now: Timestamp,
    ) -> Result<Done, Refusal> {
        match self.settle(id, amount, job, now) {
            Err(Refusal::AlreadyResolved) => {}
            settled => return settled,
        }
        let open = now < self.gate;
        if open {
            self.open_period(period, now);
        }
        let free = if open { self.usable(now) } else { vec![] };
        let there: i128 = free.iter().map(|&(lot, place)| self.at(lot, place)).sum();
        let owed = (amount - there).max(0);
        if self.debt + owed > MAX {
            return Err(Refusal::TooMuch);
        }
        self.forget(now);
        let (_, paid) = self.pay(amount, &free);
        self.debt += owed;
        self.begin(id, job, (amount, owed, paid), now);
        Ok(Done::Settled { charged: credits(amount), owed: credits(owed) })
    }

    /// Gives back what is still held for `id`; nothing if no such hold is open.
    pub(super) fn end_hold(&mut self, id: Id) -> Option<()> {
        let at = self.running.iter().position(|hold| hold.id == id)?;
        self.running.remove(at);
        self.take(MAX, &self.parts_of(id), Place::Free);
        Some(())
    }

    fn reserve(&mut self, id: Id, amount: i128, now: Timestamp) {
        self.parts += 1;
        self.take(amount, &self.usable(now), Place::Held(id, self.parts));
    }

    fn enough_for(&self, amount: i128, now: Timestamp) -> Result<(), Refusal> {
        let open = self.open_lots(now);
        let short = amount - open.iter().map(|no| self.at(*no, Place::Free)).sum::<i128>();
        let held: i128 = open.iter().map(|no| self.held(*no)).sum();
        match short {
            ..=0 => Ok(()),
            _ if short <= held => Err(Refusal::Held),
            _ => Err(Refusal::Exhausted),
        }
    }
}
