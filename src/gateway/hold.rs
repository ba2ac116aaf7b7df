//! The credits of a metered call, reserved before its provider is asked; or why not.

use std::time::{Duration, Instant};

use http::request;

use super::auth::Caller;
use super::peek::Peek;
use super::record::Record;
use super::rejection::Rejection;
use super::{Gateway, Target, tenancy};
use crate::credit::{
    AccountId, Claims, Credits, Funds, Id, Operation, Period, Price, Refusal, Repeated,
};
use crate::directory::Check;
use crate::ledger::owned::Thing;
use crate::ledger::{Call, Claimed, LedgerError};
use crate::metrics::{HoldOutcome, LedgerResult};
use crate::policy::Terms;

/// How long the ledger may take for a hold. The guard gives back what may have been reserved in spite of it.
const HOLD_LIMIT: Duration = Duration::from_secs(5);

/// How often a hold is tried again because the account's record had changed meanwhile.
const STALE_RETRIES: u32 = 3;

/// A call that may be made.
pub struct Held {
    /// The guard of its hold.
    pub call: Call,
    /// What the account could spend after it; nobody knows where the ledger is away and the call goes on without a hold.
    pub funds: Option<Funds>,
    /// Another call pays for it.
    pub rides: bool,
}

/// What the ledger says to a hold.
enum Answered {
    Held {
        rides: bool,
    },
    Refused(Refusal),
    Repeated(Repeated),
    /// One of the things is not the account's.
    Foreign,
}

impl Gateway {
    /// What the work costs that a request asks for.
    pub(super) fn quote(
        &self,
        terms: Terms,
        target: &Target<'_>,
        peek: &Peek,
        feature: Option<&str>,
    ) -> Result<Price, Rejection> {
        let models: Vec<&str> = peek.model.iter().chain(&peek.others).map(String::as_str).collect();
        let quoted = target.place.quote(terms, &self.config.prices, &models, feature);
        let unpriced = || {
            let operation = target.place.route.operation.as_str();
            if models.is_empty() { operation.to_owned() } else { models.join("`, `") }
        };
        quoted.map(|quoted| quoted.price).ok_or_else(|| Rejection::NoPrice { model: unpriced() })
    }

    /// Reserves `price` if the account owns all of `things`, or says why not. A caller whose record has changed since it was
    /// read is identified anew. `claims`: other calls to which it may belong.
    pub(super) async fn hold(
        &self,
        head: &request::Parts,
        mut caller: Caller,
        price: Credits,
        (claims, things): (Option<&Claims>, &[Thing]),
        record: &mut Record,
    ) -> Result<Held, Rejection> {
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
            let refusal = match self.ask(account, record.id, operation, (claims, things)).await {
                // What another gateway has seen made may be on its way to the ledger.
                Ok((Answered::Foreign, _)) if self.ledger.is_shared() && !was_foreign => {
                    was_foreign = true;
                    tokio::time::sleep(tenancy::ON_ITS_WAY).await;
                    continue;
                }
                Ok((Answered::Foreign, _)) => {
                    call.was_refused();
                    self.metrics.hold_ended(HoldOutcome::Refused);
                    return Err(Rejection::NoSuchThing);
                }
                Ok((Answered::Held { rides }, funds)) => {
                    self.outage.answered(account, Ok(()));
                    record.held = Some(if rides { Credits::ZERO } else { price });
                    return Ok(Held { call, funds, rides });
                }
                Ok((Answered::Refused(refusal), _)) => refusal,
                Ok((Answered::Repeated(repeated), _)) => {
                    call.was_refused();
                    return Err(repeated.into());
                }
                // Whose they are can't be told, unless it is known here.
                Err(error) if !self.tenancy.knows_all(account, things) => return Err(error.into()),
                Err(error) => {
                    let may_repeat = claims.is_some_and(|claims| claims.key.is_some());
                    let asked = (account, price, period);
                    return self.without_hold(head, call, asked, may_repeat, error, record).await;
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
            let status = caller.record.when_exhausted.unwrap_or(plan.pace.when_exhausted);
            return Err(Rejection::of_hold(&refusal, status));
        }
        Err(Rejection::LedgerAway)
    }

    async fn ask(
        &self,
        account: &AccountId,
        id: Id,
        operation: Operation,
        (claims, things): (Option<&Claims>, &[Thing]),
    ) -> Result<(Answered, Option<Funds>), LedgerError> {
        let asked = Instant::now();
        let asking = async {
            match claims {
                None => {
                    let reply = self.ledger.apply_if_owned(account, id, operation, things).await?;
                    Ok(reply.map(|reply| Claimed::Answered { reply, rides: false }))
                }
                // Both at once are rare enough to be asked one after the other.
                Some(_) if !self.ledger.owns(account, things).await?.into_iter().all(|own| own) => {
                    Ok(None)
                }
                Some(claims) => self.ledger.hold(account, id, operation, *claims).await.map(Some),
            }
        };
        let answer = tokio::time::timeout(HOLD_LIMIT, asking).await.unwrap_or_else(|_| {
            Err(LedgerError::Unknown(format!("no answer within {HOLD_LIMIT:?}")))
        });
        let result = match &answer {
            Ok(Some(Claimed::Answered { reply, .. })) if reply.outcome.is_ok() => {
                LedgerResult::Done
            }
            Ok(_) => LedgerResult::Refused,
            Err(_) => LedgerResult::Failed,
        };
        self.metrics.ledger_answered("hold", result, asked.elapsed());
        Ok(match answer? {
            None => (Answered::Foreign, None),
            Some(Claimed::Answered { reply, rides }) => {
                let answered = reply.outcome.map(|_| Answered::Held { rides });
                (answered.unwrap_or_else(Answered::Refused), Some(reply.funds))
            }
            Some(Claimed::Repeated(repeated)) => (Answered::Repeated(repeated), None),
        })
    }

    /// Lets a call go on whose credits can't be held, if that is allowed. `error`: why they can't. One that may repeat
    /// another is never let through: nobody knows whether that one was charged.
    async fn without_hold(
        &self,
        head: &request::Parts,
        call: Call,
        (account, price, period): (&AccountId, Credits, Option<Period>),
        may_repeat: bool,
        error: LedgerError,
        record: &mut Record,
    ) -> Result<Held, Rejection> {
        let may_be_held = matches!(error, LedgerError::Unknown(_));
        let allowed = async {
            if may_repeat {
                return Err(error.into());
            }
            if self.outage.allows() {
                // No hold will tell whether what is known of the caller is still true.
                self.identify(head, Check::Age, record).await?;
            }
            self.outage.let_through(&call, account, price, period, error).await
        };
        match allowed.await {
            Ok(()) => {
                (record.held, record.unheld) = (Some(price), true);
                Ok(Held { call, funds: None, rides: false })
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
