//! Work that goes on, and what it turns out to cost.

use creditgate::credit::{CORRECTABLE_MILLIS, Done, Id, JOBS_MAX, Job, Refusal, Timestamp};

use super::{Begun, MAX, Model, Place, credits};

impl Model {
    /// Takes up to `amount` out of `from` as used; how much it was, and lot by lot.
    pub(super) fn pay(&mut self, amount: i128, from: &[(u32, Place)]) -> (i128, Vec<(u32, i128)>) {
        let (mut sum, mut paid) = (0, Vec::new());
        for &place in from {
            let taken = self.take(amount - sum, &[place], Place::Used);
            sum += taken;
            if taken > 0 {
                paid.push((place.0, taken));
            }
        }
        (sum, paid)
    }

    pub(super) fn begin(
        &mut self,
        call: Id,
        job: Option<&Job>,
        (charged, owed, paid): (i128, i128, Vec<(u32, i128)>),
        now: Timestamp,
    ) {
        let Some(job) = job.cloned() else { return };
        self.jobs.retain(|other| other.call != call && now < other.until);
        let until = now.after_millis(CORRECTABLE_MILLIS);
        self.jobs.push(Begun { call, until, charged: charged.min(MAX), owed, paid, job });
        let surplus = self.jobs.len().saturating_sub(JOBS_MAX);
        self.jobs.drain(..surplus);
    }

    /// Too little: as an overrun. Too much: as if the last of it had never been charged.
    pub(super) fn correct(
        &mut self,
        call: Id,
        amount: i128,
        now: Timestamp,
    ) -> Result<Done, Refusal> {
        let before = self.clone();
        let known = |job: &Begun| job.call == call && now < job.until;
        let place = self.jobs.iter().position(known).ok_or(Refusal::AlreadyResolved)?;
        let job = self.jobs.remove(place);
        let (overrun, _) = self.pay((amount - job.charged).max(0), &self.usable(now));
        let owed = (amount - job.charged).max(0) - overrun;
        self.debt += owed;
        let surplus = (job.charged - amount).max(0);
        let unowed = surplus.min(job.owed);
        let unpaid = unowed.min(self.debt);
        self.debt -= unpaid;
        let mut left = surplus - unowed;
        for (lot, paid) in job.paid.into_iter().rev() {
            let portion = paid.min(left);
            left -= portion;
            if self.lots.iter().any(|terms| terms.no == lot && !terms.forgotten) {
                self.refill(lot, portion);
            }
        }
        let mut homeless = left + unowed - unpaid;
        for lot in self.open_lots(now) {
            if self.lots.iter().any(|terms| terms.no == lot && !terms.forgotten) {
                homeless -= self.refill(lot, homeless);
            }
        }
        if self.debt > MAX || self.in_lots() > MAX {
            *self = before;
            return Err(Refusal::TooMuch);
        }
        let (before, charged) = (credits(job.charged), credits(amount));
        Ok(Done::Corrected { before, charged, owed: credits(owed) })
    }

    /// What a refund asks back of `lot` as debt, the open jobs owe that it had paid for, the oldest first.
    pub(super) fn owe(&mut self, lot: u32, owed: i128, now: Timestamp) {
        let mut left = owed;
        for job in self.jobs.iter_mut().filter(|job| now < job.until) {
            for (_, paid) in job.paid.iter_mut().filter(|(from, _)| *from == lot) {
                let asked = left.min(*paid);
                *paid -= asked;
                job.owed += asked;
                left -= asked;
            }
            job.paid.retain(|(_, paid)| *paid > 0);
        }
    }

    /// Up to `amount` of what has left the lot comes back to it.
    fn refill(&mut self, lot: u32, amount: i128) -> i128 {
        let gone = [Place::Used, Place::Repaid, Place::Voided, Place::Expired];
        let from: Vec<_> = gone.into_iter().map(|place| (lot, place)).collect();
        self.take(amount, &from, Place::Free)
    }
}
