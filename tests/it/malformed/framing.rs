//! Requests that end in two places, or nowhere.

use super::check_untouched;
use crate::harness::{SOON, Setup, Wire, World, eventually, key_of};

const BODY: &str = r#"{"model":"m","messages":[]}"#;

async fn world() -> World {
    Setup::new().account("a", 10).start().await
}

/// The head of a chat of `a`, up to the headers that a test adds.
fn head(target: &str) -> String {
    let key = key_of("a");
    format!(
        "POST {target} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
    )
}

fn chat_head() -> String {
    head("/v1/chat/completions")
}

async fn status(world: &World, request: String) -> u16 {
    let mut wire = Wire::connect(world.gateway.address).await;
    wire.send(request).await;
    let answer = wire.until("\r\n\r\n").await;
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_lengths_are_refused() {
    let world = world().await;
    let length = BODY.len();
    for framing in [
        format!("content-length: {length}\r\ncontent-length: {}\r\n", length + 5),
        format!("content-length: {length}, {}\r\n", length + 5),
        "content-length: -1\r\n".to_owned(),
        "content-length: +5\r\n".to_owned(),
        "content-length: 0x1b\r\n".to_owned(),
        "content-length: 99999999999999999999999\r\n".to_owned(),
        "transfer-encoding: gzip\r\n".to_owned(),
        "transfer-encoding: chunked, identity\r\n".to_owned(),
        "transfer-encoding : chunked\r\n".to_owned(),
    ] {
        let request = format!("{}{framing}\r\n{BODY}", chat_head());
        assert_eq!(status(&world, request).await, 400, "{framing}");
    }
    check_untouched(&world, "a", 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_beside_chunks_hides_no_second_request() {
    let world = world().await;
    let hidden = format!(
        "GET /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        key_of("a")
    );
    for framing in [
        format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", BODY.len()),
        format!("transfer-encoding: chunked\r\ncontent-length: {}\r\n", BODY.len()),
    ] {
        let body = format!("{:x}\r\n{BODY}\r\n0\r\n\r\n{hidden}", BODY.len());
        let mut wire = Wire::connect(world.gateway.address).await;
        wire.send(format!("{}{framing}\r\n{body}", chat_head())).await;
        wire.end().await;
        wire.rest().await;
    }
    // Refused, or read as chunks alone with the connection closed behind them (RFC 9112 section 6.1). Upstream the
    // message has one length, and what followed it was not taken for a request.
    for seen in world.provider.seen().await {
        assert_eq!(seen.path, "/v1/chat/completions");
        assert_eq!(seen.body_bytes, BODY.len());
        assert!(!seen.headers.contains_key("transfer-encoding"), "{:?}", seen.headers);
    }
    world.resolved().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_are_read_as_one_body() {
    let world = world().await;
    let (first, second) = BODY.split_at(9);
    let body = format!("9\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n", second.len());
    let request = format!("{}transfer-encoding: chunked\r\n\r\n{body}", chat_head());
    assert_eq!(status(&world, request).await, 200);
    assert_eq!(world.provider.only().await.body_bytes, BODY.len());
    let broken =
        format!("{}transfer-encoding: chunked\r\n\r\nZZ\r\n{BODY}\r\n0\r\n\r\n", chat_head());
    assert_eq!(status(&world, broken).await, 400);
    assert_eq!(world.left("a").await, 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_never_ends_leaves_nothing() {
    let world = world().await;
    for hangs_up in [true, false] {
        let mut wire = Wire::connect(world.gateway.address).await;
        wire.send(format!("{}content-length: 1000\r\n\r\n{BODY}", chat_head())).await;
        if hangs_up {
            drop(wire);
        } else {
            wire.end().await;
            wire.rest().await;
        }
    }
    eventually("both requests are over", SOON, async || {
        let lines = world.gateway.lines();
        (lines.iter().filter(|line| line["route"] == "/v1/chat/completions").count() == 2)
            .then_some(())
    })
    .await;
    check_untouched(&world, "a", 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absolute_address_is_read_by_its_path() {
    let world = world().await;
    let length = format!("content-length: {}\r\n\r\n{BODY}", BODY.len());
    for target in ["http://x/v1/chat/completions", "http://api.openai.com/v1//chat/./completions"] {
        assert_eq!(status(&world, format!("{}{length}", head(target))).await, 200, "{target}");
        assert_eq!(world.provider.last_is("answered").await.path, "/v1/chat/completions");
    }
    assert_eq!(world.left("a").await, 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_or_no_http_is_refused() {
    let world = world().await;
    let key = key_of("a");
    for request in [
        format!(
            "CONNECT api.openai.com:443 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\r\n"
        ),
        "GET /v1/models\r\n\r\n".to_owned(),
        "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned(),
        format!("GET /v1/models HTTP/1.1\r\nhost: x\r\n folded: {key}\r\n\r\n"),
    ] {
        let mut wire = Wire::connect(world.gateway.address).await;
        wire.send(&request).await;
        wire.end().await;
        let answer = wire.rest().await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{request}: {answer}");
    }
    check_untouched(&world, "a", 10).await;
}
