//! The API as its callers see it: each route and each refusal, on a real ledger.

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
async fn an_account_is_created_once_and_shown() {
    let api = Api::start();
    let new = json!({
        "account": "acme", "plan": "startups", "time_zone": "Europe/Berlin",
        "anchor": "2026-01-01T00:00:00+01:00",
    });
    let (status, created) = api.post("/accounts", new.clone()).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(created["record"]["anchor"], "2025-12-31T23:00:00Z");
    assert_eq!(created["record"]["time_zone"], "Europe/Berlin");
    assert_eq!(
        (&created["gate"], &created["statement"]["remaining"]),
        (&json!("open"), &json!(300))
    );
    assert_eq!(api.problem("/accounts", new).await, (409, "account_exists".into()));

    let (status, shown) = api.get("/accounts/acme").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(shown["record"], created["record"]);
    assert_eq!(shown["keys"], json!([]));
    assert_eq!(api.get("/accounts/acme/balance").await.1["plan"]["monthly_credits"], 300);
    assert_eq!(api.get("/accounts/nobody").await.0, StatusCode::NOT_FOUND);
    assert_eq!(api.get("/accounts/no%20name").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_makes_no_account_is_refused() {
    let api = Api::start();
    for (body, word) in [
        (json!({"account": "a", "plan": "gold"}), "startups"),
        (json!({"account": "a", "plan": "startups", "time_zone": "Berlin"}), "time zone"),
        (json!({"account": "a b", "plan": "startups"}), "letters"),
        (json!({"account": "a", "plan": "startups", "gate": "ajar"}), "closed"),
        (json!({"account": "a", "plan": "startups", "anchor": "yesterday"}), "RFC 3339"),
        (json!({"account": "a", "plan": "startups", "credits": 5}), "unknown field"),
        (json!({"account": "a"}), "plan"),
    ] {
        let (status, problem) = api.post("/accounts", body.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{problem}");
    }
    assert_eq!(api.get("/accounts").await.1["accounts"], json!([]));
}

#[tokio::test]
async fn accounts_are_listed_page_by_page() {
    let api = Api::start();
    for account in ["c", "a", "b"] {
        api.post("/accounts", json!({"account": account, "plan": "hacker"})).await;
    }
    let (_, first) = api.get("/accounts?limit=2").await;
    assert_eq!((&first["accounts"][0]["account"], &first["next"]), (&json!("a"), &json!("b")));
    let (_, second) = api.get("/accounts?limit=2&after=b").await;
    assert_eq!(second["accounts"][0]["account"], "c");
    assert_eq!(second["next"], Value::Null);
    for wrong in ["limit=0", "limit=501", "limit=x", "page=2"] {
        assert_eq!(
            api.get(&format!("/accounts?{wrong}")).await.0,
            StatusCode::BAD_REQUEST,
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn the_gate_closes_and_opens() {
    let api = Api::with_account().await;
    for (until, active, gate) in [
        ("closed", false, "closed"),
        ("open", true, "open"),
        ("2026-02-01T00:00:00Z", true, "2026-02-01T00:00:00Z"),
        ("2026-01-01T00:00:00Z", false, "closed"),
    ] {
        let (status, shown) = api.post("/accounts/acme/gate", json!({"until": until})).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(shown["statement"]["active"], active, "{until}");
        assert_eq!(shown["gate"], gate);
    }
    let nobody = api.problem("/accounts/nobody/gate", json!({"until": "open"})).await;
    assert_eq!(nobody, (404, "no_such_account".into()));
}

#[tokio::test]
async fn a_change_is_seen_by_the_gateway_at_once() {
    let api = Api::start();
    let account: AccountId = "acme".parse().unwrap();
    // What the gateway has cached: there is no such account, then its record of the plan before.
    assert!(api.admin.directory.record(&account, Check::Age).await.unwrap().is_none());
    api.post("/accounts", json!({"account": "acme", "plan": "startups"})).await;
    assert_eq!(
        api.admin.directory.record(&account, Check::Age).await.unwrap().unwrap().plan,
        "startups"
    );
    let (_, shown) = api.post("/accounts/acme/plan", json!({"plan": "business"})).await;
    assert_eq!(shown["statement"]["remaining"], 500);
    assert_eq!(
        api.admin.directory.record(&account, Check::Age).await.unwrap().unwrap().plan,
        "business"
    );
    let unknown = api.problem("/accounts/acme/plan", json!({"plan": "gold"})).await;
    assert_eq!(unknown, (400, "malformed".into()));
}

#[tokio::test]
async fn a_key_is_issued_listed_and_revoked() {
    let api = Api::with_account().await;
    let new = json!({"name": "laptop", "ends": "2026-06-01T00:00:00Z"});
    let (status, issued) = api.post("/accounts/acme/keys", new).await;
    assert_eq!(status, StatusCode::CREATED);
    let secret = issued["secret"].as_str().unwrap();
    let hash = crate::directory::KeyHash::of(secret);
    let known = api.admin.directory.key(hash, Check::Age).await.unwrap().unwrap();
    assert!(known.key.is_valid(api.admin.now()));

    let (_, listed) = api.get("/accounts/acme/keys").await;
    assert_eq!(listed["keys"], json!([issued["key"]]));
    assert!(!listed.to_string().contains(secret), "the secret is shown once");
    assert_eq!(api.get("/keys").await.1["keys"], json!([]), "it is no service key");

    let id = issued["key"]["id"].as_str().unwrap();
    assert_eq!(api.ask("DELETE", &format!("/keys/{id}"), String::new()).await.0, StatusCode::OK);
    let known = api.admin.directory.key(hash, Check::Age).await.unwrap().unwrap();
    assert!(!known.key.is_valid(api.admin.now()), "the gateway has forgotten the valid one");
    assert_eq!(api.get("/accounts/acme/keys").await.1["keys"][0]["state"], "revoked");
    let missing = api.ask("DELETE", "/keys/key_0", String::new()).await;
    assert_eq!(missing.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_service_key_belongs_to_no_account() {
    let api = Api::with_account().await;
    let (status, issued) = api.post("/keys", json!({"name": "saas"})).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(issued["key"]["account"], Value::Null);
    assert_eq!(api.get("/keys").await.1["keys"][0]["id"], issued["key"]["id"]);
    assert_eq!(api.get("/accounts/acme/keys").await.1["keys"], json!([]));
    let id = issued["key"]["id"].as_str().unwrap();
    assert_eq!(api.ask("DELETE", &format!("/keys/{id}"), String::new()).await.0, StatusCode::OK);
    assert_eq!(api.get("/keys").await.1["keys"][0]["state"], "revoked");
}

#[tokio::test]
async fn what_makes_no_key_is_refused() {
    let api = Api::with_account().await;
    for body in [
        json!({"name": " "}),
        json!({"name": "a\nb"}),
        json!({"name": "x".repeat(101)}),
        json!({"name": "x", "ends": "2026-01-01T00:00:00Z"}),
        json!({"name": "x", "secret": "mine"}),
    ] {
        assert_eq!(api.problem("/accounts/acme/keys", body).await, (400, "malformed".into()));
    }
    let nobody = api.problem("/accounts/nobody/keys", json!({"name": "x"})).await;
    assert_eq!(nobody, (404, "no_such_account".into()));
    assert_eq!(api.get("/accounts/nobody/keys").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_grant_repeated_hours_later_counts_once() {
    let api = Api::with_account().await;
    let grant = json!({"source": "in_1", "kind": "purchased", "credits": "2.5"});
    let (status, first) = api.post("/accounts/acme/grants", grant.clone()).await;
    assert_eq!(status, StatusCode::CREATED);
    // Bought on 27 January: through 27 July.
    assert_eq!(first["ends_at"], "2026-07-28T00:00:00Z");
    assert_eq!((&first["repeated"], &first["repaid"]), (&json!(false), &json!(0)));

    api.pass(5 * 3_600_000);
    let (status, again) = api.post("/accounts/acme/grants", grant).await;
    assert_eq!((status, &again["repeated"]), (StatusCode::OK, &json!(true)));
    assert_eq!((&again["lot"], &again["ends_at"]), (&first["lot"], &first["ends_at"]));
    let said = json!({"source": "in_1", "kind": "purchased", "credits": 2.5,
        "starts": first["starts_at"], "ends": first["ends_at"]});
    assert_eq!(api.post("/accounts/acme/grants", said).await.0, StatusCode::OK);
    let balance = api.get("/accounts/acme/balance").await.1;
    assert_eq!(balance["remaining"], 302.5);

    for other in [
        json!({"source": "in_1", "kind": "purchased", "credits": 3}),
        json!({"source": "in_1", "kind": "gift", "credits": "2.5"}),
        json!({"source": "in_1", "kind": "purchased", "credits": "2.5", "ends": "2030-01-01T00:00:00Z"}),
        json!({"source": "in_1", "kind": "purchased", "credits": "2.5", "starts": "2026-01-27T15:00:01Z"}),
    ] {
        let problem = api.problem("/accounts/acme/grants", other).await;
        assert_eq!(problem, (409, "source_used".into()));
    }
}

#[tokio::test]
async fn the_same_grant_twice_at_once_counts_once() {
    let api = Api::with_account().await;
    let grant = json!({"source": "in_1", "kind": "gift", "credits": 7});
    let ask = || api.post("/accounts/acme/grants", grant.clone());
    let answers = futures_util::future::join_all((0..8).map(|_| ask())).await;
    let created = answers.iter().filter(|(status, _)| *status == StatusCode::CREATED).count();
    let repeated = answers.iter().filter(|(_, body)| body["repeated"] == true).count();
    assert_eq!((created, repeated), (1, 7));
    assert_eq!(api.get("/accounts/acme/balance").await.1["remaining"], 307);
}

#[tokio::test]
async fn what_makes_no_grant_is_refused() {
    let api = Api::with_account().await;
    let grants = "/accounts/acme/grants";
    for body in [
        r#"{"source":"a","kind":"gift","credits":0}"#,
        r#"{"source":"a","kind":"gift","credits":1e3}"#,
        r#"{"source":"a","kind":"gift","credits":-1}"#,
        r#"{"source":"a","kind":"gift","credits":"0.1234567"}"#,
        r#"{"source":"a","kind":"plan","credits":1}"#,
        r#"{"source":"a b","kind":"gift","credits":1}"#,
        r#"{"source":"a","kind":"gift","credits":1,"ends":"2026-01-01T00:00:00Z"}"#,
        r#"{"source":"a","kind":"gift","credits":1,"note":"x"}"#,
        r#"{"source":"a","kind":"gift","credits":1,"credits":2}"#,
        "not json",
        "",
    ] {
        assert_eq!(
            api.ask("POST", grants, body.to_owned()).await.0,
            StatusCode::BAD_REQUEST,
            "{body}"
        );
    }
    let grant = |credits: Value| json!({"source": "a", "kind": "gift", "credits": credits});
    let nobody = api.problem("/accounts/nobody/grants", grant(json!(1))).await;
    assert_eq!(nobody, (404, "no_such_account".into()));
    api.post(grants, json!({"source": "b", "kind": "gift", "credits": 1})).await;
    let most = api.problem(grants, grant(json!(4_000_000_000_u64))).await;
    assert_eq!(most, (409, "refused".into()), "above the limit of an account");
    let long = format!(r#"{{"source":"{}"}}"#, "x".repeat(BODY_MAX));
    assert_eq!(api.ask("POST", grants, long).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_refund_is_told_cumulatively() {
    let api = Api::start();
    api.post("/accounts", json!({"account": "acme", "plan": "hacker"})).await;
    let grant = json!({"source": "in_1", "kind": "purchased", "credits": 5});
    api.post("/accounts/acme/grants", grant).await;
    let void = async |credits: u32| {
        let body = json!({"source": "in_1", "credits": credits});
        let (status, voided) = api.post("/accounts/acme/voids", body).await;
        assert_eq!(status, StatusCode::OK);
        (voided["taken"].clone(), voided["owed"].clone())
    };
    assert_eq!(void(2).await, (json!(2), json!(0)));
    assert_eq!(void(2).await, (json!(0), json!(0)), "a repeated message");
    assert_eq!(void(3).await, (json!(1), json!(0)));
    let call = api.hold(1).await;
    api.apply(call, Operation::Settle { amount: Credits::whole(1), work: None, job: None }).await;
    assert_eq!(void(5).await, (json!(1), json!(1)), "what was used is owed");
    assert_eq!(api.get("/accounts/acme/balance").await.1["owed"], 1);
    let unknown =
        api.problem("/accounts/acme/voids", json!({"source": "in_2", "credits": 1})).await;
    assert_eq!(unknown, (404, "no_such_source".into()));
}

#[tokio::test]
async fn the_ledger_is_told_in_words() {
    let api = Api::with_account().await;
    api.post(
        "/accounts/acme/grants",
        json!({"source": "gift:1", "kind": "gift", "credits": "0.5"}),
    )
    .await;
    let call = api.hold(1).await;
    api.apply(call, Operation::Settle { amount: Credits::whole(1), work: None, job: None }).await;
    let (_, all) = api.get("/accounts/acme/ledger").await;
    let kinds: Vec<_> =
        all["entries"].as_array().unwrap().iter().map(|e| e["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["gate", "grant", "grant", "hold", "settle"]);
    let settled = &all["entries"][4];
    assert_eq!((&settled["change"], &settled["balance"]), (&json!(-1), &json!(299.5)));
    assert_eq!(settled["request"], call.to_string());
    assert_eq!(settled["details"], "1 charged, 1 of lot 2");
    assert_eq!(all["next"], Value::Null);

    let (_, page) = api.get("/accounts/acme/ledger?after=1&limit=2").await;
    assert_eq!((&page["entries"][0]["seq"], &page["next"]), (&json!(2), &json!(3)));
    assert_eq!(
        page["entries"][0]["details"],
        "lot 1: 0.5 gift from gift:1, from 2026-01-27T15:00:00Z"
    );
    assert_eq!(api.get("/accounts/nobody/ledger").await.0, StatusCode::NOT_FOUND);
    assert_eq!(api.get("/accounts/acme/ledger?after=x").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_call_is_explained_from_its_hold_to_its_end() {
    let api = Api::with_account().await;
    let explained = async |call: Id| {
        let (status, explained) = api.get(&format!("/explain/{call}")).await;
        assert_eq!((status, &explained["account"]), (StatusCode::OK, &json!("acme")));
        explained
    };
    let [settled, released, expired, late] =
        [api.hold(2).await, api.hold(2).await, api.hold(2).await, api.hold(2).await];
    assert_eq!(explained(settled).await["state"], "running");
    api.apply(settled, Operation::Settle { amount: Credits::whole(1), work: None, job: None })
        .await;
    api.apply(released, Operation::Release).await;
    let done = Credits::whole(1);
    let beat = Operation::Extend { beat: 1, more: Credits::ZERO, ttl_millis: 60_000, done };
    api.apply(expired, beat).await;
    api.pass(61_000);
    assert_eq!(explained(late).await["state"], "expired", "before anybody has written it down");
    api.apply(late, Operation::Settle { amount: Credits::whole(2), work: None, job: None }).await;

    for (call, state, charged, beats, words) in [
        (
            settled,
            "charged",
            1,
            0,
            "2 credits were held at 2026-01-27T15:00:00Z, and 1 credit was charged",
        ),
        (released, "released", 0, 0, "nothing was charged"),
        (expired, "expired", 1, 1, "1 credit was charged, as its last heartbeat had confirmed"),
        (late, "charged", 2, 0, "2 credits were charged in all"),
    ] {
        let explained = explained(call).await;
        assert_eq!(explained["state"], state);
        assert_eq!((&explained["held"], &explained["charged"]), (&json!(2), &json!(charged)));
        assert_eq!(explained["heartbeats"], beats);
        let sentence = explained["explanation"].as_str().unwrap();
        assert!(sentence.contains(words), "{sentence}");
    }
    let [through, unpaid] = [api.fresh_id(), api.fresh_id()];
    let charge = |credits| Operation::Charge {
        amount: Credits::whole(credits),
        period: None,
        work: None,
        job: None,
        feature: None,
    };
    api.apply(through, charge(2)).await;
    api.apply(unpaid, charge(300)).await;
    for (call, charged, owed, words) in [
        (
            through,
            2,
            0,
            "Nothing was held; the call was let through while the ledger was away, and 2 credits were charged at \
             2026-01-27T15:01:01Z, once the ledger was back.",
        ),
        (unpaid, 300, 6, "6 credits were not there to be taken, and owed since."),
    ] {
        let explained = explained(call).await;
        assert_eq!((&explained["state"], &explained["held_at"]), (&json!("charged"), &Value::Null));
        assert_eq!((&explained["charged"], &explained["owed"]), (&json!(charged), &json!(owed)));
        assert!(explained["explanation"].as_str().unwrap().contains(words), "{explained}");
    }
    let entry = &explained(unpaid).await["entries"][0];
    assert_eq!(entry["kind"], "charge");
    let details =
        "300 charged, let through while the ledger was away, 294 of lot 1; 6 of it is owed";
    assert_eq!(entry["details"], details);
    let unknown = format!("/explain/{}", api.fresh_id());
    assert_eq!(api.get(&unknown).await.0, StatusCode::NOT_FOUND);
    assert_eq!(api.get("/explain/req_1").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn usage_is_told_by_feature() {
    let api = Api::with_account().await;
    let begin = async |feature: Option<&str>| {
        let feature = feature.map(|name| name.parse().unwrap());
        api.hold_for(2, feature).await
    };
    let settle = async |call, credits| {
        let (amount, job) = (Credits::whole(credits), "x/job;input=1".parse().ok());
        api.apply(call, Operation::Settle { amount, work: None, job }).await;
    };
    let before = begin(Some("copilot")).await;
    let job = begin(Some("report")).await;
    settle(job, 2).await;
    api.pass(10_000);
    // What follows is the span: from here, a call that began before it and a job's correction.
    let from = api.instant();
    settle(before, 1).await;
    let amount = Credits::whole(1);
    api.apply(api.fresh_id(), Operation::Correct { call: job, amount, work: None }).await;
    for feature in [Some("copilot"), None] {
        settle(begin(feature).await, 2).await;
    }
    let released = begin(Some("copilot")).await;
    api.apply(released, Operation::Release).await;
    // One that ran out with a credit confirmed, and is settled late for another.
    let late = begin(Some("copilot")).await;
    let done = Credits::whole(1);
    let beat = Operation::Extend { beat: 1, more: Credits::ZERO, ttl_millis: 60_000, done };
    api.apply(late, beat).await;
    api.pass(61_000);
    settle(late, 2).await;
    let feature = "help".parse().ok();
    let amount = Credits::whole(3);
    let through = Operation::Charge { amount, period: None, feature, work: None, job: None };
    api.apply(api.fresh_id(), through).await;
    api.pass(10_000);
    let until = api.instant();
    settle(begin(Some("copilot")).await, 2).await;
    let (status, used) = api.get(&format!("/accounts/acme/usage?from={from}&until={until}")).await;
    assert_eq!(status, StatusCode::OK, "{used}");
    assert_eq!(
        used["features"],
        json!([
            {"feature": "copilot", "calls": 3, "credits": 5},
            {"feature": "help", "calls": 1, "credits": 3},
            {"feature": null, "calls": 1, "credits": 2},
            {"feature": "report", "calls": 0, "credits": -1},
        ])
    );
    assert_eq!((&used["calls"], &used["credits"]), (&json!(5), &json!(9)));
    assert_eq!(
        (used["from"].as_str().unwrap(), used["until"].as_str().unwrap()),
        (&*from, &*until)
    );
    let all = api.get("/accounts/acme/usage").await.1;
    assert_eq!((&all["calls"], &all["credits"]), (&json!(7), &json!(13)));
    let later =
        api.get("/accounts/acme/usage?from=2030-01-01T00:00:00Z&until=2031-01-01T00:00:00Z");
    assert_eq!(later.await.1["features"], json!([]));
    let backwards = format!("/accounts/acme/usage?from={until}&until={from}");
    assert_eq!(api.get(&backwards).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(api.get("/accounts/acme/usage?since=1").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(api.get("/accounts/nobody/usage").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_audit_counts_and_lists() {
    let api = Api::with_account().await;
    let expired = api.hold(3).await;
    api.pass(61_000);
    api.hold(1).await;
    let (status, report) = api.get("/verify").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&report["clean"], &report["accounts"]), (&json!(true), &json!(1)));
    assert_eq!((&report["open_holds"], &report["broken"]), (&json!(1), &json!([])));
    let unsettled = json!([{"account": "acme", "request": expired.to_string(), "held": 3,
        "charged": 0, "expired_at": "2026-01-27T15:01:01Z"}]);
    assert_eq!(report["unsettled"], unsettled);
}

#[tokio::test]
async fn a_request_is_explained_before_it_is_made() {
    let api = Api::start();
    for (asked, decision, credits) in [
        (
            json!({"method": "POST", "path": "/v1/chat/completions", "model": "m"}),
            "metered",
            json!(1),
        ),
        (
            json!({"method": "POST", "path": "/openai/v1/v1/chat/completions?x=1"}),
            "metered",
            json!(1),
        ),
        (json!({"method": "GET", "path": "/v1/models"}), "free", json!(0)),
        (json!({"method": "GET", "path": "/credits"}), "answered", Value::Null),
        (json!({"method": "POST", "path": "/v1/brand/new"}), "metered", json!(1)),
        (json!({"method": "GET", "path": "/v1/brand/new"}), "free", json!(0)),
        (json!({"method": "POST", "path": "/v1/realtime/client_secrets"}), "refused", Value::Null),
        (json!({"method": "GET", "path": "/v1/realtime", "upgrade": true}), "metered", json!(1)),
        (
            json!({"method": "GET", "path": "/v1/live/sessions", "upgrade": true}),
            "refused",
            Value::Null,
        ),
        (json!({"method": "GET", "path": "/../x"}), "refused", Value::Null),
    ] {
        let (status, routed) = api.post("/route", asked.clone()).await;
        assert_eq!(status, StatusCode::OK, "{asked}");
        assert_eq!(
            (&routed["decision"], &routed["credits"]),
            (&json!(decision), &credits),
            "{asked}"
        );
        assert!(routed["explanation"].as_str().unwrap().ends_with('.'));
    }
    let (_, routed) =
        api.post("/route", json!({"method": "POST", "path": "/chat/completions"})).await;
    assert_eq!(
        (&routed["path"], &routed["rule"]),
        (&json!("/v1/chat/completions"), &json!("default"))
    );
    let wrong = api.problem("/route", json!({"method": "GE T", "path": "/"})).await;
    assert_eq!(wrong, (400, "malformed".into()));
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
