//! stub
use std::sync::{Arc, atomic::AtomicBool};
pub struct Admin {
    pub config: Arc<crate::config::Config>,
    pub ledger: crate::ledger::Ledger,
    pub directory: Arc<crate::directory::Directory>,
    pub metrics: Arc<crate::metrics::Metrics>,
    pub settler: crate::ledger::Settler,
    pub clock: crate::ledger::Clock,
    pub token: crate::config::Secret,
    pub ready: Arc<AtomicBool>,
}
pub fn router(admin: Arc<Admin>) -> axum::Router {
    let a = admin.clone();
    axum::Router::new()
        .route(
            "/verify",
            axum::routing::get(move || {
                let a = a.clone();
                async move { serde_json::to_string(&a.ledger.audit().await.unwrap()).unwrap() }
            }),
        )
        .route(
            "/metrics",
            axum::routing::get(move || {
                let a = admin.clone();
                async move { a.metrics.encode() }
            }),
        )
}
