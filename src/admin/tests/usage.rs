//! What credits were used for.

use super::*;

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
