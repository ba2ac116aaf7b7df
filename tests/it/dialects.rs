//! The dialects beside OpenAI's: one address for the libraries of all, priced, refused and charged in the words of each.

mod charges;
mod others;
mod places;
mod refused;

use serde_json::{Value, json};

use crate::harness::{Ask, Setup, World, key_of};

const MESSAGES: &str = "/v1/messages";
const CONTENT: &str = "/v1beta/models/sim-small:generateContent";
const CONTENT_STREAM: &str = "/v1beta/models/sim-small:streamGenerateContent";

/// A gateway with the providers of the shipped configuration.
fn three() -> Setup {
    Setup::new().provider("anthropic", "anthropic").provider("gemini", "gemini")
}

fn message_body(stream: bool) -> Value {
    let hello = json!([{ "role": "user", "content": "Hello" }]);
    json!({ "model": "sim-small", "max_tokens": 64, "stream": stream, "messages": hello })
}

fn content_body() -> Value {
    json!({ "contents": [{ "role": "user", "parts": [{ "text": "Hello" }] }] })
}

/// A message as Anthropic's library asks for it.
fn message(world: &World, account: &str, stream: bool) -> Ask {
    let ask = world.ask("POST", MESSAGES).header("x-api-key", &key_of(account));
    ask.header("anthropic-version", "2023-06-01").json(&message_body(stream))
}

/// Content as Google's library asks for it.
fn content(world: &World, account: &str, path: &str) -> Ask {
    world.ask("POST", path).header("x-goog-api-key", &key_of(account)).json(&content_body())
}
