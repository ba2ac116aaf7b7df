//! What Anthropic would be asked for: messages, at once, as named events and in batches, and the models.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::batches::Batches;
use super::content::{Answer, Events, MODELS, event, pieces, tokens};
use super::request::Request;

/// Answers a request to the route `pattern`; nothing if it is none of those that have an answer of their own.
pub(super) fn answer(
    request: &Request,
    pattern: &str,
    batches: &Batches,
) -> Result<Option<Answer>, (StatusCode, String)> {
    let no_batch = || (StatusCode::NOT_FOUND, "No such batch, or too many.".to_owned());
    let mut rest = request.path().rsplit('/');
    let (last, before) = (rest.next().unwrap_or_default(), rest.next().unwrap_or_default());
    let batch = match (request.head.method.as_str(), pattern) {
        ("POST", "/v1/messages/batches") => batches.create(request),
        ("GET", "/v1/messages/batches") => Some(batches.list(request)),
        ("GET", "/v1/messages/batches/{message_batch_id}") => batches.retrieve(request, last),
        ("DELETE", "/v1/messages/batches/{message_batch_id}") => batches.delete(last),
        ("POST", "/v1/messages/batches/{message_batch_id}/cancel") => batches.cancel(before),
        ("GET", "/v1/messages/batches/{message_batch_id}/results") => batches.results(before),
        (_, pattern) => return Ok(message_or_model(request, pattern)),
    };
    batch.map(Some).ok_or_else(no_batch)
}

fn message_or_model(request: &Request, pattern: &str) -> Option<Answer> {
    Some(match (request.head.method.as_str(), pattern) {
        ("POST", "/v1/messages") if request.streams() => Answer::Events(events(request)),
        ("POST", "/v1/messages") => {
            let text = pieces(&request.switches).concat();
            Answer::Json(message(request, &json!([block(request, &text)]), Some(&text)))
        }
        ("POST", "/v1/messages/count_tokens") => {
            Answer::Json(json!({ "input_tokens": tokens(request, "").input }))
        }
        ("GET" | "HEAD", "/v1/models") => {
            let models: Vec<_> = MODELS.into_iter().map(model).collect();
            let (first, last) = (MODELS.first(), MODELS.last());
            Answer::Json(json!({
                "data": models,
                "first_id": first,
                "last_id": last,
                "has_more": false,
            }))
        }
        ("GET" | "HEAD", "/v1/models/{model_id}") => {
            let id = request.path().rsplit('/').next().unwrap_or_default();
            Answer::Json(model(id))
        }
        (_, _) => return None,
    })
}

fn events(request: &Request) -> Events {
    let named = |name: &str, mut data: Value| {
        data["type"] = name.into();
        event(name, &data)
    };
    let pieces = pieces(&request.switches);
    let tool = request.switches.tool;
    let deltas: Vec<Value> = if tool {
        let parts = ["{\"query\":", "\"simulated\"}"];
        parts.map(|part| json!({ "type": "input_json_delta", "partial_json": part })).into()
    } else {
        pieces.iter().map(|piece| json!({ "type": "text_delta", "text": piece })).collect()
    };
    let mut begun = block(request, "");
    if tool {
        begun["input"] = json!({});
    }
    let opening = vec![
        named("message_start", json!({ "message": message(request, &json!([]), None) })),
        named("content_block_start", json!({ "index": 0, "content_block": begun })),
        named("ping", json!({})),
    ];
    let content = deltas
        .into_iter()
        .map(|delta| named("content_block_delta", json!({ "index": 0, "delta": delta })))
        .collect();
    let output = tokens(request, &pieces.concat()).output;
    let closing = vec![
        named("content_block_stop", json!({ "index": 0 })),
        named(
            "message_delta",
            json!({
                "delta": { "stop_reason": stop_reason(request), "stop_sequence": null },
                "usage": { "output_tokens": output },
            }),
        ),
        named("message_stop", json!({})),
    ];
    Events { opening, content, closing, error: error() }
}

/// A message with `content`; unfinished where there is no `text` of it yet.
fn message(request: &Request, content: &Value, text: Option<&str>) -> Value {
    let tokens = tokens(request, text.unwrap_or_default());
    json!({
        "id": format!("msg_{}", request.id),
        "type": "message",
        "role": "assistant",
        "model": request.model(),
        "content": content,
        "stop_reason": text.map(|_| stop_reason(request)),
        "stop_sequence": null,
        "usage": {
            "input_tokens": tokens.input,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": tokens.cached,
            "output_tokens": if text.is_some() { tokens.output } else { 1 },
            "service_tier": "standard",
        },
    })
}

fn block(request: &Request, text: &str) -> Value {
    if !request.switches.tool {
        return json!({ "type": "text", "text": text });
    }
    let name = request.json["tools"][0]["name"].as_str().unwrap_or("lookup");
    json!({
        "type": "tool_use",
        "id": format!("toolu_{}", request.id),
        "name": name,
        "input": { "query": "simulated" },
    })
}

fn stop_reason(request: &Request) -> &'static str {
    if request.switches.tool { "tool_use" } else { "end_turn" }
}

fn model(id: &str) -> Value {
    json!({ "type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z" })
}

fn error() -> Bytes {
    let message = "The simulated provider failed, as it was told to.";
    let error = json!({ "type": "overloaded_error", "message": message });
    event("error", &json!({ "type": "error", "error": error }))
}
