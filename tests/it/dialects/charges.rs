//! What a stream of Anthropic's or Google's costs when it ends early, and that its bytes are the provider's own.

use serde_json::json;

use super::{CONTENT_STREAM, content, message, three};
use crate::harness::{Ask, Canned, World};

fn streams(world: &World) -> [(&'static str, Ask); 3] {
    [
        ("anthropic", message(world, "a", true)),
        ("events", content(world, "a", &format!("{CONTENT_STREAM}?alt=sse"))),
        ("list", content(world, "a", CONTENT_STREAM)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_costs_from_its_first_output_on() {
    let world = three().account("a", 100).start().await;
    // Anthropic's begins with three events that say nothing.
    for (switches, anthropic, google) in [
        ("chunks=3", 1, 1),
        ("break=after:4", 1, 1),
        ("break=after:3", 0, 1),
        ("break=after:1", 0, 1),
        ("break=after:0", 0, 0),
        ("break=before-headers", 0, 0),
        ("error-event=0", 0, 0),
        ("error-event=1", 1, 1),
        ("error-event=0,split=5", 0, 0),
        ("break=after:4,split=11", 1, 1),
        ("tool", 1, 1),
        // It ends as it should, without a word.
        ("chunks=0", 1, 1),
        ("status=503", 0, 0),
    ] {
        for (name, ask) in streams(&world) {
            let before = world.left("a").await;
            let _ = ask.sim(switches).breaks().await;
            let expected = if name == "anthropic" { anthropic } else { google };
            assert_eq!(before - world.left("a").await, expected, "{name} {switches}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_pays_for_what_it_has_seen() {
    let world = three().account("a", 100).start().await;
    for (which, (name, _)) in streams(&world).into_iter().enumerate() {
        for (sent, seen, price) in [("after:4", "says", 1), ("after-headers", "", 0)] {
            let before = world.left("a").await;
            let [first, second, third] = streams(&world).map(|(_, ask)| ask);
            let ask = [first, second, third].into_iter().nth(which).unwrap();
            let mut answer = ask.sim(&format!("hold={sent},chunks=20")).open().await;
            answer.until(if name == "anthropic" && price == 1 { "The" } else { seen }).await;
            drop(answer);
            world.provider.last_is("cancelled").await;
            assert_eq!(before - world.left("a").await, price, "{name} {sent}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_what_the_provider_sent_however_it_is_cut() {
    let world = three().account("a", 1000).start().await;
    for seed in 0..20 {
        for (name, ask) in streams(&world) {
            let switches = format!("chunks={seed},split={seed},body=sn%C3%B6w%20%5D%7D%22%5C");
            let answer = ask.sim(&switches).send().await;
            let sent = world.provider.last_is("answered").await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.body.len(), sent.sent_bytes, "{name} {seed}");
            assert_eq!(answer.sha256(), sent.response_sha256, "{name} {seed}");
        }
    }
}

/// Nobody can tell what the events of a new route mean, so that they are not asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_of_an_unknown_route_costs_when_it_ends() {
    let answer: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {\"new\":1}\n\n";
    let canned = Canned::start(answer).await;
    let world = three().upstream(canned.address).account("a", 10).start().await;
    for path in ["/v1/brand/new", "/anthropic/v1/brand/new", "/gemini/v1beta/brand/new"] {
        let before = world.left("a").await;
        assert_eq!(world.ask("POST", path).of("a").json(&json!({})).send().await.status, 200);
        assert_eq!(before - world.left("a").await, 1, "{path}");
    }
    // Of a route that is known they are: this says nothing and does not end as it should.
    let before = world.left("a").await;
    assert_eq!(message(&world, "a", true).send().await.status, 200);
    assert_eq!(before - world.left("a").await, 0);
}
