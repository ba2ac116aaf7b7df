//! What was charged, and what would be.

use super::*;

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
