//! Redis goes away under a socket: what holds for calls holds for each of its responses.

use super::*;
use crate::harness::{RedisServer, SOON, eventually};

/// A server that writes each step to its disk before it answers.
fn durable() -> RedisServer {
    RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"])
}

async fn metric_is(world: &World, name: &str, value: u64) {
    eventually(&format!("{name} is {value}"), SOON, async || {
        (world.metrics().await[name] == value).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_is_finished_and_the_next_waits_for_redis() {
    let mut redis = durable();
    let mut world = setup().ledger_on(&redis).start().await;
    let mut socket = open(&world, REALTIME, "a").await;
    socket.respond().await;
    assert_eq!(world.left("a").await, 9);
    socket.say(&create("hold=after:2")).await;
    socket.until("response.output_text.delta").await;
    world.provider.holds(1).await;
    redis.kill();
    metric_is(&world, "creditgate_ledger_up", 0).await;

    // Neither what the client asks for nor a new socket, and what runs ends whole.
    socket.say(&json!({ "type": "response.create", "event_id": "mine" })).await;
    let error = socket.until("error").await;
    assert_eq!(error["error"]["code"], "credit_store_unavailable", "{error}");
    assert_eq!((&error["status"], &error["error"]["event_id"]), (&json!(503), &json!("mine")));
    let bearer = format!("Bearer {}", key_of("a"));
    let refusal = try_open(&world, REALTIME, &[("authorization", &bearer)]).await.err().unwrap();
    assert_eq!(refusal.status(), 503);
    assert!(refusal.headers().contains_key("retry-after"));
    world.provider.release().await;
    socket.until("response.done").await;
    metric_is(&world, "creditgate_journal_waiting", 1).await;

    redis.restart();
    metric_is(&world, "creditgate_ledger_up", 1).await;
    socket.say(&create("chunks=1")).await;
    socket.until("response.done").await;
    socket.close().await;
    assert_eq!(world.left("a").await, 7);
    let books = world.stop().await;
    assert_eq!(books.charges("a").await.len(), 3);
    assert_eq!(books.audit().await.open_holds, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_the_provider_begins_without_redis_is_cut() {
    let mut redis = durable();
    let world = setup().ledger_on(&redis).start().await;
    let mut socket = open(&world, REALTIME, "a").await;
    socket.respond().await;
    assert_eq!(world.left("a").await, 9);
    redis.kill();
    socket.say(&json!({ "type": "input_audio_buffer.append", "audio": "c3BlZWNo" })).await;
    let error = socket.next().await.unwrap();
    assert_eq!(error["error"]["code"], "credit_store_unavailable", "{error}");
    assert_eq!(socket.end().await, Some((1013, "credit_store_unavailable".to_owned())));
    redis.restart();
    metric_is(&world, "creditgate_ledger_up", 1).await;
    assert_eq!(world.left("a").await, 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_of_google_is_closed_with_the_sentence() {
    let mut redis = durable();
    let world = setup().ledger_on(&redis).provider("google", "gemini").start().await;
    let path = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
    let mut socket = open(&world, path, "a").await;
    let ask = json!({ "clientContent": { "turns": [], "turnComplete": true } });
    socket.say(&ask).await;
    while socket.next().await.unwrap()["serverContent"]["turnComplete"] != true {}
    assert_eq!(world.left("a").await, 9);
    redis.kill();
    socket.say(&ask).await;
    let (code, reason) = socket.end().await.unwrap();
    assert_eq!(code, 1013);
    assert!(reason.contains("can't be checked at the moment"), "{reason}");
    redis.restart();
    metric_is(&world, "creditgate_ledger_up", 1).await;
    assert_eq!(world.left("a").await, 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowance_is_let_through_response_by_response() {
    let mut redis = durable();
    let mut world = setup()
        .ledger_on(&redis)
        .set("outage.on_outage", "'allow'")
        .set("outage.allowance", "2")
        .start()
        .await;
    let mut socket = open(&world, REALTIME, "a").await;
    socket.respond().await;
    assert_eq!(world.left("a").await, 9);
    redis.kill();
    for _ in 0..2 {
        socket.respond().await;
    }
    socket.say(&json!({ "type": "response.create" })).await;
    let error = socket.until("error").await;
    assert_eq!(error["error"]["code"], "credit_store_unavailable", "{error}");
    metric_is(&world, "creditgate_unheld_microcredits", 2_000_000).await;
    redis.restart();
    metric_is(&world, "creditgate_unheld_microcredits", 0).await;
    assert_eq!(world.left("a").await, 7);
    socket.close().await;
    let unheld = |line: &&Value| line["unheld"] == true && line["credits_charged"] == "1";
    assert_eq!(world.gateway.lines().iter().filter(unheld).count(), 2);
    assert_eq!(world.stop().await.charges("a").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_dies_forgets_no_response_that_had_ended() {
    let mut redis = durable();
    let mut world = setup().ledger_on(&redis).start().await;
    let mut socket = open(&world, REALTIME, "a").await;
    socket.say(&create("hold=after:2")).await;
    socket.until("response.output_text.delta").await;
    world.provider.holds(1).await;
    redis.kill();
    world.provider.release().await;
    socket.until("response.done").await;
    metric_is(&world, "creditgate_journal_waiting", 1).await;
    world.gateway.kill();
    redis.restart();
    world.restart().await;
    metric_is(&world, "creditgate_journal_waiting", 0).await;
    assert_eq!(world.left("a").await, 9);
    let report = world.verify().await;
    assert_eq!((&report["unsettled"], &report["open_holds"]), (&json!([]), &json!(0)));
}
