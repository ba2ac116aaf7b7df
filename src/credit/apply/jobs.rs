//! The correction of what a job was charged.

use super::Step;
use crate::credit::account::sum;
use crate::credit::{Broken, Credits, Done, Fact, Id, OpenJob, Part, Refusal, Work};

/// Where credits go that were charged too much.
struct Return {
    back: Vec<Part>,
    repaid: Credits,
    lost: Credits,
}

impl Step {
    /// Makes `amount` of what the job of `call` was charged, once. What was charged too much goes back where it came from,
    /// the last first; what was charged too little takes unheld credits in burn order, and is owed beyond them.
    pub(super) fn correct(
        &mut self,
        call: Id,
        amount: Credits,
        work: Option<Work>,
    ) -> Result<Result<Done, Refusal>, Broken> {
        let Some(job) = self.account.job(call).filter(|job| self.now < job.correct_until) else {
            return Ok(Err(Refusal::AlreadyResolved));
        };
        let before = job.charged;
        let Return { back, repaid, lost } = self.returned(job, before.saturating_sub(amount));
        let (parts, owed) = self.unheld_parts(amount.saturating_sub(before));
        if self.account.debt.checked_add(owed).is_none() || !self.has_room(sum(&back)) {
            return Ok(Err(Refusal::TooMuch));
        }
        self.record(Fact::Correct {
            hold: call,
            charged: amount,
            before,
            back,
            repaid,
            lost,
            parts,
            owed,
            work,
        })?;
        Ok(Ok(Done::Corrected { before, charged: amount, owed }))
    }

    /// Of what `job` owed and does not owe any more, the debt there still is goes. The rest of that was repaid, nobody
    /// knows any more from which lots: it goes to open lots in burn order, as far as something is missing there. What came
    /// from a lot goes back to it; if that has ended, it expires there at once.
    fn returned(&self, job: &OpenJob, amount: Credits) -> Return {
        let owed = amount.min(job.owed);
        let repaid = owed.min(self.account.debt);
        let (mut back, mut left) = (Vec::new(), amount.saturating_sub(owed));
        for part in job.parts.iter().rev() {
            let portion = part.amount.min(left);
            left = left.saturating_sub(portion);
            self.give(&mut back, part.lot, portion);
        }
        let mut homeless = left.saturating_add(owed.saturating_sub(repaid));
        for lot in self.account.lots.iter().filter(|lot| lot.is_open(self.now)) {
            let given = self.give(&mut back, lot.no, homeless);
            homeless = homeless.saturating_sub(given);
        }
        let lost = amount.saturating_sub(repaid).saturating_sub(sum(&back));
        Return { back, repaid, lost }
    }

    /// Adds to `back` what of `amount` the lot was granted and does not have; how much that is.
    fn give(&self, back: &mut Vec<Part>, lot: u32, amount: Credits) -> Credits {
        let Some(lot) = self.account.lot(lot) else { return Credits::ZERO };
        let before: Vec<Part> = back.iter().filter(|part| part.lot == lot.no).copied().collect();
        let missing = lot.granted.saturating_sub(lot.remaining).saturating_sub(sum(&before));
        let given = amount.min(missing);
        if !given.is_zero() {
            back.push(Part { lot: lot.no, amount: given });
        }
        given
    }
}
