//! What a call costs beyond its hold.

use serde_json::json;

use super::{PRICES, chat};
use crate::harness::Setup;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn is_taken_from_what_is_left_and_then_owed_and_the_next_call_is_refused() {
    let world = Setup::new().prices(PRICES).account("a", 2).start().await;
    let ask = || world.ask("POST", "/v1/chat/completions").of("a").json(&chat("short", false));
    // One token of the answer is held for, at 10 µ; 150,000 of them are 1.5 credits.
    let answer = ask().sim("input-tokens=0,output-tokens=150000").send().await;
    assert_eq!(answer.header("x-credits-held"), Some("0.000018"));
    world.resolved().await;
    assert_eq!(world.credits("a").await["remaining"].to_string(), "0.5");

    assert_eq!(ask().sim("input-tokens=0,output-tokens=150000").send().await.status, 200);
    world.resolved().await;
    let balance = world.credits("a").await;
    assert_eq!((&balance["remaining"], &balance["owed"]), (&json!(0), &json!(1)));

    let refused = ask().send().await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (402, "credits_owed"));
    assert_eq!(world.provider.seen().await.len(), 2);
    world.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_may_cost_more_than_is_there_is_not_begun() {
    let world = Setup::new().prices(PRICES).account("a", 1).start().await;
    let mut body = chat("m", false);
    // 8 + 99,999 × 10 µ fit; 10 µ more do not.
    for (tokens, status) in [(99_999, 200), (100_000, 402)] {
        body["max_tokens"] = json!(tokens);
        let ask = world.ask("POST", "/v1/chat/completions").of("a").json(&body);
        let answer = ask.sim("input-tokens=0,output-tokens=0").send().await;
        assert_eq!(answer.status, status, "{tokens}");
        world.resolved().await;
    }
    assert_eq!(world.provider.seen().await.len(), 1);
}
