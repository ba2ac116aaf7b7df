//! Embeddings, moderations and images: answers of one piece.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::content::{Answer, CREATED, reported, tokens};
use super::request::Request;

const DIMENSIONS: usize = 8;
const DIMENSIONS_MAX: usize = 4096;

/// A grey PNG of one pixel.
const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==";

const CATEGORIES: [&str; 13] = [
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
];

/// One vector for each text: as numbers, or as the base64 that the official client asks for.
pub(super) fn embeddings(request: &Request) -> Answer {
    let input = &request.json["input"];
    let inputs: Vec<&Value> = match input {
        // A list of numbers is one text, given as tokens.
        Value::Array(inputs) if !inputs.iter().all(Value::is_number) => inputs.iter().collect(),
        one => vec![one],
    };
    let dimensions = request.json["dimensions"].as_u64().and_then(|given| given.try_into().ok());
    let dimensions = dimensions.unwrap_or(DIMENSIONS).clamp(1, DIMENSIONS_MAX);
    let base64_wanted = request.json["encoding_format"] == "base64";
    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| {
            let vector = vector(input, dimensions);
            let embedding = if base64_wanted {
                let bytes: Vec<u8> =
                    vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                json!(STANDARD.encode(bytes))
            } else {
                json!(vector)
            };
            json!({ "object": "embedding", "index": index, "embedding": embedding })
        })
        .collect();
    let input_tokens = tokens(request, "").input;
    let usage = json!({ "prompt_tokens": input_tokens, "total_tokens": input_tokens });
    Answer::Json(json!({
        "object": "list",
        "data": data,
        "model": request.model(),
        "usage": reported(request, usage),
    }))
}

pub(super) fn moderations(request: &Request) -> Answer {
    let all = |value: &Value| -> Map<String, Value> {
        CATEGORIES.iter().map(|name| ((*name).to_owned(), value.clone())).collect()
    };
    let texts = request.json["input"].as_array().map_or(1, Vec::len);
    let result = json!({
        "flagged": false,
        "categories": all(&json!(false)),
        "category_scores": all(&json!(0)),
        "category_applied_input_types": all(&json!(["text"])),
    });
    Answer::Json(json!({
        "id": format!("modr-{}", request.id),
        "model": request.model(),
        "results": vec![result; texts],
    }))
}

pub(super) fn image(request: &Request) -> Answer {
    let tokens = tokens(request, PIXEL);
    let images = request.json["n"].as_u64().unwrap_or(1).clamp(1, 10);
    let data: Vec<Value> = (0..images).map(|_| json!({ "b64_json": PIXEL })).collect();
    let usage = json!({
        "input_tokens": tokens.input,
        "input_tokens_details": { "text_tokens": tokens.input, "image_tokens": 0 },
        "output_tokens": tokens.output,
        "total_tokens": tokens.input.saturating_add(tokens.output),
    });
    Answer::Json(json!({ "created": CREATED, "data": data, "usage": reported(request, usage) }))
}

/// Numbers of a size between 0.5 and 1, set by the text.
pub(super) fn vector(input: &Value, dimensions: usize) -> Vec<f32> {
    let text = input.to_string();
    (0..dimensions)
        .map(|at| {
            let hash = Sha256::new().chain_update(at.to_le_bytes()).chain_update(&text).finalize();
            let bits = hash.iter().take(4).fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte));
            f32::from_bits((bits & 0x807f_ffff) | 0x3f00_0000)
        })
        .collect()
}
