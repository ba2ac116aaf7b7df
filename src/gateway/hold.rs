//! The credits of a metered call, reserved before its provider is asked; or why not.

use std::time::{Duration, Instant};

use http::request;

use super::Gateway;
use super::auth::Caller;
use super::record::Record;
use super::rejection::Rejection;
use super::tenancy;
use crate::credit::{AccountId, Credits, Funds, Id, Operation, Period, Refusal};
use crate::directory::Check;
use crate::ledger::owned::Thing;
use crate::ledger::{Call, LedgerError};
use crate::metrics::{HoldOutcome, LedgerResult};

/// How long the ledger may take for a hold. The guard gives back what may have been reserved in spite of it.
const HOLD_LIMIT: Duration = Duration::from_secs(5);

/// How often a hold is tried again because the account's record had changed meanwhile.
const STALE_RETRIES: u32 = 3;

impl Gateway {
    /// Reserves `price` if the account owns all of `things`, or says why not. A caller whose record has changed since it was read is identified anew. There
    /// are no funds to tell of where the ledger is away and the call goes on without a hold.
    pub(super) async fn hold(
        &self,
        head: &request::Parts,
        mut caller: Caller,
        price: Credits,
        things: &[Thing],
        record: &mut Record,
    ) -> Result<(Call, Option<Funds>), Rejection> {
        let slot = self.settler.slot().ok_or(Rejection::Busy)?;
        let call = self.settler.guard(slot, caller.record.account.clone(), record.id);
        let mut was_foreign = false;
        for _ in 0..=STALE_RETRIES {
            let (plan, account) = (self.plan(&caller)?, &caller.record.account);
            let period = caller.record.period(plan.monthly_credits, (self.clock)());
            let operation = Operation::Hold {
                amount: price,
                ttl_millis: u64::try_from(self.settler.ttl().as_millis()).unwrap_or(u64::MAX),
                version: caller.version(),
                period,
            };
            let refusal = match self.ask(account, record.id, operation, things).await {
                // What another gateway has seen made may be on its way to the ledger.
                Ok(None) if self.ledger.is_shared() && !was_foreign => {
                    was_foreign = true;
                    tokio::time::sleep(tenancy::ON_ITS_WAY).await;
                    continue;
                }
                Ok(None) => {
                    call.was_refused();
                    self.metrics.hold_ended(HoldOutcome::Refused);
                    return Err(Rejection::NoSuchThing);
                }
                Ok(Some((Ok(()), funds))) => {
                    self.outage.answered(account, Ok(()));
                    record.held = Some(price);
                    return Ok((call, Some(funds)));
                }
                Ok(Some((Err(refusal), _))) => refusal,
                // Whose they are can't be told, unless it is known here.
                Err(error) if !self.tenancy.knows_all(account, things) => return Err(error.into()),
                Err(error) => {
                    return self
                        .without_hold(head, call, (account, price, period), error, record)
                        .await;
                }
            };
            if matches!(refusal, Refusal::Stale { .. }) {
                caller.forget(&self.directory);
                caller = self.identify(head, Check::Age, record).await?;
                continue;
            }
            self.outage.answered(account, Err(&refusal));
            call.was_refused();
            self.metrics.hold_ended(HoldOutcome::Refused);
            return Err(Rejection::of_hold(&refusal, plan.pace.when_exhausted));
        }
        Err(Rejection::LedgerAway)
    }

    async fn ask(
        &self,
        account: &AccountId,
        id: Id,
        operation: Operation,
        things: &[Thing],
    ) -> Result<Option<(Result<(), Refusal>, Funds)>, LedgerError> {
        let asked = Instant::now();
        let asking = self.ledger.apply_if_owned(account, id, operation, things);
        let answer = tokio::time::timeout(HOLD_LIMIT, asking).await.unwrap_or_else(|_| {
            Err(LedgerError::Unknown(format!("no answer within {HOLD_LIMIT:?}")))
        });
        let result = match &answer {
            Ok(Some(reply)) if reply.outcome.is_ok() => LedgerResult::Done,
            Ok(_) => LedgerResult::Refused,
            Err(_) => LedgerResult::Failed,
        };
        self.metrics.ledger_answered("hold", result, asked.elapsed());
        Ok(answer?.map(|reply| (reply.outcome.map(|_| ()), reply.funds)))
    }

    /// Lets a call go on whose credits can't be held, if that is allowed. `error`: why they can't.
    async fn without_hold(
        &self,
        head: &request::Parts,
        call: Call,
        (account, price, period): (&AccountId, Credits, Option<Period>),
        error: LedgerError,
        record: &mut Record,
    ) -> Result<(Call, Option<Funds>), Rejection> {
        let may_be_held = matches!(error, LedgerError::Unknown(_));
        let allowed = async {
            if self.outage.allows() {
                // No hold will tell whether what is known of the caller is still true.
                self.identify(head, Check::Age, record).await?;
            }
            self.outage.let_through(&call, account, price, period, error).await
        };
        match allowed.await {
            Ok(()) => {
                (record.held, record.unheld) = (Some(price), true);
                Ok((call, None))
            }
            Err(rejection) => {
                // What surely did not happen need not be given back.
                if !may_be_held {
                    call.was_refused();
                }
                Err(rejection)
            }
        }
    }
}
