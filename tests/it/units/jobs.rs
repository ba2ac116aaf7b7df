//! A job that goes on after its answer is charged its estimate, and corrected once when its end passes by.

use serde_json::{Value, json};

use super::setup;
use crate::harness::{Canned, RedisServer, SOON, eventually};

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

/// An answer of a provider.
fn answer(kind: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n{body}")
        .into_bytes()
}

/// A job that `POST begins` begins and `GET asked` shows, and what is left of 100 credits once it was corrected.
async fn is_corrected(
    dialect: &str,
    (begins, body): (&str, Value),
    begun: &str,
    asked: &str,
    (kind, ended): (&str, &str),
    left: &str,
) {
    const JSON: &str = "application/json";
    let answers = vec![("GET ", answer(kind, ended)), ("POST ", answer(JSON, begun))];
    let canned = Canned::by_path(answers).await;
    let setup = setup().provider("p", dialect);
    let mut world = setup.upstream(canned.address).start().await;
    let begun = world.ask("POST", &format!("/p{begins}")).of("a").json(&body).send().await;
    assert_eq!(begun.status, 200, "{begun:?}");
    world.resolved().await;
    let before = world.credits("a").await["remaining"].to_string();
    assert_ne!(before, left, "{asked}");
    for _ in 0..2 {
        let got = world.ask("GET", &format!("/p{asked}")).of("a").send().await;
        assert_eq!(got.status, 200);
        assert!(got.body == ended.as_bytes(), "{asked}");
    }
    eventually("the charge is corrected", SOON, async || {
        let now = world.credits("a").await["remaining"].to_string();
        (now == left).then_some(())
    })
    .await;
    let books = world.stop().await;
    let corrections = books.entries("a").await.into_iter();
    assert_eq!(corrections.filter(|entry| entry.fact.name() == "correct").count(), 1, "{asked}");
    assert!(books.audit().await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streamed_answer_about_a_response_corrects_it_too() {
    let stream = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\
        \"status\":\"in_progress\",\"usage\":null}}\n\nevent: response.completed\ndata: {\"type\":\
        \"response.completed\",\"response\":{\"id\":\"resp_1\",\"status\":\"completed\",\"output\":[],\
        \"usage\":{\"input_tokens\":70,\"output_tokens\":3}}}\n\n";
    is_corrected(
        "openai",
        ("/v1/responses", json!({ "model": "m", "input": "Hello", "background": true })),
        r#"{"id":"resp_1","object":"response","status":"queued","usage":null}"#,
        "/v1/responses/resp_1?stream=true&starting_after=0",
        ("text/event-stream", stream),
        "99.9999",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn googles_jobs_are_corrected_by_what_they_report() {
    let requests = json!({ "requests": { "requests": [{ "request": {
        "contents": [{ "parts": [{ "text": "Hello" }] }] } }] } });
    let batch = |body: Value| json!({ "batch": { "input_config": body } });
    let usage = r#""usageMetadata":{"promptTokenCount":70,"candidatesTokenCount":3}"#;
    let one = format!(r#"{{"response":{{"candidates":[],{usage}}}}}"#);
    let output = format!(r#"{{"inlinedResponses":{{"inlinedResponses":[{one},{one}]}}}}"#);
    let ended = format!(
        r#"{{"name":"batches/b1","metadata":{{"state":"BATCH_STATE_SUCCEEDED","output":{output}}},"done":true,"response":{output}}}"#
    );
    is_corrected(
        "gemini",
        ("/v1beta/models/m:batchGenerateContent", batch(requests)),
        r#"{"name":"batches/b1","metadata":{"state":"BATCH_STATE_PENDING"}}"#,
        "/v1beta/batches/b1",
        ("application/json; charset=UTF-8", &ended),
        "99.9998",
    )
    .await;
    // A video tells nothing of its work: only one that failed gives its charge back.
    is_corrected(
        "gemini",
        ("/v1beta/models/veo:predictLongRunning", json!({ "instances": [{ "prompt": "Hello" }] })),
        r#"{"name":"models/veo/operations/o1"}"#,
        "/v1beta/models/veo/operations/o1",
        (
            "application/json",
            r#"{"name":"models/veo/operations/o1","done":true,"error":{"code":3,"message":"no"}}"#,
        ),
        "100",
    )
    .await;
    is_corrected(
        "gemini",
        ("/v1beta/interactions", json!({ "model": "m", "input": "Hello", "background": true })),
        r#"{"id":"v1_i","object":"interaction","status":"in_progress"}"#,
        "/v1beta/interactions/v1_i",
        (
            "application/json",
            r#"{"id":"v1_i","status":"completed","usage":{"total_input_tokens":70,"total_output_tokens":3}}"#,
        ),
        "99.9999",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_results_of_a_batch_correct_it() {
    let line = r#"{"custom_id":"a","result":{"type":"succeeded","message":{"usage":{"input_tokens":70,"output_tokens":3}}}}"#;
    let params = json!({ "model": "m", "max_tokens": 1000, "messages": [] });
    is_corrected(
        "anthropic",
        ("/v1/messages/batches", json!({ "requests": [{ "custom_id": "a", "params": params }] })),
        r#"{"id":"msgbatch_1","type":"message_batch","processing_status":"in_progress"}"#,
        "/v1/messages/batches/msgbatch_1/results",
        ("application/x-jsonl", &format!("{line}\n{line}\n")),
        "99.9998",
    )
    .await;
}
