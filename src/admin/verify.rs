//! Whether the books keep their own rules.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::Admin;
use super::problem::Problem;
use crate::credit::{AccountId, Id};
use crate::ledger::audit::{Finding, Report, Unsettled};
use crate::statement::{Decimal, rfc3339};

#[derive(Serialize)]
pub(super) struct Verified {
    /// Whether no rule is broken.
    clean: bool,
    accounts: u64,
    entries: u64,
    open_holds: u64,
    broken: Vec<Finding>,
    /// Calls that may have been served unpaid. No rule is broken by them.
    unsettled: Vec<UnsettledShown>,
}

#[derive(Serialize)]
struct UnsettledShown {
    account: AccountId,
    request: Id,
    held: Decimal,
    charged: Decimal,
    expired_at: Option<String>,
}

pub(super) async fn verify(State(admin): State<Arc<Admin>>) -> Result<Json<Verified>, Problem> {
    let report = admin.ledger.audit().await?;
    let clean = report.is_clean();
    let Report { accounts, entries, open_holds, broken, unsettled } = report;
    let unsettled = unsettled.into_iter().map(UnsettledShown::from).collect();
    Ok(Json(Verified { clean, accounts, entries, open_holds, broken, unsettled }))
}

impl From<Unsettled> for UnsettledShown {
    fn from(call: Unsettled) -> Self {
        Self {
            account: call.account,
            request: call.request,
            held: Decimal(call.held),
            charged: Decimal(call.charged),
            expired_at: rfc3339(call.expired_at),
        }
    }
}
