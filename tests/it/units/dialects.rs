//! Providers that are none of OpenAI's kind report their work in their own way.

use serde_json::json;

use super::{PRICES, setup};
use crate::harness::{Ask, Canned, Setup, World};

const CONTENT: &str = "/v1beta/models/sim-small:generateContent";
const STREAM: &str = "/v1beta/models/sim-small:streamGenerateContent";

/// A message of 16 letters, as Anthropic's library asks for it.
fn message(world: &World, stream: bool) -> Ask {
    let message = json!({ "role": "user", "content": "Sixteen letters." });
    let body = json!({ "model": "m", "max_tokens": 100, "stream": stream, "messages": [message] });
    let ask = world.ask("POST", "/v1/messages").of("a").header("anthropic-version", "2023-06-01");
    ask.json(&body)
}

/// The same as Google's.
fn content(world: &World, path: &str) -> Ask {
    let part = json!({ "text": "Sixteen letters." });
    let body = json!({ "contents": [{ "role": "user", "parts": [part] }],
        "generationConfig": { "maxOutputTokens": 100 } });
    world.ask("POST", path).header("x-goog-api-key", &crate::harness::key_of("a")).json(&body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anthropics_and_googles_are_charged_as_they_report() {
    let setup = setup().provider("anthropic", "anthropic").provider("gemini", "gemini");
    let mut world = setup.start().await;
    let tokens = "input-tokens=70,output-tokens=3,cached-tokens=5";
    let mut expected = Vec::new();
    for (ask, switches, charge) in [
        // What was cached is counted beside the input: 70 + 5 + 3 × 10.
        (message(&world, false), tokens, Some(105)),
        (message(&world, true), tokens, Some(105)),
        // The start of the stream tells the input; "The " is one token.
        (message(&world, true), "input-tokens=70,cached-tokens=5,break=after:4", Some(85)),
        (message(&world, true), "break=after:3", None),
        (content(&world, CONTENT), tokens, Some(100)),
        (content(&world, STREAM), tokens, Some(100)),
        (content(&world, &format!("{STREAM}?alt=sse")), tokens, Some(100)),
    ] {
        let mut answer = ask.sim(switches).open().await;
        assert_eq!(answer.status, 200, "{switches}");
        // 16 letters and a message are 8 tokens, the answer may have 100.
        assert_eq!(answer.headers["x-credits-held"], "0.001008");
        expected.push((answer.request_id().unwrap(), charge, switches));
        let _ = answer.rest().await;
    }
    world.resolved().await;
    let books = world.stop().await;
    let charges = books.charges("a").await;
    for (id, charge, switches) in expected {
        assert_eq!(charges.get(&id).copied(), charge, "{switches}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_line_of_a_local_model_tells_its_work() {
    let canned = Canned::start(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n\
          {\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"done\":false}\n\
          {\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"prompt_eval_count\":26,\"eval_count\":4}\n",
    )
    .await;
    let setup = Setup::new().prices(PRICES).account("a", 1).provider("local", "ollama");
    let mut world = setup.upstream(canned.address).start().await;
    let body = json!({ "model": "m", "messages": [], "options": { "num_predict": 20 } });
    let answer = world.ask("POST", "/local/api/chat").of("a").json(&body).send().await;
    assert_eq!(answer.header("x-credits-held"), Some("0.0002"));
    world.resolved().await;
    let books = world.stop().await;
    assert_eq!(books.charges("a").await.into_values().collect::<Vec<_>>(), [66]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_models_the_dearest_sets_the_price() {
    let canned = Canned::start(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
    )
    .await;
    let setup = Setup::new().prices(PRICES).account("a", 1).provider("router", "openrouter");
    let world = setup.upstream(canned.address).start().await;
    let body = json!({ "models": ["cheap", "thinker"], "messages": [], "max_tokens": 10 });
    let ask = world.ask("POST", "/router/api/v1/chat/completions").of("a").json(&body);
    let answer = ask.send().await;
    // Ten tokens at 20, and the minimum.
    assert_eq!(answer.header("x-credits-held"), Some("0.0005"), "{answer:?}");
}
