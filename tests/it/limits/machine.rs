//! The machine's own limits.

use serde_json::json;

use crate::harness::{Answer, SOON, Setup, Wire, eventually, key_of};

fn check_busy(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "gateway_busy"));
    assert_eq!(answer.header("retry-after"), Some("1"));
}

fn chat_head(length: usize) -> String {
    let key = key_of("a");
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_those_in_flight_are_refused_at_once() {
    let setup = Setup::new().set("limits.in_flight", "2").account("a", 10);
    let world = setup.start().await;
    let held = || tokio::spawn(world.chat("a").sim("hold=before-headers").send());
    let running = [held(), held()];
    world.provider.holds(2).await;
    for ask in [world.chat("a"), world.ask("GET", "/v1/models").of("a")] {
        check_busy(&ask.send().await);
    }
    eventually("each has its line in the log", SOON, async || {
        let lines = world.gateway.lines();
        let shed = lines.iter().filter(|line| line["ending"] == "gateway_busy").count();
        (shed == 2).then_some(())
    })
    .await;
    world.provider.release().await;
    for running in running {
        assert_eq!(running.await.unwrap().status, 200);
    }
    assert_eq!(world.left("a").await, 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_in_flight_until_it_ends() {
    let setup = Setup::new().set("limits.in_flight", "1").account("a", 10);
    let world = setup.start().await;
    let mut stream = world.stream("a").sim("hold=after:2").open().await;
    stream.until("content").await;
    check_busy(&world.ask("GET", "/v1/models").of("a").send().await);
    world.provider.release().await;
    stream.rest().await.unwrap();
    eventually("there is room again", SOON, async || {
        let answer = world.ask("GET", "/v1/models").of("a").send().await;
        (answer.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let setup = Setup::new().set("limits.connections", "2").account("a", 10);
    let world = setup.start().await;
    let ask = format!(
        "GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        key_of("a")
    );
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut wire = Wire::connect(world.gateway.address).await;
        wire.send(&ask).await;
        wire.until("sim-small").await;
        open.push(wire);
    }
    let mut third = Wire::connect(world.gateway.address).await;
    third.send(&ask).await;
    let too_early =
        tokio::time::timeout(std::time::Duration::from_millis(300), third.until("HTTP/1.1 200"));
    assert!(too_early.await.is_err(), "the third connection was served beside two others");
    open.pop();
    third.until("HTTP/1.1 200").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_wait_take_no_more_memory_than_allowed() {
    let setup = Setup::new().set("limits.metered_body", "'64KiB'").account("a", 10);
    let world = setup.set("limits.buffered_bodies", "'64KiB'").start().await;
    // The caller is known, so that the next request takes its memory as soon as it is there.
    assert_eq!(world.chat("a").send().await.status, 200);
    let mut slow = Wire::connect(world.gateway.address).await;
    slow.send(chat_head(60 * 1024)).await;
    slow.send(r#"{"model":"m","messages":[],"x":""#).await;
    eventually("the slow request is there", SOON, async || {
        (world.metrics().await["creditgate_requests_in_flight"] == 1).then_some(())
    })
    .await;
    let large = json!({ "model": "m", "x": "x".repeat(10_000) });
    let large = || world.ask("POST", "/v1/chat/completions").of("a").json(&large).send();
    check_busy(&large().await);
    // What is passed through takes none of it.
    assert_eq!(world.ask("GET", "/v1/models").of("a").send().await.status, 200);
    drop(slow);
    eventually("the memory is free", SOON, async || (large().await.status == 200).then_some(()))
        .await;
    world.resolved().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_pauses_for_too_long_is_given_up() {
    let setup = Setup::new().set("limits.body_idle_timeout", "'200ms'").account("a", 10);
    let world = setup.start().await;
    let mut slow = Wire::connect(world.gateway.address).await;
    slow.send(chat_head(1000)).await;
    slow.send(r#"{"model":"m""#).await;
    let answer = slow.until("incomplete_body").await;
    assert!(answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(world.left("a").await, 10);
    assert!(world.provider.seen().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_does_not_come_in_time_closes_the_connection() {
    let setup = Setup::new().set("limits.head_timeout", "'300ms'").account("a", 10);
    let world = setup.start().await;
    for begun in ["", "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"] {
        let mut wire = Wire::connect(world.gateway.address).await;
        wire.send(begun).await;
        let answer = wire.rest().await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{begun:?}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_too_large_is_refused() {
    let setup = Setup::new().set("limits.head_bytes", "'8KiB'").account("a", 10);
    let world = setup.start().await;
    let ask = world.ask("GET", "/v1/models").of("a").header("x-long", &"x".repeat(20_000));
    assert_eq!(ask.send().await.status, 431);
    let ask = world.ask("GET", "/v1/models").of("a").header("x-long", &"x".repeat(2000));
    assert_eq!(ask.send().await.status, 200);
}
