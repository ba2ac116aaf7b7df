//! Jobs whose charge may be corrected, as the books keep them.

use super::Account;
use crate::credit::account::Broken;
use crate::credit::{CORRECTABLE_MILLIS, Credits, Id, Job, OpenJob, Part, Timestamp};

impl Account {
    /// From now on the charge of `call` may be corrected, if it began a job.
    pub(super) fn await_job(
        &mut self,
        call: Id,
        job: Option<&Job>,
        (charged, owed, parts): (Credits, Credits, &[Part]),
        at: Timestamp,
    ) {
        let Some(job) = job.cloned() else { return };
        self.jobs.retain(|other| other.call != call);
        let (parts, correct_until) = (parts.to_vec(), at.after_millis(CORRECTABLE_MILLIS));
        self.jobs.push(OpenJob { call, correct_until, charged, owed, parts, job });
    }

    /// A refund made `owed` of what was used of `lot` a debt. What open jobs used of it may turn out to be too much: then
    /// it is this debt that goes, also when the lot has ended or the gate is closed.
    pub(super) fn ask_back(&mut self, lot: u32, owed: Credits, at: Timestamp) {
        let mut left = owed;
        for job in self.jobs.iter_mut().filter(|job| at < job.correct_until) {
            for part in job.parts.iter_mut().filter(|part| part.lot == lot) {
                let asked = part.amount.min(left);
                left = left.saturating_sub(asked);
                part.amount = part.amount.saturating_sub(asked);
                job.owed = job.owed.saturating_add(asked);
            }
            job.parts.retain(|part| !part.amount.is_zero());
        }
    }

    /// The charge of `call` has been corrected.
    pub(super) fn close_job(&mut self, call: Id) -> Result<(), Broken> {
        let place = self.jobs.iter().position(|job| job.call == call);
        let place = place.ok_or_else(|| Broken(format!("no job of {call} is open")))?;
        self.jobs.remove(place);
        Ok(())
    }
}
