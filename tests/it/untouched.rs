//! The gateway adds no byte to what it passes on and removes none.

use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::harness::{Answer, Ask, Canned, Setup, World};

const MIB: usize = 1 << 20;

/// Sends a request and checks its answer against what the provider sent.
async fn same_bytes(world: &World, ask: Ask) -> Answer {
    let answer = ask.send().await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let sent = world.provider.last_is("answered").await;
    assert_eq!(answer.body.len(), sent.sent_bytes);
    assert_eq!(answer.sha256(), sent.response_sha256);
    answer
}

/// A body for each of the three operations that stream text.
fn bodies(stream: bool) -> [(&'static str, Value); 3] {
    let options = json!({ "include_usage": true });
    let chat = json!([{ "role": "user", "content": "Hello, wörld ✓" }]);
    [
        (
            "/v1/chat/completions",
            json!({ "model": "m", "messages": chat, "stream": stream, "stream_options": options }),
        ),
        ("/v1/completions", json!({ "model": "m", "prompt": "Hello", "stream": stream })),
        ("/v1/responses", json!({ "model": "m", "input": "Hello", "stream": stream })),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_what_the_provider_sent_however_it_is_cut() {
    let world = Setup::new().account("a", 10_000).start().await;
    let mut random = StdRng::seed_from_u64(7);
    for _ in 0..60 {
        let (seed, chunks) = (random.next_u32(), random.random_range(0..40));
        for (path, body) in bodies(true) {
            let switches =
                format!("chunks={chunks},split={seed},body=sn%C3%B6w%20%E2%98%83%0A%0Adata:");
            let ask = world.ask("POST", path).of("a").json(&body).sim(&switches);
            let answer = same_bytes(&world, ask).await;
            assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_stream_is_what_the_provider_sent() {
    let world = Setup::new().account("a", 1).start().await;
    let answer = same_bytes(&world, world.stream("a").sim("chunks=20000")).await;
    assert!(answer.body.len() > 4 * MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_and_media_are_what_the_provider_sent() {
    let world = Setup::new().account("a", 100).start().await;
    for (path, body) in bodies(false) {
        let answer = same_bytes(&world, world.ask("POST", path).of("a").json(&body)).await;
        answer.json();
    }
    let speech = json!({ "model": "sim-audio", "input": "Hi", "voice": "alloy" });
    let ask = world.ask("POST", "/v1/audio/speech").of("a").json(&speech).sim("chunks=64,split=5");
    let answer = same_bytes(&world, ask).await;
    assert_eq!(answer.body.len(), 64 * 1024);
    assert_eq!(answer.header("content-type"), Some("audio/mpeg"));

    let answer = same_bytes(&world, world.ask("GET", "/v1/models").of("a")).await;
    assert_eq!(answer.json()["object"], "list");
    assert_eq!(world.left("a").await, 96);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_over_http2_is_what_the_provider_sent() {
    let world = Setup::new().account("a", 1).start().await;
    let body = json!({ "model": "m", "messages": [], "stream": true });
    let ask = world.ask_http2("POST", "/v1/chat/completions").of("a").json(&body);
    same_bytes(&world, ask.sim("chunks=500,split=11")).await;
    assert_eq!(world.left("a").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_as_they_are_sent() {
    let world = Setup::new().account("a", 1).start().await;
    let mut answer = world.stream("a").sim("chunks=3,hold=after:2").open().await;
    answer.until("\"content\":\"The \"").await;
    world.provider.release().await;
    answer.rest().await.unwrap();
    assert!(answer.read.ends_with(b"data: [DONE]\n\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_slows_the_provider_down() {
    let world = Setup::new().account("a", 1).start().await;
    let mut wire = crate::harness::Wire::connect(world.gateway.address).await;
    let body = r#"{"model":"m","messages":[],"stream":true}"#;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\nx-sim: chunks=100000\r\ncontent-length: {}\r\n\r\n",
        crate::harness::key_of("a"),
        body.len()
    );
    wire.send(head + body).await;
    wire.until("200 OK").await;
    // Twice the same number: what lies on the way is full, and it is a small part of the 25 MB.
    let mut before = 0;
    let sent = crate::harness::eventually("the provider waits", crate::harness::SOON, async || {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let sent = world.provider.only().await.sent_bytes;
        let waits = sent == before;
        before = sent;
        waits.then_some(sent)
    })
    .await;
    assert_eq!(world.provider.only().await.state, "open");
    assert!(sent < 16 * MIB, "{sent} bytes are on the way");
    drop(wire);
    world.provider.last_is("cancelled").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_metered_body_arrives_whole() {
    let world = Setup::new().account("a", 10).start().await;
    for length in [1, 1000, 100_000, 3 * MIB] {
        let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "x".repeat(length) }] });
        let sent = body.to_string().len();
        world.ask("POST", "/v1/chat/completions").of("a").json(&body).send().await;
        assert_eq!(world.provider.last_is("answered").await.body_bytes, sent);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_goes_up_and_comes_down_as_it_was_and_may_be_larger_than_a_metered_body() {
    let setup = Setup::new().account("a", 0);
    let setup = setup.set("limits.metered_body", "'256KiB'");
    let world = setup.set("limits.buffered_bodies", "'256KiB'").start().await;
    let mut content = vec![0; 5 * MIB];
    StdRng::seed_from_u64(1).fill_bytes(&mut content);
    let mut form =
        b"--cut\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nuser_data\r\n\
        --cut\r\ncontent-disposition: form-data; name=\"file\"; filename=\"f.bin\"\r\n\r\n"
            .to_vec();
    form.extend_from_slice(&content);
    form.extend_from_slice(b"\r\n--cut--\r\n");
    let length = form.len();
    let ask = world.ask("POST", "/v1/files").of("a");
    let ask = ask.header("content-type", "multipart/form-data; boundary=cut").body(form);
    let file = same_bytes(&world, ask).await.json();
    assert_eq!(world.provider.only().await.body_bytes, length);
    assert_eq!(file["bytes"], content.len());

    let path = format!("/v1/files/{}/content", file["id"].as_str().unwrap());
    let down = same_bytes(&world, world.ask("GET", &path).of("a")).await;
    assert!(down.body == content, "the file came back changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_text_pass_and_cost_what_they_cost() {
    // A compressed answer, a body that ends with its connection, and one that says it is no stream.
    let canned = Canned::start(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n\r\n\x1f\x8b\x00\xff\xfe",
    )
    .await;
    let world = Setup::new().account("a", 2).upstream(canned.address).start().await;
    let answer = world.chat("a").send().await;
    assert_eq!(&answer.body[..], b"\x1f\x8b\x00\xff\xfe");
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(world.left("a").await, 1);
}
