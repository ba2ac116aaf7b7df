//! The admin API: every route on one screen.
//!
//! Speaks to the ledger and the directory as the gateway does, and knows nothing of requests in flight. Whoever holds
//! the token can do everything here, grant credits too, so that its listener is kept private. The words of a request
//! and its answer stand in the module of their subject; instants are RFC 3339, amounts credits as plain decimals.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};

mod access;
mod accounts;
mod calls;
mod entries;
mod grants;
mod health;
mod input;
mod keys;
mod problem;
mod routes;
#[cfg(test)]
mod tests;
mod things;
mod usage;
mod verify;

use problem::{Kind, Problem};

use crate::config::{Config, Secret};
use crate::credit::{Id, Timestamp};
use crate::directory::Directory;
use crate::ledger::{Clock, Ledger, Settler};
use crate::metrics::Metrics;

/// The longest body of a request, in bytes.
const BODY_MAX: usize = 64 * 1024;

/// Everything that the admin API needs.
pub struct Admin {
    pub config: Arc<Config>,
    pub ledger: Ledger,
    pub directory: Arc<Directory>,
    pub metrics: Arc<Metrics>,
    pub settler: Settler,
    pub clock: Clock,
    /// What a caller must show.
    pub token: Secret,
    /// Whether the gateway takes calls: not while it starts or drains.
    pub ready: Arc<AtomicBool>,
}

/// The routes of the admin listener.
pub fn router(admin: Arc<Admin>) -> Router {
    let operations = Router::new()
        .route("/accounts", post(accounts::create).get(accounts::list))
        .route("/accounts/{account}", get(accounts::show))
        .route("/accounts/{account}/gate", post(accounts::gate))
        .route("/accounts/{account}/plan", post(accounts::plan))
        .route("/accounts/{account}/when-exhausted", post(accounts::when_exhausted))
        .route("/accounts/{account}/balance", get(accounts::balance))
        .route("/accounts/{account}/keys", post(keys::issue).get(keys::list))
        .route("/accounts/{account}/grants", post(grants::grant))
        .route("/accounts/{account}/voids", post(grants::void))
        .route("/accounts/{account}/ledger", get(entries::list))
        .route("/accounts/{account}/usage", get(usage::by_feature))
        .route("/accounts/{account}/things", post(things::own))
        .route("/keys", post(keys::issue_service).get(keys::list_service))
        .route("/keys/{key}", delete(keys::revoke))
        .route("/explain/{request}", get(calls::explain))
        .route("/verify", get(verify::verify))
        .route("/route", post(routes::route))
        .fallback(nothing_here)
        .method_not_allowed_fallback(other_method)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn_with_state(Arc::clone(&admin), access::with_token));
    Router::new()
        .route("/live", get(health::live))
        .route("/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .nest("/admin/v1", operations)
        .fallback(nothing_here)
        .method_not_allowed_fallback(other_method)
        .with_state(admin)
}

async fn nothing_here() -> Problem {
    Problem::new(Kind::NoSuchRoute, "there is nothing at this path: the admin API is at /admin/v1")
}

async fn other_method() -> Problem {
    Problem::new(Kind::OtherMethod, "this path has other methods: see the header `Allow`")
}

impl Admin {
    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Now, to the second, as instants are printed: what is kept is then what is shown.
    fn this_second(&self) -> Timestamp {
        let millis = self.now().millis();
        Timestamp::from_millis(millis - millis.rem_euclid(1000))
    }
}

/// A fresh name for one operation on the ledger.
fn fresh_id() -> Id {
    Id::from_u128(uuid::Uuid::now_v7().as_u128())
}
