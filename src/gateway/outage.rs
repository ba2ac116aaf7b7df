//! What becomes of a metered call whose credits can't be held because the ledger is away (semantics.md section 4):
//! refused, or let through within an allowance and charged afterwards.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::rejection::Rejection;
use crate::config::{OnOutage, Outage as Rules};
use crate::credit::{AccountId, Refusal};
use crate::ledger::journal::NotAllowed;
use crate::ledger::{Allowed, Call, LedgerError};
use crate::metrics::{Metrics, Unheld};

/// Accounts that are remembered as refused.
const REMEMBERED: usize = 100_000;

/// The rules for outages, and who is not let through.
pub struct Outage {
    rules: Rules,
    /// Accounts that the ledger refused when it was last asked: without credits, in debt or inactive.
    refused: Cache<AccountId, ()>,
    metrics: Arc<Metrics>,
}

impl Outage {
    pub fn new(rules: Rules, metrics: Arc<Metrics>) -> Self {
        Self { rules, refused: Cache::new(REMEMBERED), metrics }
    }

    /// Whether calls may go on without a hold.
    pub fn allows(&self) -> bool {
        self.rules.on_outage == OnOutage::Allow
    }

    /// The ledger has held credits of `account`, or said why not.
    pub fn answered(&self, account: &AccountId, hold: Result<(), &Refusal>) {
        if !self.allows() {
            return;
        }
        let cannot_pay =
            |refusal| matches!(refusal, &Refusal::Exhausted | &Refusal::Owed | &Refusal::Inactive);
        if hold.is_ok() {
            self.refused.remove(account);
        } else if hold.is_err_and(cannot_pay) {
            self.refused.insert(account.clone(), ());
        }
    }

    /// Whether `call` may go on after `error`, which says why nothing is known of its hold.
    pub async fn let_through(
        &self,
        call: &Call,
        account: &AccountId,
        allowed: Allowed,
        error: LedgerError,
    ) -> Result<(), Rejection> {
        let away = match error {
            LedgerError::Unknown(_) | LedgerError::Unavailable(_) => true,
            // The ledger answered: this account's books are broken.
            LedgerError::Frozen { .. } => false,
        };
        if !away || !self.allows() {
            return Err(error.into());
        }
        let allowed = if self.refused.get(account).is_some() {
            Err(NotAllowed::Spent)
        } else {
            call.allow(allowed, self.rules.allowance).await
        };
        self.metrics.unheld_call(match allowed {
            Ok(()) => Unheld::Allowed,
            Err(NotAllowed::Spent) => Unheld::Refused,
            Err(NotAllowed::Journal(_)) => Unheld::NotWritten,
        });
        tracing::warn!(%account, request = %call.id(), %error, allowed = allowed.is_ok(), "the ledger is away");
        allowed.map_err(|_| Rejection::LedgerAway)
    }
}
