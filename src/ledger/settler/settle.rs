//! The end of a call, on its way to the ledger: at once if it takes it, else through the journal.

use std::sync::Arc;
use std::time::Duration;

use super::{Allowed, Charge, Settlement};
use crate::credit::{AccountId, Credits, Done, Id, Operation, Refusal};
use crate::ledger::journal::{Journal, Waiting};
use crate::ledger::{Ledger, LedgerError};

/// Pauses between attempts to settle where neither ledger nor journal can be written.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MOST: Duration = Duration::from_secs(5);

/// Offers one settlement to ledger and journal in turn until one of them has it.
pub(super) async fn settle(ledger: Ledger, journal: Option<Arc<Journal>>, settlement: Settlement) {
    let Settlement { id, running, charge, _slot } = settlement;
    let (account, allowed) = (&running.account, *running.allowed());
    let operation = asked(charge, allowed);
    let mut pause = RETRY_FIRST;
    loop {
        // An unheld call stands in the journal already, and leaves it only by way of it.
        if allowed.is_none() {
            match ledger.apply(account, id, operation.clone()).await {
                Ok(reply) => {
                    let _ = taken(account, id, &operation, reply.outcome);
                    return;
                }
                Err(error @ LedgerError::Frozen { .. }) => {
                    tracing::error!(%account, request = %id, %error, "a call could not be settled");
                    return;
                }
                Err(error @ (LedgerError::Unknown(_) | LedgerError::Unavailable(_))) => {
                    tracing::warn!(%account, request = %id, %error, "a settlement must wait");
                }
            }
        }
        if let Some(journal) = &journal {
            let (account, operation) = (account.clone(), operation.clone());
            let allowed = match charge {
                Charge::Settle(..) => allowed.map_or(Credits::ZERO, |allowed| allowed.amount),
                Charge::Release => Credits::ZERO,
            };
            if journal.end(Waiting { account, id, allowed, operation }).await.is_ok() {
                return;
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MOST);
    }
}

fn asked(charge: Charge, allowed: Option<Allowed>) -> Operation {
    match (charge, allowed) {
        (Charge::Settle(amount, work), None) => Operation::Settle { amount, work },
        (Charge::Settle(amount, work), Some(Allowed { period, .. })) => {
            Operation::Charge { amount, period, work }
        }
        (Charge::Release, _) => Operation::Release,
    }
}

/// What the ledger answered to the end of a call; a refusal that no repetition will change is an error.
pub(super) fn taken(
    account: &AccountId,
    id: Id,
    operation: &Operation,
    outcome: Result<Done, Refusal>,
) -> Result<(), Refusal> {
    match (operation, outcome) {
        // The hold may never have been placed, or have run out.
        (_, Ok(_)) | (Operation::Release, Err(Refusal::AlreadyResolved | Refusal::TooOld)) => {
            Ok(())
        }
        (_, Err(refusal)) => {
            tracing::error!(%account, request = %id, ?operation, %refusal, "a settlement was refused");
            Err(refusal)
        }
    }
}
