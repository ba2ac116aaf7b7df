//! Whether the gateway lives, takes calls, and what it has counted. For anybody who reaches the listener.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;

use super::Admin;
use crate::config::OnOutage;

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    /// Why not.
    reason: Option<&'static str>,
}

/// The process answers.
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// Whether calls are taken. While the ledger is away, only where calls are let through without it.
pub(super) async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let reason = if !admin.ready.load(Ordering::Relaxed) {
        Some("starting or draining")
    } else if !admin.ledger.is_available() && admin.config.outage.on_outage == OnOutage::Refuse {
        Some("ledger unavailable")
    } else {
        None
    };
    let ready = reason.is_none();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, reason })).into_response()
}

/// Everything that was counted.
pub(super) async fn metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let (settler, up) = (&admin.settler, admin.ledger.is_available());
    admin.metrics.ledger(up, settler.waiting(), settler.journaled());
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], admin.metrics.encode())
}
