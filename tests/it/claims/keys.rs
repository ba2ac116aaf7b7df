//! `Idempotency-Key`, row by row (SEMANTICS.md, Retries).

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use super::both;
use crate::harness::{Answer, Ask, SOON, Setup, World, chat_body, eventually};

fn setup() -> Setup {
    Setup::new().account("a", 20).account("b", 20)
}

fn keyed(ask: Ask, key: &str) -> Ask {
    ask.header("idempotency-key", key)
}

fn charged(answer: &Answer) -> (StatusCode, Option<&str>) {
    (answer.status, answer.header("x-credits-charged"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_charged_nothing_runs_as_new() {
    for (world, _redis) in &both(setup).await {
        for switches in ["status=500", "status=400", "break=before-headers"] {
            let failed = keyed(world.chat("a").sim(switches), "k").send().await;
            assert!(!failed.status.is_success());
            world.resolved().await;
        }
        let served = keyed(world.chat("a"), "k").send().await;
        assert_eq!(charged(&served), (StatusCode::OK, Some("1")));
        assert_eq!(world.left("a").await, 19);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_still_running_is_a_conflict_that_passes() {
    for (world, _redis) in &both(setup).await {
        let held = keyed(world.chat("a").sim("hold=before-headers"), "k");
        let running = tokio::spawn(held.send());
        world.provider.holds(1).await;
        let again = keyed(world.chat("a").sim("hold=before-headers"), "k").send().await;
        assert_eq!(again.status, StatusCode::CONFLICT);
        assert_eq!(again.code(), "idempotent_call_running");
        assert_eq!(again.header("retry-after"), Some("5"));
        assert_eq!(again.header("x-should-retry"), None);
        world.provider.release().await;
        assert_eq!(running.await.unwrap().status, 200);
        assert_eq!(world.left("a").await, 19);
        world.provider.only().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_delivered_whole_is_not_made_again() {
    for (world, _redis) in &both(setup).await {
        for (key, ask) in
            [("plain", World::chat as fn(&World, &str) -> Ask), ("stream", World::stream)]
        {
            assert_eq!(keyed(ask(world, "a"), key).send().await.status, 200);
            world.resolved().await;
            let again = keyed(ask(world, "a"), key).send().await;
            assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
            assert_eq!(again.code(), "idempotency_key_used");
            assert_eq!(again.header("x-should-retry"), Some("false"));
            assert_eq!(again.header("retry-after"), None);
        }
        assert_eq!(world.left("a").await, 18);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_charged_and_did_not_arrive_whole_is_sent_again_three_times() {
    for (world, _redis) in &both(setup).await {
        for expected in ["1", "0", "0", "0"] {
            let mut broken = keyed(world.stream("a").sim("break=after:2"), "k").open().await;
            assert_eq!(broken.status, 200);
            assert_eq!(broken.headers["x-credits-charged"], expected);
            assert!(broken.rest().await.is_err());
            world.resolved().await;
        }
        let refused = keyed(world.stream("a").sim("break=after:2"), "k").send().await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(world.left("a").await, 19);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hung_up_is_answered_whole_without_a_second_charge() {
    for (world, _redis) in &both(setup).await {
        let mut answer = keyed(world.stream("a").sim("hold=after:2"), "k").open().await;
        answer.until("\"content\":\"The \"").await;
        drop(answer);
        world.provider.last_is("cancelled").await;
        world.resolved().await;
        // The header `x-sim` is no part of the call.
        let again = keyed(world.stream("a"), "k").send().await;
        assert_eq!(charged(&again), (StatusCode::OK, Some("0")));
        assert_eq!(again.header("x-credits-remaining"), Some("19"));
        world.resolved().await;
        assert_eq!(keyed(world.stream("a"), "k").send().await.status, 422);
        assert_eq!(world.left("a").await, 19);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_up_before_any_output_costs_nothing_and_the_next_attempt_pays() {
    let world = setup().start().await;
    let waiting = tokio::spawn(keyed(world.chat("a").sim("hold=before-headers"), "k").try_open());
    world.provider.holds(1).await;
    waiting.abort();
    world.provider.last_is("cancelled").await;
    world.resolved().await;
    let served = keyed(world.chat("a"), "k").send().await;
    assert_eq!(charged(&served), (StatusCode::OK, Some("1")));
    assert_eq!(world.left("a").await, 19);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_differs_in_account_method_path_or_body_is_another_call() {
    for (world, _redis) in &both(setup).await {
        let mut other = chat_body(false);
        other["messages"][0]["content"] = json!("Another question");
        let path = "/v1/chat/completions";
        let post = |path: &str| world.ask("POST", path);
        let asks = [
            post(path).of("a").json(&chat_body(false)),
            post(path).of("a").json(&other),
            post("/v1/responses").of("a").json(&json!({ "model": "sim-small", "input": "?" })),
            post(path).of("b").json(&chat_body(false)),
        ];
        for ask in asks {
            assert_eq!(keyed(ask, "k").send().await.status, 200);
        }
        world.resolved().await;
        // One spelling of the path, whatever the client writes.
        let same = post("/chat//completions").of("a").json(&chat_body(false));
        assert_eq!(keyed(same, "k").send().await.status, 422);
        assert_eq!((world.left("a").await, world.left("b").await), (17, 19));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_leaves_no_trace() {
    for (world, _redis) in &both(|| Setup::new().account("a", 0)).await {
        let refused = keyed(world.chat("a"), "k").send().await;
        assert_eq!(refused.status, 402);
        world.gateway.run(&["grant", "a", "3", "--kind", "gift", "--source", "admin:1"]);
        assert_eq!(keyed(world.chat("a"), "k").send().await.status, 200);
        assert_eq!(world.left("a").await, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_can_not_be_read_is_said_to_be_so() {
    let world = setup().start().await;
    let long = "k".repeat(256);
    for key in ["", "\u{e9}", long.as_str()] {
        let refused = keyed(world.chat("a"), key).send().await;
        assert_eq!(
            (refused.status, refused.code()),
            (StatusCode::BAD_REQUEST, "invalid_header".into())
        );
    }
    let twice = keyed(keyed(world.chat("a"), "k"), "l").send().await;
    assert_eq!(twice.status, 400);
    assert_eq!(keyed(world.chat("a"), &long[1..]).send().await.status, 200);
    // A free call is none of its business.
    assert_eq!(keyed(world.ask("GET", "/v1/models").of("a"), "").send().await.status, 200);
    assert_eq!(world.left("a").await, 19);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_is_priced_by_unit_is_sent_again_for_nothing() {
    let setup = || setup().rule("model = 'sim-*'\ninput = 1000\noutput = 1000");
    for (world, _redis) in &both(setup).await {
        let ask = || world.stream("a").sim("break=after:3");
        assert!(keyed(ask(), "k").open().await.rest().await.is_err());
        let once = balance(world).await;
        assert!(once < 20_000_000, "{once}");
        let again = keyed(world.stream("a"), "k").send().await;
        assert_eq!(charged(&again), (StatusCode::OK, Some("0")));
        assert_eq!(balance(world).await, once);
    }
}

/// What the account `a` has, in µ, when all its calls are resolved.
async fn balance(world: &World) -> u64 {
    world.resolved().await;
    let text = world.credits("a").await["remaining"].to_string();
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    format!("{whole}{part:0<6}").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_the_fate_of_the_hold_decides() {
    let mut world = setup().set("limits.hold_ttl", "'3s'").start().await;
    // Output was seen and confirmed by a heartbeat: charged, and not delivered.
    let mut seen = keyed(world.stream("a").sim("hold=after:2"), "seen").open().await;
    seen.until("\"content\":\"The \"").await;
    // No output: nothing to charge.
    let unseen = keyed(world.stream("a").sim("hold=after:1"), "unseen").open().await;
    world.provider.holds(2).await;
    eventually("a heartbeat confirms the output", SOON, async || {
        let entries = world.gateway.run(&["ledger", "a"]);
        entries.to_string().contains("extend").then_some(())
    })
    .await;
    world.gateway.kill();
    drop((seen, unseen));
    world.provider.release().await;
    world.restart().await;
    for (key, expected) in [("seen", "0"), ("unseen", "1")] {
        let answer = eventually("its hold has run out", SOON, async || {
            let answer = keyed(world.stream("a"), key).send().await;
            (answer.status != StatusCode::CONFLICT).then_some(answer)
        });
        assert_eq!(charged(&answer.await), (StatusCode::OK, Some(expected)), "{key}");
    }
    assert_eq!(world.left("a").await, 18);
    tokio::time::timeout(Duration::from_secs(20), world.verify()).await.unwrap();
}
