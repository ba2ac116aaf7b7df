//! A call's money: hold, extend, settle, release, charge.

use super::{Step, first_of};
use crate::credit::account::{HOLDS_MAX, sum};
use crate::credit::{
    Broken, Credits, Done, ExpiredHold, Fact, Feature, Job, Part, Period, Refusal, Work,
};

impl Step {
    pub(super) fn hold(
        &mut self,
        amount: Credits,
        ttl_millis: u64,
        version: u64,
        period: Option<Period>,
        feature: Option<&Feature>,
    ) -> Result<Result<Done, Refusal>, Broken> {
        // Older than the books where something has changed; newer where the store has lost what it knew.
        if version != self.account.version {
            return Ok(Err(Refusal::Stale { version: self.account.version }));
        }
        if self.now >= self.account.gate_until {
            return Ok(Err(Refusal::Inactive));
        }
        if self.may_settle() {
            return Ok(Err(Refusal::Conflict));
        }
        self.open_period(period)?;
        if self.account.holds.len() >= HOLDS_MAX {
            return Ok(Err(Refusal::TooManyHolds));
        }
        if !self.account.debt.is_zero() {
            return Ok(Err(Refusal::Owed));
        }
        let (parts, missing) = self.unheld_parts(amount);
        if !missing.is_zero() {
            return Ok(Err(self.shortage(missing)));
        }
        let deadline = self.now.after_millis(ttl_millis);
        let feature = feature.cloned();
        self.record(Fact::Hold { hold: self.id, amount, deadline, parts, feature })?;
        Ok(Ok(Done::Held))
    }

    pub(super) fn extend(
        &mut self,
        more: Credits,
        ttl_millis: u64,
        done: Credits,
    ) -> Result<Result<Done, Refusal>, Broken> {
        let Some(hold) = self.account.hold(self.id) else {
            return Ok(Err(Refusal::AlreadyResolved));
        };
        let (so_far, deadline, confirmed) = (hold.amount(), hold.deadline, hold.done);
        if !more.is_zero() && self.now >= self.account.gate_until {
            return Ok(Err(Refusal::Inactive));
        }
        let (added, missing) = self.unheld_parts(more);
        if !missing.is_zero() {
            return Ok(Err(self.shortage(missing)));
        }
        let Some(total) = so_far.checked_add(more) else { return Ok(Err(Refusal::TooMuch)) };
        self.record(Fact::Extend {
            hold: self.id,
            added,
            deadline: deadline.max(self.now.after_millis(ttl_millis)),
            done: done.min(total).max(confirmed),
        })?;
        Ok(Ok(Done::Extended))
    }

    pub(super) fn settle(
        &mut self,
        amount: Credits,
        work: Option<Work>,
        job: Option<Job>,
    ) -> Result<Result<Done, Refusal>, Broken> {
        let (own, charge, late) = match (self.account.hold(self.id), self.expired_hold()) {
            (Some(hold), _) => (first_of(&hold.parts, amount), amount, false),
            // The confirmed part was charged when the hold expired.
            (None, Some(expired)) => (vec![], amount.saturating_sub(expired.charged), true),
            (None, None) => return Ok(Err(Refusal::AlreadyResolved)),
        };
        let (overrun, owed) = self.unheld_parts(charge.saturating_sub(sum(&own)));
        if self.account.debt.checked_add(owed).is_none() {
            return Ok(Err(Refusal::TooMuch));
        }
        let parts = merged(own, &overrun);
        self.record(Fact::Settle { hold: self.id, charged: charge, parts, owed, late, work, job })?;
        Ok(Ok(Done::Settled { charged: charge, owed }))
    }

    pub(super) fn release(&mut self) -> Result<Result<Done, Refusal>, Broken> {
        // One that ran out has given its credits back. That its call came to nothing is still to be said.
        let ran_out = self.expired_hold().is_some_and(|hold| hold.charged.is_zero());
        if self.account.hold(self.id).is_none() && !ran_out {
            return Ok(Err(Refusal::AlreadyResolved));
        }
        self.record(Fact::Release { hold: self.id })?;
        Ok(Ok(Done::Released))
    }

    /// What a settlement charges, where the call's hold may still be settled. Without one, nothing was reserved before
    /// the gate closed: then nothing leaves a lot, and all is owed.
    pub(super) fn charge(
        &mut self,
        amount: Credits,
        period: Option<Period>,
        feature: Option<&Feature>,
        work: Option<Work>,
        job: Option<Job>,
    ) -> Result<Result<Done, Refusal>, Broken> {
        if self.may_settle() {
            return self.settle(amount, work, job);
        }
        let (mut parts, mut owed) = (vec![], amount);
        if self.now < self.account.gate_until {
            self.open_period(period)?;
            (parts, owed) = self.unheld_parts(amount);
        }
        if self.account.debt.checked_add(owed).is_none() {
            return Ok(Err(Refusal::TooMuch));
        }
        let (hold, feature) = (self.id, feature.cloned());
        self.record(Fact::Charge { hold, charged: amount, parts, owed, feature, work, job })?;
        Ok(Ok(Done::Settled { charged: amount, owed }))
    }

    fn shortage(&self, missing: Credits) -> Refusal {
        let held = self.account.funds(self.now).held;
        if missing <= held { Refusal::Held } else { Refusal::Exhausted }
    }

    /// Whether the call has a hold that a settlement would resolve.
    fn may_settle(&self) -> bool {
        self.account.hold(self.id).is_some() || self.expired_hold().is_some()
    }

    /// The operation's hold, if it ran out and may still be settled.
    fn expired_hold(&self) -> Option<&ExpiredHold> {
        let mut expired = self.account.expired.iter();
        expired.find(|hold| hold.id == self.id && self.now < hold.settle_until)
    }
}

fn merged(mut own: Vec<Part>, overrun: &[Part]) -> Vec<Part> {
    own.extend_from_slice(overrun);
    own
}
