//! Giving credits, and taking them back.
//!
//! A source (an invoice, a checkout, an administrator's operation) grants once, for ever. A repeat is told by what its
//! caller sent: what was filled in for it the first time, such as the instant, may be another one by now.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::input::{Amount, Body, Instant, Named};
use super::problem::{Kind, Problem};
use super::{Admin, fresh_id};
use crate::credit::{
    AccountId, Done, LotKind, Operation, Refusal, Source, SourceId, Timestamp, purchase_end,
};
use crate::statement::{Decimal, rfc3339};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    source: SourceId,
    kind: GrantKind,
    credits: Amount,
    /// Now, if it isn't said.
    starts: Option<Instant>,
    /// For a purchase the end of the local day, 6 months after its start; for a gift never, if it isn't said.
    ends: Option<Instant>,
}

/// What can be granted. Plan credits come from the plan.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum GrantKind {
    Gift,
    Purchased,
}

#[derive(Serialize)]
pub(super) struct Granted {
    account: AccountId,
    source: SourceId,
    kind: LotKind,
    credits: Decimal,
    lot: u32,
    /// What of it went to the debt at once. Not said of a repeat.
    repaid: Option<Decimal>,
    starts_at: Option<String>,
    ends_at: Option<String>,
    /// Whether the grant was made before, and nothing was done now.
    repeated: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewVoid {
    source: SourceId,
    /// Counted over all refunds of the source so far.
    credits: Amount,
}

#[derive(Serialize)]
pub(super) struct Voided {
    account: AccountId,
    source: SourceId,
    /// What was taken out of the lot now.
    taken: Decimal,
    /// What is owed now because it was used or is held.
    owed: Decimal,
}

pub(super) async fn grant(
    State(admin): State<Arc<Admin>>,
    Named(account): Named<AccountId>,
    Body(new): Body<New>,
) -> Result<(StatusCode, Json<Granted>), Problem> {
    let record = admin.record(&account).await?;
    if new.credits.0.is_zero() {
        return Err(Problem::malformed("`credits` must be more than nothing"));
    }
    if let Some(known) = admin.ledger.source(&account, &new.source).await? {
        return new.repeated(account, &known);
    }
    let start = new.starts.map_or_else(|| admin.this_second(), |Instant(start)| start);
    let end = match (new.ends, new.kind) {
        (Some(Instant(end)), _) => end,
        (None, GrantKind::Gift) => Timestamp::MAX,
        (None, GrantKind::Purchased) => purchase_end(start, record.zone)
            .ok_or_else(|| Problem::malformed("`starts` lies beyond the calendar"))?,
    };
    let (source, kind, amount) = (new.source.clone(), new.kind.into(), new.credits.0);
    let operation = Operation::Grant { source, kind, start, end, amount };
    match admin.ledger.apply(&account, fresh_id(), operation).await?.outcome {
        Ok(Done::Granted { lot, repaid }) => {
            let window = (rfc3339(start), rfc3339(end));
            let granted = new.granted(account, lot, window, Some(Decimal(repaid)));
            Ok((StatusCode::CREATED, Json(granted)))
        }
        // Somebody was faster: the same grant, a moment ago.
        Ok(Done::GrantedBefore { .. }) | Err(Refusal::Conflict) => {
            let known = admin.ledger.source(&account, &new.source).await?;
            let known = known.ok_or_else(|| Problem::internal(&"a source in use is not known"))?;
            new.repeated(account, &known)
        }
        Ok(other) => Err(Problem::internal(&format_args!("a grant came to {other:?}"))),
        Err(refusal) => Err(Problem::of_refusal(&refusal)),
    }
}

pub(super) async fn void(
    State(admin): State<Arc<Admin>>,
    Named(account): Named<AccountId>,
    Body(new): Body<NewVoid>,
) -> Result<Json<Voided>, Problem> {
    admin.record(&account).await?;
    let operation = Operation::Void { source: new.source.clone(), total: new.credits.0 };
    match admin.ledger.apply(&account, fresh_id(), operation).await?.outcome {
        Ok(Done::Voided { taken, owed }) => {
            let (taken, owed) = (Decimal(taken), Decimal(owed));
            Ok(Json(Voided { account, source: new.source, taken, owed }))
        }
        Ok(other) => Err(Problem::internal(&format_args!("a void came to {other:?}"))),
        Err(refusal) => Err(Problem::of_refusal(&refusal)),
    }
}

impl New {
    /// Whether this asks for what `known` was granted for.
    fn repeated(
        self,
        account: AccountId,
        known: &Source,
    ) -> Result<(StatusCode, Json<Granted>), Problem> {
        let same = known.kind == self.kind.into()
            && known.granted == self.credits.0
            && self.starts.is_none_or(|Instant(start)| start == known.start)
            && self.ends.is_none_or(|Instant(end)| end == known.end);
        if same {
            let window = (rfc3339(known.start), rfc3339(known.end));
            return Ok((StatusCode::OK, Json(self.granted(account, known.lot, window, None))));
        }
        let (source, kind, granted) = (&self.source, known.kind.as_str(), known.granted);
        let window = match (rfc3339(known.start), rfc3339(known.end)) {
            (Some(start), Some(end)) => format!("from {start} until {end}"),
            (start, _) => format!("from {} without an end", start.unwrap_or_default()),
        };
        Err(Problem::new(
            Kind::SourceUsed,
            format!(
                "the source `{source}` has granted {granted} {kind} credits before, {window}; nothing was changed. A new \
                 grant needs a new source"
            ),
        ))
    }

    fn granted(
        self,
        account: AccountId,
        lot: u32,
        (starts_at, ends_at): (Option<String>, Option<String>),
        repaid: Option<Decimal>,
    ) -> Granted {
        let (source, kind, credits) = (self.source, self.kind.into(), Decimal(self.credits.0));
        let repeated = repaid.is_none();
        Granted { account, source, kind, credits, lot, repaid, starts_at, ends_at, repeated }
    }
}

impl From<GrantKind> for LotKind {
    fn from(kind: GrantKind) -> Self {
        match kind {
            GrantKind::Gift => Self::Gift,
            GrantKind::Purchased => Self::Purchased,
        }
    }
}
