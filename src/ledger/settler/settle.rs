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
    let Settlement { account, id, operation, allowed, delivered, _slot } = settlement;
    let account = &account;
    // First, while the open hold still keeps repetitions away. Lost, the answer may be sent again.
    if let Some(key) = delivered
        && let Err(error) = ledger.delivered(account, key, id).await
    {
        tracing::warn!(%account, request = %id, %error, "it is not noted that an answer was delivered");
    }
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
            let allowed = match operation {
                Operation::Release => Credits::ZERO,
                _ => allowed.as_ref().map_or(Credits::ZERO, |allowed| allowed.amount),
            };
            if journal.end(Waiting { account, id, allowed, operation }).await.is_ok() {
                return;
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MOST);
    }
}

pub(super) fn asked(charge: Charge, allowed: Option<&Allowed>) -> Operation {
    match (charge, allowed) {
        (Charge::Settle(amount, work, job), None) => Operation::Settle { amount, work, job },
        (Charge::Settle(amount, work, job), Some(allowed)) => allowed.charge(amount, work, job),
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
        (Operation::Correct { call, .. }, Ok(Done::Corrected { before, charged, owed })) => {
            tracing::info!(
                %account, request = %call, %before, %charged, %owed, "the charge of a job was corrected"
            );
            Ok(())
        }
        // Another gateway saw the job's end as well.
        (Operation::Correct { .. }, Err(Refusal::AlreadyResolved)) => Ok(()),
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
