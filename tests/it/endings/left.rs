//! The client leaves.

use serde_json::json;

use crate::harness::{Setup, World};

async fn world() -> World {
    Setup::new().account("a", 10).start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_the_answers_head_costs_nothing() {
    let world = world().await;
    for ask in [world.chat("a"), world.stream("a")] {
        let waiting = tokio::spawn(ask.sim("hold=before-headers").try_open());
        world.provider.holds(1).await;
        waiting.abort();
        world.provider.last_is("cancelled").await;
        assert_eq!(world.left("a").await, 10);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_any_output_costs_nothing() {
    let world = world().await;
    for switches in ["hold=after-headers", "hold=after:1"] {
        let answer = world.stream("a").sim(switches).open().await;
        world.provider.holds(1).await;
        drop(answer);
        world.provider.last_is("cancelled").await;
        assert_eq!(world.left("a").await, 10, "{switches}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_first_output_costs_the_price() {
    let world = world().await;
    for (calls, switches) in [(1, "hold=after:2"), (2, "hold=after:3"), (3, "hold=after:2,tool")] {
        let mut answer = world.stream("a").sim(switches).open().await;
        answer
            .until(if switches.ends_with("tool") { "tool_calls" } else { "\"content\":\"The \"" })
            .await;
        drop(answer);
        world.provider.last_is("cancelled").await;
        assert_eq!(world.left("a").await, 10 - calls, "{switches}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_middle_of_a_json_answer_costs_the_price() {
    let world = world().await;
    let mut answer = world.chat("a").sim("hold=after:1").open().await;
    answer.until("\"object\"").await;
    drop(answer);
    world.provider.last_is("cancelled").await;
    assert_eq!(world.left("a").await, 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_middle_of_speech_costs_the_price() {
    let world = world().await;
    let speech = json!({ "model": "m", "input": "Hi", "voice": "alloy" });
    let ask = world.ask("POST", "/v1/audio/speech").of("a").json(&speech);
    let mut answer = ask.sim("hold=after:1").open().await;
    answer.until("ID3").await;
    drop(answer);
    world.provider.last_is("cancelled").await;
    assert_eq!(world.left("a").await, 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_free_download_costs_nothing_and_is_cut_short_upstream() {
    let world = world().await;
    let answer = world.ask("GET", "/v1/models").of("a").sim("hold=after:1").open().await;
    drop(answer);
    world.provider.last_is("cancelled").await;
    assert_eq!(world.left("a").await, 10);
}
