//! Chat completions, and the completions that were before them.

use bytes::Bytes;
use serde_json::{Value, json};

use super::content::{Answer, CREATED, Events, Tokens, event, pieces, reported, tokens};
use super::request::Request;

const TOOL_ARGUMENTS: [&str; 2] = ["{\"query\":", "\"simulated\"}"];

pub(super) fn chat(request: &Request) -> Answer {
    if request.streams() {
        return Answer::Events(chat_events(request));
    }
    let text = pieces(&request.switches).concat();
    let message = if request.switches.tool {
        let arguments = TOOL_ARGUMENTS.concat();
        json!({
            "role": "assistant",
            "content": null,
            "refusal": null,
            "tool_calls": [tool_call(request, &arguments)],
        })
    } else {
        json!({ "role": "assistant", "content": text, "refusal": null, "annotations": [] })
    };
    Answer::Json(json!({
        "id": format!("chatcmpl-{}", request.id),
        "object": "chat.completion",
        "created": CREATED,
        "model": request.model(),
        "choices": [{
            "index": 0,
            "message": message,
            "logprobs": null,
            "finish_reason": finish_reason(request),
        }],
        "usage": usage(request, &text),
        "service_tier": "default",
        "system_fingerprint": null,
    }))
}

pub(super) fn completion(request: &Request) -> Answer {
    let pieces = pieces(&request.switches);
    let text = pieces.concat();
    let usage = usage(request, &text);
    let body = |choices: Value, usage: Option<&Value>| {
        let mut body = json!({
            "id": format!("cmpl-{}", request.id),
            "object": "text_completion",
            "created": CREATED,
            "model": request.model(),
            "choices": choices,
        });
        if let Some(usage) = usage {
            body["usage"] = usage.clone();
        }
        body
    };
    let choice = |text: &str, reason: Value| json!([{ "text": text, "index": 0, "logprobs": null, "finish_reason": reason }]);
    if !request.streams() {
        return Answer::Json(body(choice(&text, "stop".into()), Some(&usage)));
    }
    let with_usage = includes_usage(request);
    let none = with_usage.then_some(&Value::Null);
    let content = pieces.iter().map(|piece| event("", &body(choice(piece, Value::Null), none)));
    let mut closing = vec![event("", &body(choice("", "stop".into()), none))];
    if with_usage {
        closing.push(event("", &body(json!([]), Some(&usage))));
    }
    closing.push(done());
    let content = content.collect();
    Answer::Events(Events { opening: Vec::new(), content, closing, error: error() })
}

fn chat_events(request: &Request) -> Events {
    let with_usage = includes_usage(request);
    let chunk = |choices: Value, usage: Value| {
        let mut chunk = json!({
            "id": format!("chatcmpl-{}", request.id),
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": request.model(),
            "service_tier": "default",
            "system_fingerprint": null,
            "choices": choices,
        });
        if with_usage {
            chunk["usage"] = usage;
        }
        event("", &chunk)
    };
    let delta = |delta: Value, reason: Value| {
        let choice =
            json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": reason });
        chunk(json!([choice]), Value::Null)
    };
    let pieces = pieces(&request.switches);
    let opening = json!({ "role": "assistant", "content": "", "refusal": null });
    let content = if request.switches.tool {
        let mut call = tool_call(request, "");
        call["index"] = 0.into();
        let first = delta(json!({ "tool_calls": [call] }), Value::Null);
        let arguments = TOOL_ARGUMENTS.iter().map(|part| {
            let call = json!({ "index": 0, "function": { "arguments": part } });
            delta(json!({ "tool_calls": [call] }), Value::Null)
        });
        std::iter::once(first).chain(arguments).collect()
    } else {
        pieces.iter().map(|piece| delta(json!({ "content": piece }), Value::Null)).collect()
    };
    let mut closing = vec![delta(json!({}), finish_reason(request).into())];
    if with_usage {
        closing.push(chunk(json!([]), usage(request, &pieces.concat())));
    }
    closing.push(done());
    Events { opening: vec![delta(opening, Value::Null)], content, closing, error: error() }
}

fn tool_call(request: &Request, arguments: &str) -> Value {
    let name = request.json["tools"][0]["function"]["name"].as_str().unwrap_or("lookup");
    json!({
        "id": format!("call_{}", request.id),
        "type": "function",
        "function": { "name": name, "arguments": arguments },
    })
}

fn finish_reason(request: &Request) -> &'static str {
    if request.switches.tool { "tool_calls" } else { "stop" }
}

fn includes_usage(request: &Request) -> bool {
    request.json["stream_options"]["include_usage"] == true && !request.switches.no_usage
}

fn usage(request: &Request, text: &str) -> Value {
    let Tokens { input, cached, output, reasoning } = tokens(request, text);
    let usage = json!({
        "prompt_tokens": input,
        "completion_tokens": output,
        "total_tokens": input.saturating_add(output),
        "prompt_tokens_details": { "cached_tokens": cached, "audio_tokens": 0 },
        "completion_tokens_details": { "reasoning_tokens": reasoning, "audio_tokens": 0 },
    });
    reported(request, usage)
}

fn done() -> Bytes {
    Bytes::from_static(b"data: [DONE]\n\n")
}

fn error() -> Bytes {
    let error = json!({
        "message": "The simulated provider failed, as it was told to.",
        "type": "server_error",
        "param": null,
        "code": null,
    });
    event("", &json!({ "error": error }))
}
