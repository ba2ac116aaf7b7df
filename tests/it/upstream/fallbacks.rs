//! A provider's further addresses: which calls go on to them, and that one answer is charged.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket};

use crate::harness::{Canned, Provider, SOON, Setup, World, chat_body, eventually};

const LIMITED: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\n\
    retry-after: 30\r\nx-first: yes\r\ncontent-length: 14\r\n\r\n{\"first\": 429}";
const BROKEN: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\n{}";
const TIMED_OUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 2\r\n\r\n{}";
const FORBIDDEN: &[u8] = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\n{}";
const SILENT: &[u8] = b"";

/// A gateway whose provider is at `first` and, if that fails, at `second`, with a key of its own.
async fn world(first: SocketAddr, second: SocketAddr) -> World {
    setup(first, second).start().await
}

fn setup(first: SocketAddr, second: SocketAddr) -> Setup {
    Setup::new()
        .set("provider.openai.tenancy", "'off'")
        .account("a", 100)
        .upstream(first)
        .fallback(second, "second-key")
}

fn attempts(metrics: &std::collections::BTreeMap<String, u64>, address: u32, outcome: &str) -> u64 {
    let labels = format!("provider=\"openai\",address=\"{address}\",outcome=\"{outcome}\"");
    metrics[&format!("creditgate_upstream_attempts_total{{{labels}}}")]
}

/// The line of the log about the last AI call.
async fn last_line(world: &World) -> Value {
    eventually("the call is logged", SOON, async || {
        let lines = world.gateway.lines();
        lines.into_iter().rfind(|line| line["class"] == "metered")
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_fails_at_one_address_is_answered_by_the_next_and_charged_once() {
    for answer in [LIMITED, BROKEN, TIMED_OUT, SILENT] {
        let (first, second) = (Canned::start(answer).await, Provider::start().await);
        let world = world(first.address, second.address).await;
        let answer = world.chat("a").send().await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("x-credits-charged"), Some("1"));
        let seen = second.only().await;
        // The simulated provider shows the end of a key.
        assert_eq!(seen.headers["authorization"], "...-key");
        assert_eq!(seen.headers["host"], second.address.to_string());
        assert_eq!(seen.response_sha256, answer.sha256());
        assert_eq!(first.heads().len(), 1);
        assert_eq!(world.left("a").await, 99);
        let line = last_line(&world).await;
        assert_eq!((&line["attempts"], &line["address"]), (&json!(2), &json!(2)));
        assert!(!world.gateway.log().contains("second-key"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_down_is_tried_last_for_a_while() {
    // Bound and not listening: nobody else can have the port, and nobody answers on it.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let second = Provider::start().await;
    let world = world(socket.local_addr().unwrap(), second.address).await;
    for _ in 0..3 {
        assert_eq!(world.stream("a").send().await.status, 200);
    }
    let metrics = world.metrics().await;
    assert_eq!(attempts(&metrics, 1, "away"), 1);
    assert_eq!(attempts(&metrics, 2, "answered"), 3);
    assert_eq!(world.left("a").await, 97);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_asks_to_be_left_alone_is() {
    let (first, second) = (Canned::start(LIMITED).await, Provider::start().await);
    let world = world(first.address, second.address).await;
    for _ in 0..3 {
        assert_eq!(world.chat("a").send().await.status, 200);
    }
    assert_eq!(first.heads().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_moves_a_call_when_the_configuration_says_so() {
    // Connections are accepted by the system, and nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let second = Provider::start().await;
    let setup = setup(silent.local_addr().unwrap(), second.address);
    let world = setup.set("provider.openai.next_after", "'100ms'").start().await;
    assert_eq!(world.chat("a").send().await.status, 200);
    assert_eq!(attempts(&world.metrics().await, 1, "slow"), 1);
    assert_eq!(world.left("a").await, 99);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_all_fail_the_last_answer_is_passed_on_and_nothing_is_charged() {
    let (first, second) = (Canned::start(BROKEN).await, Canned::start(LIMITED).await);
    let world_of_answers = world(first.address, second.address).await;
    let answer = world_of_answers.chat("a").send().await;
    assert_eq!((answer.status.as_u16(), answer.header("x-first")), (429, Some("yes")));
    assert_eq!(answer.header("retry-after"), Some("30"));
    assert_eq!(answer.json(), json!({"first": 429}));
    assert_eq!(world_of_answers.left("a").await, 100);

    // An answer says more than none.
    let (first, second) = (Canned::start(LIMITED).await, Canned::start(SILENT).await);
    let answering = world(first.address, second.address).await;
    let answer = answering.chat("a").send().await;
    assert_eq!((answer.status.as_u16(), answer.header("x-first")), (429, Some("yes")));
    assert_eq!(second.heads().len(), 1);

    let (first, second) = (Canned::start(SILENT).await, Canned::start(SILENT).await);
    let silent = world(first.address, second.address).await;
    let answer = silent.chat("a").send().await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (502, "provider_unreachable"));
    assert_eq!(silent.left("a").await, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_provider_refuses_or_breaks_off_is_not_tried_again() {
    let second = Provider::start().await;
    let first = Canned::start(FORBIDDEN).await;
    let refusing = world(first.address, second.address).await;
    assert_eq!(refusing.chat("a").send().await.status, 403);

    let first = Provider::start().await;
    let breaking = world(first.address, second.address).await;
    assert!(breaking.stream("a").sim("break=after:1").breaks().await);
    assert!(second.seen().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_first_address_keeps_stays_there() {
    let (first, second) = (Canned::start(BROKEN).await, Provider::start().await);
    let world = world(first.address, second.address).await;
    let mut continued = chat_body(false);
    continued["conversation"] = json!("conv_1");
    let batch = json!({"input_file_id": "file-1", "endpoint": "/v1/responses"});
    for ask in [
        world.ask("GET", "/v1/files/file-1").of("a"),
        world.ask("POST", "/v1/vector_stores").of("a").body("{}"),
        world.ask("POST", "/v1/batches").of("a").json(&batch),
        world.ask("POST", "/v1/responses").of("a").json(&continued),
    ] {
        assert_eq!(ask.send().await.status, 500);
    }
    assert!(second.seen().await.is_empty());
    assert_eq!(first.heads().len(), 4);
    assert_eq!(world.left("a").await, 100);
}
