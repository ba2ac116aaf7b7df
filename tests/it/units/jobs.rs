//! A job that goes on after its answer is charged its estimate, and corrected once when its end passes by.

use serde_json::json;

use super::setup;
use crate::harness::{SOON, eventually};

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
    let poll = async |account: &str| {
        let asked = world.ask("GET", &path).of(account).sim("input-tokens=70,output-tokens=3");
        assert_eq!(asked.send().await.status, 200);
    };
    // Another account's look corrects nothing, neither its own books nor the other's.
    poll("b").await;
    assert_eq!(world.credits("a").await["remaining"].to_string(), before);
    poll("a").await;
    eventually("the charge is corrected", SOON, async || {
        (world.credits("a").await["remaining"].to_string() == "99.9999").then_some(())
    })
    .await;
    for _ in 0..10 {
        poll("a").await;
    }
    world.resolved().await;
    let books = world.stop().await;
    assert_eq!(books.charges("a").await.get(&call), Some(&100));
    let corrections = books.entries("a").await.into_iter();
    assert_eq!(corrections.filter(|entry| entry.fact.name() == "correct").count(), 1);
    assert!(books.charges("b").await.is_empty());
    assert!(books.audit().await.is_clean());
}
