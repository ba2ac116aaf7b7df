//! The Responses API: one object, or the named and numbered events that build it up.

use bytes::Bytes;
use serde_json::{Value, json};

use super::content::{Answer, CREATED, Events, Tokens, event, pieces, reported, tokens};
use super::request::Request;

pub(super) fn create(request: &Request) -> Answer {
    if request.streams() {
        Answer::Events(events(request))
    } else if request.json["background"] == true {
        Answer::Json(response(request, "queued", None))
    } else {
        let text = pieces(&request.switches).concat();
        Answer::Json(response(request, "completed", Some(&text)))
    }
}

/// A background response that is asked for later is always finished, whatever its id.
pub(super) fn retrieve(request: &Request, id: &str) -> Answer {
    let text = pieces(&request.switches).concat();
    let mut response = response(request, "completed", Some(&text));
    response["id"] = id.into();
    Answer::Json(response)
}

/// Numbers the events of one stream.
struct Numbered(u64);

impl Numbered {
    fn event(&mut self, name: &str, mut data: Value) -> Bytes {
        data["type"] = name.into();
        data["sequence_number"] = self.0.into();
        self.0 += 1;
        event(name, &data)
    }
}

fn events(request: &Request) -> Events {
    let pieces = pieces(&request.switches);
    let text = pieces.concat();
    let item_id = format!("msg_{}", request.id);
    let at = |more: Value| {
        let mut data = json!({ "item_id": item_id, "output_index": 0, "content_index": 0 });
        if let (Some(data), Value::Object(more)) = (data.as_object_mut(), more) {
            data.extend(more);
        }
        data
    };
    let begun = json!({ "response": response(request, "in_progress", None) });
    let mut stream = Numbered(0);
    let opening = vec![
        stream.event("response.created", begun.clone()),
        stream.event("response.in_progress", begun),
        stream.event(
            "response.output_item.added",
            json!({ "output_index": 0, "item": item(request, "in_progress", None) }),
        ),
        stream.event("response.content_part.added", at(json!({ "part": part("") }))),
    ];
    let mut after = opening.len() as u64;
    let content = pieces
        .iter()
        .map(|piece| {
            let data = at(json!({ "delta": piece, "logprobs": [] }));
            stream.event("response.output_text.delta", data)
        })
        .collect();
    let closing = vec![
        stream.event("response.output_text.done", at(json!({ "text": text, "logprobs": [] }))),
        stream.event("response.content_part.done", at(json!({ "part": part(&text) }))),
        stream.event(
            "response.output_item.done",
            json!({ "output_index": 0, "item": item(request, "completed", Some(&text)) }),
        ),
        stream.event(
            "response.completed",
            json!({ "response": response(request, "completed", Some(&text)) }),
        ),
    ];
    after += request.switches.error_event.unwrap_or_default().min(pieces.len()) as u64;
    let message = "The simulated provider failed, as it was told to.";
    let error = json!({ "code": "server_error", "message": message, "param": null });
    Events { opening, content, closing, error: Numbered(after).event("error", error) }
}

fn response(request: &Request, status: &str, text: Option<&str>) -> Value {
    let usage = text.map(|text| {
        let Tokens { input, cached, output, reasoning } = tokens(request, text);
        let usage = json!({
            "input_tokens": input,
            "input_tokens_details": { "cached_tokens": cached },
            "output_tokens": output,
            "output_tokens_details": { "reasoning_tokens": reasoning },
            "total_tokens": input.saturating_add(output),
        });
        reported(request, usage)
    });
    let output: Vec<Value> =
        text.iter().map(|text| item(request, "completed", Some(text))).collect();
    json!({
        "id": format!("resp_{}", request.id),
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": request.json["background"] == true,
        "error": null,
        "incomplete_details": null,
        "instructions": request.json["instructions"],
        "max_output_tokens": request.json["max_output_tokens"],
        "metadata": {},
        "model": request.model(),
        "output": output,
        "parallel_tool_calls": true,
        "previous_response_id": request.json["previous_response_id"],
        "reasoning": { "effort": null, "summary": null },
        "store": true,
        "temperature": 1,
        "text": { "format": { "type": "text" } },
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1,
        "truncation": "disabled",
        "usage": usage,
    })
}

fn item(request: &Request, status: &str, text: Option<&str>) -> Value {
    let content: Vec<Value> = text.iter().map(|text| part(text)).collect();
    json!({
        "id": format!("msg_{}", request.id),
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    })
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}
