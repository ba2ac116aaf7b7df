//! The heartbeat: extends the holds of calls that run for long, and notes the work confirmed so far.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};

use super::{Running, Shared};
use crate::credit::{Credits, Id, Operation};
use crate::ledger::Ledger;

/// Beats for each running call that is due, as long as there is a settler.
pub(super) async fn beat(ledger: Ledger, shared: Weak<Shared>) {
    loop {
        let Some(pause) = shared.upgrade().map(|shared| shared.ttl / 3) else { return };
        tokio::time::sleep(pause / 2).await;
        let Some(shared) = shared.upgrade() else { return };
        let due: Vec<_> = {
            let running = shared.running.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = |call: &Running| {
                call.since.elapsed() >= pause * (call.beats.load(Ordering::Relaxed) + 1)
            };
            let due = running.iter().filter(|(_, call)| is_due(call));
            due.map(|(id, call)| (*id, Arc::clone(call))).collect()
        };
        for (id, call) in due {
            let beat = call.beats.fetch_add(1, Ordering::Relaxed) + 1;
            let (ledger, shared) = (ledger.clone(), Arc::clone(&shared));
            tokio::spawn(async move { report(&ledger, &shared, id, &call, beat).await });
        }
    }
}

/// One beat of one call: to the ledger that holds its credits, or to the journal if it has no hold.
async fn report(ledger: &Ledger, shared: &Shared, id: Id, call: &Running, beat: u32) {
    let done = call.done();
    let allowed = call.allowed().clone();
    let lost = if let (Some(allowed), Some(journal)) = (allowed, &shared.journal) {
        journal
            .confirm(id, allowed.charge(done, None, None))
            .await
            .err()
            .map(|error| error.to_string())
    } else {
        let ttl_millis = u64::try_from(shared.ttl.as_millis()).unwrap_or(u64::MAX);
        let extend = Operation::Extend { beat, more: Credits::ZERO, ttl_millis, done };
        ledger.apply(&call.account, id, extend).await.err().map(|error| error.to_string())
    };
    if let Some(error) = lost {
        // A beat that is lost is made good by the next one.
        tracing::warn!(account = %call.account, request = %id, error, "a heartbeat was lost");
    }
}
