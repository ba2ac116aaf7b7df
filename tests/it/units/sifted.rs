//! Where the client did not ask for the usage of its stream, the gateway does, and no other byte changes.

use serde_json::{Value, json};

use super::{chat, setup};
use crate::harness::{Client, sha256};

/// The request as the gateway sends it: the question is put in front.
fn asked(body: &Value) -> String {
    let text = body.to_string();
    let rest = text.strip_prefix('{').unwrap();
    format!("{{\"stream_options\":{{\"include_usage\":true}},{rest}")
}

/// `stream` without the one event whose choices are none.
fn without_usage(stream: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(stream).unwrap();
    let events: Vec<&str> = text.split_inclusive("\n\n").collect();
    let (kept, left): (Vec<&str>, Vec<&str>) =
        events.into_iter().partition(|event| !event.contains("\"choices\":[],"));
    assert_eq!(left.len(), 1, "{text}");
    kept.concat().into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_chunk_is_taken_out_however_the_bytes_are_cut() {
    let world = setup().start().await;
    let client = Client::new();
    let completion = json!({ "model": "m", "prompt": "Hello", "stream": true });
    for seed in 0..40 {
        let chunks = seed * 3 % 25;
        let switches =
            format!("chunks={chunks},split={seed},body=sn%C3%B6w%20%E2%98%83%0A%0Adata:");
        for (path, body) in
            [("/v1/chat/completions", chat("m", true)), ("/v1/completions", completion.clone())]
        {
            let plain = client.ask(world.provider.address, "POST", path).bearer("key");
            let plain = plain.header("content-type", "application/json").body(asked(&body));
            let sent = plain.sim(&switches).send().await;
            let answer = world.ask("POST", path).of("a").json(&body).sim(&switches).send().await;
            assert_eq!(answer.sha256(), sha256(&without_usage(&sent.body)), "{switches}");
            let seen = world.provider.last_is("answered").await;
            assert_eq!(seen.response_sha256, sent.sha256(), "the provider was asked otherwise");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_gets_it_and_what_is_no_chat_stream_is_not_asked() {
    let world = setup().start().await;
    let mut asking = chat("m", true);
    asking["stream_options"] = json!({ "include_usage": true });
    let response = json!({ "model": "m", "input": "Hello", "stream": true });
    for (path, body) in [
        ("/v1/chat/completions", asking),
        ("/v1/chat/completions", chat("m", false)),
        ("/v1/responses", response),
    ] {
        let answer = world.ask("POST", path).of("a").json(&body).sim("split=3").send().await;
        let seen = world.provider.last_is("answered").await;
        assert_eq!(seen.body_bytes, body.to_string().len(), "{path}");
        assert_eq!(seen.response_sha256, answer.sha256(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_that_it_wants_none_does_not_escape_the_meter() {
    let mut world = setup().start().await;
    let mut refusing = chat("m", true);
    refusing["stream_options"] = json!({ "include_usage": false });
    let ask = world.ask("POST", "/v1/chat/completions").of("a").json(&refusing);
    let answer = ask.sim("input-tokens=70,output-tokens=3").send().await;
    assert!(!String::from_utf8_lossy(&answer.body).contains("prompt_tokens"));
    assert!(answer.body.ends_with(b"data: [DONE]\n\n"));
    let twice = r#"{"model":"m","stream":true,"stream_options":null,"stream_options":{}}"#;
    let ask = world.ask("POST", "/v1/chat/completions").of("a").body(twice);
    assert_eq!(ask.send().await.status, 400);
    world.resolved().await;
    let books = world.stop().await;
    assert_eq!(books.charges("a").await.into_values().collect::<Vec<_>>(), [100]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_still_arrive_as_they_are_sent() {
    let world = setup().start().await;
    let mut answer = super::stream(&world, "a", "chunks=3,hold=after:2").await;
    answer.until("\"content\":\"The \"").await;
    world.provider.release().await;
    answer.rest().await.unwrap();
    assert!(answer.read.ends_with(b"data: [DONE]\n\n"));
}
