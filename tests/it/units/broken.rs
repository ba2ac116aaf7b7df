//! Answers whose end never comes, and those that tell no usage: what was seen is counted here.

use serde_json::json;

use super::{INPUT, chat, setup, stream};
use crate::harness::{Canned, SOON, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_had_come_is_counted() {
    let mut world = setup().start().await;
    let mut expected = Vec::new();
    for (switches, words) in [
        // "The simulated " are 14 letters, all four words 28.
        ("break=after:3", Some(4)),
        ("break=after:2", Some(1)),
        ("break=after:1", None),
        ("break=after-headers", None),
        ("error-event=0", None),
        ("error-event=1", Some(1)),
        ("silent", None),
        ("no-usage", Some(7)),
    ] {
        let ask = world.ask("POST", "/v1/chat/completions").of("a").json(&chat("m", true));
        let Some(mut answer) = ask.sim(switches).try_open().await else {
            assert_eq!(words, None, "{switches}");
            continue;
        };
        expected.push((answer.request_id().unwrap(), words, switches));
        let _ = answer.rest().await;
    }
    world.resolved().await;
    let books = world.stop().await;
    let charges = books.charges("a").await;
    for (id, words, switches) in expected {
        assert_eq!(charges.get(&id).copied(), words.map(|words| INPUT + 10 * words), "{switches}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_breaks_costs_nothing_and_one_without_usage_what_it_says() {
    let mut world = setup().start().await;
    let ask = || world.ask("POST", "/v1/chat/completions").of("a").json(&chat("m", false));
    assert!(ask().sim("break=after:1").breaks().await);
    ask().sim("no-usage,body=Sixteen%20letters.").send().await;
    world.resolved().await;
    let books = world.stop().await;
    let charges: Vec<u64> = books.charges("a").await.into_values().collect();
    assert_eq!(charges, [INPUT + 4 * 10]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_answer_passes_and_costs_what_was_held() {
    let canned = Canned::start(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n\r\n\x1f\x8b\x00\xff\xfe",
    )
    .await;
    let mut world = setup().upstream(canned.address).start().await;
    let ask = world.ask("POST", "/v1/chat/completions").of("a").json(&chat("m", false));
    let answer = ask.send().await;
    assert_eq!(&answer.body[..], b"\x1f\x8b\x00\xff\xfe");
    assert_eq!(answer.header("x-credits-held"), Some("0.010008"));
    world.resolved().await;
    let books = world.stop().await;
    let charges: Vec<u64> = books.charges("a").await.into_values().collect();
    assert_eq!(charges, [INPUT + 1000 * 10]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_charged_as_it_was_held() {
    let mut world = setup().start().await;
    let body =
        json!({ "model": "m", "input": "abcd", "background": true, "max_output_tokens": 50 });
    let answer = world.ask("POST", "/v1/responses").of("a").json(&body).send().await;
    assert_eq!(answer.json()["status"], "queued");
    world.resolved().await;
    let books = world.stop().await;
    let charges: Vec<u64> = books.charges("a").await.into_values().collect();
    assert_eq!(charges, [1 + 50 * 10]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_dies_charges_the_work_of_its_last_heartbeat() {
    let mut world = setup().set("limits.hold_ttl", "'3s'").start().await;
    let mut answer = stream(&world, "a", "hold=after:3").await;
    answer.until("\"content\":\"simulated \"").await;
    let id = answer.request_id().unwrap();
    let path = format!("/admin/v1/explain/{id}");
    eventually("a heartbeat was written", SOON, async || {
        let call = world.admin("GET", &path).send().await.json();
        (call["heartbeats"].as_u64() > Some(0)).then_some(())
    })
    .await;
    world.gateway.kill();
    world.restart().await;
    world.resolved().await;
    let call = world.admin("GET", &path).send().await.json();
    assert_eq!(call["state"], "expired");
    // The next step of the account writes down what the time alone has brought about.
    world.ask("POST", "/v1/chat/completions").of("a").json(&chat("m", false)).send().await;
    let books = world.stop().await;
    // 14 letters are 4 tokens.
    assert_eq!(books.charges("a").await.get(&id), Some(&(INPUT + 4 * 10)));
}
