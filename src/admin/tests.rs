//! The API as its callers see it: each route and each refusal, on a real ledger.

mod accounts;
mod calls;
mod grants;
mod keys;
mod usage;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::credit::{AccountId, Credits, Feature, Operation};
use crate::directory::Check;
use crate::ledger::sqlite::Store;
use crate::statement::rfc3339;

const TOKEN: &str = "admin-token-for-tests";
/// 2026-01-27T15:00:00Z.
const START: i64 = 1_769_526_000_000;

/// An API on a ledger of its own, whose clock stands still.
struct Api {
    admin: Arc<Admin>,
    clock: Arc<AtomicI64>,
    _folder: tempfile::TempDir,
}

impl Api {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let millis = Arc::new(AtomicI64::new(START));
        let clock: Clock = {
            let millis = Arc::clone(&millis);
            Arc::new(move || Timestamp::from_millis(millis.load(Ordering::SeqCst)))
        };
        let store = Store::open(&folder.path().join("test.db"), Arc::clone(&clock)).unwrap();
        let ledger = Ledger::Sqlite(Arc::new(store));
        let metrics = Arc::new(Metrics::new());
        let minute = std::time::Duration::from_mins(1);
        let directory = Directory::new(ledger.clone(), minute, Arc::clone(&metrics));
        let admin = Arc::new(Admin {
            config: Arc::new(Config::parse("", Path::new("test.toml"), &|_| None).unwrap()),
            directory: Arc::new(directory),
            settler: Settler::start(ledger.clone(), minute, None),
            ledger,
            metrics,
            clock,
            token: Secret::new(TOKEN.to_owned()),
            ready: Arc::new(AtomicBool::new(true)),
        });
        Self { admin, clock: millis, _folder: folder }
    }

    /// With the account `acme` on the plan `startups` (300 credits a month).
    async fn with_account() -> Self {
        let api = Self::start();
        let created = api.post("/accounts", json!({"account": "acme", "plan": "startups"})).await;
        assert_eq!(created.0, StatusCode::CREATED, "{}", created.1);
        api
    }

    fn pass(&self, millis: i64) {
        self.clock.fetch_add(millis, Ordering::SeqCst);
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, http::HeaderMap, String) {
        let response = router(Arc::clone(&self.admin)).oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn ask(&self, method: &str, path: &str, body: String) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(format!("/admin/v1{path}"));
        let request = request.header("authorization", format!("Bearer {TOKEN}"));
        let (status, headers, body) = self.send(request.body(body.into()).unwrap()).await;
        let refused = status.is_client_error() || status.is_server_error();
        let kind = if refused { "application/problem+json" } else { "application/json" };
        assert_eq!(headers["content-type"], kind, "{path}");
        assert_eq!(headers["cache-control"], "no-store");
        let json: Value = serde_json::from_str(&body).unwrap();
        if refused {
            assert_eq!(json["status"], status.as_u16());
            assert!(json["title"].is_string() && json["detail"].is_string(), "{json}");
        }
        (status, json)
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.ask("GET", path, String::new()).await
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.ask("POST", path, body.to_string()).await
    }

    /// The last part of the `type` of the problem that `asked` must have come to.
    async fn problem(&self, path: &str, body: Value) -> (u16, String) {
        let (status, json) = self.post(path, body).await;
        let name = json["type"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
        (status.as_u16(), name)
    }

    /// Places a hold of `credits` as the gateway would.
    async fn hold(&self, credits: u32) -> Id {
        self.hold_for(credits, None).await
    }

    async fn hold_for(&self, credits: u32, feature: Option<Feature>) -> Id {
        let account: AccountId = "acme".parse().unwrap();
        let record = self.admin.ledger.record(&account).await.unwrap().unwrap();
        let plan = &self.admin.config.plans[record.plan.as_str()];
        let id = self.fresh_id();
        let operation = Operation::Hold {
            amount: Credits::whole(credits),
            ttl_millis: 60_000,
            version: record.version,
            period: record.period(plan.monthly_credits, self.admin.now()),
            feature,
        };
        self.apply(id, operation).await;
        id
    }

    async fn apply(&self, id: Id, operation: Operation) {
        let account: AccountId = "acme".parse().unwrap();
        let reply = self.admin.ledger.apply(&account, id, operation).await.unwrap();
        reply.outcome.unwrap();
    }

    /// The second that the clock of the test shows.
    fn instant(&self) -> String {
        rfc3339(self.admin.now()).unwrap()
    }

    /// An id made now, by the clock of the test.
    fn fresh_id(&self) -> Id {
        let random = super::fresh_id().as_u128() & ((1 << 80) - 1);
        let millis = u128::from(self.clock.load(Ordering::SeqCst).unsigned_abs());
        Id::from_u128(millis << 80 | random)
    }
}

#[tokio::test]
async fn only_the_token_opens_the_api() {
    let api = Api::start();
    for header in [None, Some("Bearer wrong"), Some("Basic admin-token-for-tests"), Some(TOKEN)] {
        for path in ["/admin/v1/accounts", "/admin/v1/nothing", "/admin/v1/verify"] {
            let request = Request::builder().uri(path);
            let request = match header {
                Some(header) => request.header("authorization", header),
                None => request,
            };
            let (status, headers, body) = api.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{header:?} {path}");
            assert_eq!(headers["www-authenticate"], "Bearer");
            assert!(!body.contains(TOKEN));
        }
    }
    assert_eq!(api.get("/accounts").await.0, StatusCode::OK);
}

#[tokio::test]
async fn health_needs_no_token() {
    let api = Api::start();
    let probe = async |path: &str| {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        api.send(request).await
    };
    assert_eq!(probe("/live").await.0, StatusCode::OK);
    assert_eq!(probe("/ready").await.0, StatusCode::OK);
    let (status, headers, metrics) = probe("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        headers["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(metrics.contains("creditgate_settlements_waiting 0") && metrics.ends_with("# EOF\n"));

    api.admin.ready.store(false, Ordering::SeqCst);
    let (status, _, body) = probe("/ready").await;
    assert_eq!((status.as_u16(), body.contains("draining")), (503, true), "{body}");
    api.admin.ready.store(true, Ordering::SeqCst);
    api.admin.ledger.close().await;
    let (status, _, body) = probe("/ready").await;
    assert_eq!((status.as_u16(), body.contains("ledger unavailable")), (503, true), "{body}");
    assert_eq!(probe("/live").await.0, StatusCode::OK);
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_same_form() {
    let api = Api::start();
    assert_eq!(api.get("/nothing").await.0, StatusCode::NOT_FOUND);
    let other = api.ask("PUT", "/accounts", String::new()).await;
    assert_eq!(other.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_ledger_that_is_away_is_said_so() {
    let api = Api::with_account().await;
    api.admin.ledger.close().await;
    let grant = json!({"source": "a", "kind": "gift", "credits": 1});
    let away = api.problem("/accounts/acme/grants", grant).await;
    assert_eq!(away, (503, "ledger_unavailable".into()));
}
