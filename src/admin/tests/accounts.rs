//! Accounts: made, listed, changed.

use super::*;

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
