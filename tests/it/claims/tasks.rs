//! `x-credits-task`: one payment for several calls.

use http::StatusCode;

use super::both;
use crate::harness::{Answer, Ask, SOON, Setup, World, chat_body, eventually};

const SERVICE: &str = "cg_service";

fn setup() -> Setup {
    Setup::new().account("a", 20).closed_account("closed", 20).service_key(SERVICE)
}

fn call(world: &World, account: &str, task: &str) -> Ask {
    let ask = world.ask("POST", "/v1/chat/completions").bearer(SERVICE);
    ask.header("x-credits-account", account).header("x-credits-task", task).json(&chat_body(false))
}

async fn cost(ask: Ask) -> String {
    let answer: Answer = ask.send().await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.header("x-credits-charged").unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_calls_cost_what_the_first_one_costs_within_its_limit() {
    for (world, _redis) in &both(|| setup().set("tasks.calls", "3")).await {
        for expected in ["1", "0", "0", "1", "0", "0", "1"] {
            assert_eq!(cost(call(world, "a", "t")).await, expected);
        }
        assert_eq!(cost(call(world, "a", "other")).await, "1");
        assert_eq!(world.left("a").await, 16);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_with_its_time() {
    let world = setup().set("tasks.time", "'1s'").start().await;
    assert_eq!(cost(call(&world, "a", "t")).await, "1");
    eventually("a call begins anew", SOON, async || {
        (cost(call(&world, "a", "t")).await == "1").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_call_that_came_to_nothing_leaves_the_next_one_to_be_the_first() {
    for (world, _redis) in &both(setup).await {
        assert_eq!(call(world, "a", "t").sim("status=500").send().await.status, 500);
        world.resolved().await;
        assert_eq!(cost(call(world, "a", "t")).await, "1");
        // A later one that comes to nothing changes nothing.
        assert_eq!(call(world, "a", "t").sim("status=500").send().await.status, 500);
        world.resolved().await;
        assert_eq!(cost(call(world, "a", "t")).await, "0");
        assert_eq!(world.left("a").await, 19);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dear_call_rides_on_a_cheap_one_and_a_free_one_takes_no_part() {
    let setup = || {
        setup()
            .set("price.default.credits", "1")
            .rule("operation = 'embedding'\ncredits = 0")
            .rule("operation = 'response'\ninput = 100000\noutput = 100000")
    };
    for (world, _redis) in &both(setup).await {
        let ask = |path: &str, body: serde_json::Value| {
            let ask = world.ask("POST", path).bearer(SERVICE).header("x-credits-account", "a");
            ask.header("x-credits-task", "t").json(&body).send()
        };
        let free = serde_json::json!({ "model": "sim-embed", "input": "?" });
        let free = ask("/v1/embeddings", free).await;
        assert_eq!((free.status, free.header("x-credits-charged")), (StatusCode::OK, Some("0")));
        assert_eq!(cost(call(world, "a", "t")).await, "1");
        let dear = serde_json::json!({ "model": "sim-small", "input": "?", "stream": true });
        let dear = ask("/v1/responses", dear).await;
        assert_eq!((dear.status, dear.header("x-credits-charged")), (StatusCode::OK, Some("0")));
        assert_eq!(world.left("a").await, 19);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_a_task_needs_an_active_subscription() {
    for (world, _redis) in &both(setup).await {
        assert_eq!(cost(call(world, "a", "t")).await, "1");
        world.gateway.run(&["account", "gate", "a", "closed"]);
        let refused = call(world, "a", "t").send().await;
        assert_eq!(refused.code(), "billing_not_active");
        assert_eq!(call(world, "closed", "t").send().await.status, 403);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accounts_own_key_has_no_tasks() {
    let world = setup().start().await;
    let forged = world.chat("a").header("x-credits-task", "t").send().await;
    assert_eq!((forged.status, forged.code()), (StatusCode::FORBIDDEN, "task_not_allowed".into()));
    assert_eq!(forged.header("x-should-retry"), Some("false"));
    let long = call(&world, "a", &"t".repeat(256)).send().await;
    assert_eq!((long.status, long.code()), (StatusCode::BAD_REQUEST, "invalid_header".into()));
    assert_eq!(world.left("a").await, 20);
    assert!(world.provider.seen().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_and_a_task_go_together() {
    for (world, _redis) in &both(setup).await {
        let keyed = |key: &str| call(world, "a", "t").header("idempotency-key", key);
        assert_eq!(cost(keyed("1")).await, "1");
        world.resolved().await;
        assert_eq!(keyed("1").send().await.status, 422);
        assert_eq!(cost(keyed("2")).await, "0");
        world.resolved().await;
        assert_eq!(keyed("2").send().await.status, 422);
        assert_eq!(world.left("a").await, 19);
    }
}
