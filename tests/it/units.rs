//! Calls whose work has a price: what the provider reports is charged, to the millionth.

mod broken;
mod dialects;
mod jobs;
mod left;
mod owed;
mod pieces;
mod reported;
mod sifted;

use serde_json::{Value, json};

use crate::harness::{Opened, Setup, World};

/// µ for a token of each kind: 1 of the request, 10 of the answer.
const PRICES: &str = "
    [[price.rule]]
    operation = 'image'
    model = 'painter'
    image = '0.04'
    [[price.rule]]
    operation = 'transcription'
    model = 'listener'
    audio_second = '0.0001'
    [[price.rule]]
    operation = 'speech'
    characters = 15
    [[price.rule]]
    model = 'thinker'
    input = '1.25'
    cached_input = '0.125'
    output = '10'
    reasoning = '20'
    minimum = '0.0005'
    [[price.rule]]
    model = 'short'
    input = 1
    output = 10
    max_output_tokens = 1
    [[price.rule]]
    model = '*'
    input = 1
    output = 10
";

/// Of the words of [`chat`]: sixteen letters and a message.
const INPUT: u64 = 8;

fn setup() -> Setup {
    Setup::new().prices(PRICES).account("a", 100)
}

/// A chat for `model`.
fn chat(model: &str, stream: bool) -> Value {
    let message = json!({ "role": "user", "content": "Sixteen letters." });
    json!({ "model": model, "messages": [message], "stream": stream, "max_tokens": 1000 })
}

/// A streamed chat of `account` that the simulated provider answers as `switches` say.
async fn stream(world: &World, account: &str, switches: &str) -> Opened {
    let ask = world.ask("POST", "/v1/chat/completions").of(account).json(&chat("m", true));
    ask.sim(switches).open().await
}
