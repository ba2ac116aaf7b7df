//! Grants and refunds, however often they are told.

use super::*;

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
