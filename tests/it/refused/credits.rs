//! What the account has.

use serde_json::json;

use super::{check_final_refusal, check_refusal};
use crate::harness::{SOON, Setup, World, eventually};

async fn check_free_calls_pass(world: &World, account: &str) {
    assert_eq!(world.ask("GET", "/v1/models").of(account).send().await.status, 200);
    assert_eq!(world.ask("GET", "/credits").of(account).send().await.status, 200);
    world.provider.forget().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_without_credits_hears_402_before_any_byte_of_a_stream() {
    let setup = Setup::new().account("a", 0);
    let world = setup.set("refusal.top_up_url", "'https://app.example.com/buy'").start().await;
    for ask in [world.chat("a"), world.stream("a")] {
        let answer = ask.send().await;
        check_final_refusal(&world, &answer, 402, "insufficient_quota").await;
        let error = &answer.json()["error"];
        assert_eq!(error["type"], "insufficient_quota");
        assert!(error["message"].as_str().unwrap().contains("https://app.example.com/buy"));
    }
    check_free_calls_pass(&world, "a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_is_429_where_the_plan_says_so_and_still_final() {
    let setup = Setup::new().set("plan_defaults.when_exhausted", "429").account("a", 0);
    let world = setup.start().await;
    let answer = world.stream("a").send().await;
    check_final_refusal(&world, &answer, 429, "insufficient_quota").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_may_have_a_status_of_its_own() {
    let world = Setup::new().account("a", 0).account("b", 0).start().await;
    check_final_refusal(&world, &world.chat("a").send().await, 402, "insufficient_quota").await;
    for (word, status) in [(json!(429), 429), (json!("plan"), 402), (json!(429), 429)] {
        let say = world.admin("POST", "/admin/v1/accounts/a/when-exhausted");
        let shown = say.json(&json!({ "status": word })).send().await.json();
        let expected = if word == "plan" { json!(null) } else { word };
        assert_eq!(shown["record"]["when_exhausted"], expected);
        // The very next call hears it.
        let answer = world.stream("a").send().await;
        check_final_refusal(&world, &answer, status, "insufficient_quota").await;
        check_final_refusal(&world, &world.chat("b").send().await, 402, "insufficient_quota").await;
    }
    // Other changes leave it as it is.
    let moved = world.admin("POST", "/admin/v1/accounts/a/gate").json(&json!({ "until": "open" }));
    assert_eq!(moved.send().await.json()["record"]["when_exhausted"], 429);
    let wrong =
        world.admin("POST", "/admin/v1/accounts/a/when-exhausted").json(&json!({ "status": 403 }));
    assert_eq!(wrong.send().await.status, 400);
    let new = json!({ "account": "c", "plan": "pay-as-you-go", "when_exhausted": 429 });
    let created = world.admin("POST", "/admin/v1/accounts").json(&new).send().await.json();
    assert_eq!(created["record"]["when_exhausted"], 429);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credits_that_running_calls_hold_are_not_gone() {
    let world = Setup::new().account("a", 1).start().await;
    let running = tokio::spawn(world.chat("a").sim("hold=before-headers").send());
    world.provider.holds(1).await;
    world.provider.forget().await;

    let answer = world.stream("a").send().await;
    check_refusal(&world, &answer, 402, "credits_held").await;
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait));
    assert_eq!(answer.header("x-should-retry"), None);
    assert_eq!(world.credits("a").await["held"], 1);
    assert_eq!(world.credits("a").await["remaining"], 0);

    world.provider.release().await;
    assert_eq!(running.await.unwrap().status, 200);
    assert_eq!(world.left("a").await, 0);
    let answer = world.stream("a").send().await;
    check_final_refusal(&world, &answer, 402, "insufficient_quota").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inactive_subscription_hears_403_and_keeps_its_credits() {
    let world = Setup::new().closed_account("a", 5).start().await;
    for ask in [world.chat("a"), world.stream("a")] {
        let answer = ask.send().await;
        check_final_refusal(&world, &answer, 403, "billing_not_active").await;
    }
    check_free_calls_pass(&world, "a").await;
    let credits = world.credits("a").await;
    assert_eq!(credits["active"], false);
    assert_eq!(credits["lots"][0]["state"], "frozen");
    assert_eq!(credits["lots"][0]["remaining"], 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plan_credits_go_first_and_then_what_was_bought() {
    let setup = Setup::new().set("plan.monthly.monthly_credits", "2");
    let world = setup.account_on("monthly", "a", 1).start().await;
    for (plan, purchased) in [("1", "1"), ("0", "1"), ("0", "0")] {
        let answer = world.chat("a").send().await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("x-credits-plan-remaining"), Some(plan));
        assert_eq!(answer.header("x-credits-purchased-remaining"), Some(purchased));
    }
    world.provider.forget().await;
    // While the last call is being settled its credit is held, and not gone.
    world.resolved().await;
    let answer = world.chat("a").send().await;
    check_final_refusal(&world, &answer, 402, "insufficient_quota").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_dearer_than_what_is_left_takes_nothing() {
    let setup = Setup::new().set("price.default.credits", "'2.5'").account("a", 4);
    let world = setup.start().await;
    let answer = world.chat("a").send().await;
    assert_eq!(answer.header("x-credits-charged"), Some("2.5"));
    assert_eq!(answer.header("x-credits-remaining"), Some("1.5"));
    world.provider.forget().await;
    eventually("the call is settled", SOON, async || {
        (world.credits("a").await["held"] == 0).then_some(())
    })
    .await;
    let answer = world.chat("a").send().await;
    check_final_refusal(&world, &answer, 402, "insufficient_quota").await;
    assert_eq!(world.credits("a").await["remaining"], 1.5);
}
