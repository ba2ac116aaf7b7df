//! A job that goes on after its answer is charged its estimate, and corrected once when its end passes by.

use serde_json::json;

use super::setup;
use crate::harness::{RedisServer, SOON, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_background_response_is_corrected_once() {
    let mut world = setup().account("b", 100).start().await;
    let body = json!({ "model": "m", "input": "Hello", "background": true });
    let begun = world.ask("POST", "/v1/responses").of("a").json(&body).open().await;
    assert_eq!(begun.status, 200);
    let call = begun.request_id().unwrap();
    let answer = begun.whole().await;
    let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let path = format!("/v1/responses/{}", answer["id"].as_str().unwrap());
    world.resolved().await;
    let before = world.credits("a").await["remaining"].to_string();
    let poll = async |account: &str, status: u16| {
        let asked = world.ask("GET", &path).of(account).sim("input-tokens=70,output-tokens=3");
        assert_eq!(asked.send().await.status, status);
    };
    // Another account sees nothing of it, and corrects nothing, neither its own books nor the other's.
    poll("b", 404).await;
    assert_eq!(world.credits("a").await["remaining"].to_string(), before);
    poll("a", 200).await;
    eventually("the charge is corrected", SOON, async || {
        (world.credits("a").await["remaining"].to_string().as_str() == "99.9999").then_some(())
    })
    .await;
    for _ in 0..10 {
        poll("a", 200).await;
    }
    world.resolved().await;
    let books = world.stop().await;
    assert_eq!(books.charges("a").await.get(&call), Some(&100));
    let corrections = books.entries("a").await.into_iter();
    assert_eq!(corrections.filter(|entry| entry.fact.name() == "correct").count(), 1);
    assert!(books.charges("b").await.is_empty());
    assert!(books.audit().await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_correction_waits_for_a_ledger_that_is_away() {
    let mut redis = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let world = setup().ledger_on(&redis).start().await;
    let body = json!({ "model": "m", "input": "Hello", "background": true });
    let begun = world.ask("POST", "/v1/responses").of("a").json(&body).send().await;
    let id = begun.json()["id"].as_str().unwrap().to_owned();
    world.resolved().await;
    let before = world.credits("a").await["remaining"].to_string();
    redis.kill();
    eventually("the ledger is away", SOON, async || {
        (world.metrics().await["creditgate_ledger_up"] == 0).then_some(())
    })
    .await;
    let poll = world.ask("GET", &format!("/v1/responses/{id}")).of("a");
    let polled = poll.sim("input-tokens=70,output-tokens=3").send().await;
    assert_eq!(polled.status, 200);
    redis.restart();
    eventually("the charge is corrected", SOON, async || {
        if world.metrics().await["creditgate_ledger_up"] == 0 {
            return None;
        }
        let now = world.credits("a").await["remaining"].to_string();
        (now == "99.9999" && now != before).then_some(())
    })
    .await;
}
