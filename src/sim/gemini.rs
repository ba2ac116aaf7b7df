//! What Google's Gemini API would be asked for: contents, at once, as server-sent events and as one list; embeddings,
//! counts, files and the models.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::content::{Answer, Events, MODELS, pieces, tokens};
use super::request::Request;
use super::uploads::Uploads;
use super::vectors::vector;
use crate::provider::Route;

/// Answers a request to `route`; nothing if it is none of those that have an answer of their own.
pub(super) fn answer(
    request: &Request,
    route: &Route,
    uploads: &Uploads,
) -> Result<Option<Answer>, (StatusCode, String)> {
    if let Some(answer) = work(request, route) {
        return Ok(Some(answer));
    }
    let name = request.path().rsplit('/').next().unwrap_or_default();
    let name = name.split(':').next().unwrap_or_default();
    let file = match (request.head.method.as_str(), route.pattern) {
        ("POST" | "PUT", pattern) if pattern.starts_with("/upload/") => {
            return uploads.upload(request);
        }
        ("GET", "/{version}/files") => Some(uploads.list(request)),
        ("GET", "/{version}/files/{id}") => uploads.retrieve(request, name),
        ("DELETE", "/{version}/files/{id}") => uploads.delete(name),
        ("GET", pattern) if pattern.ends_with("/files/{id}:download") => uploads.content(name),
        (_, _) => return Ok(None),
    };
    file.map(Some).ok_or_else(|| (StatusCode::NOT_FOUND, "No such file.".to_owned()))
}

fn work(request: &Request, route: &Route) -> Option<Answer> {
    let verb = route.pattern.rsplit_once(':').map_or("", |(_, verb)| verb);
    Some(match (request.head.method.as_str(), verb, route.pattern) {
        ("POST", "generateContent", _) => {
            let text = pieces(&request.switches).concat();
            Answer::Json(response(request, &json!([part(request, &text)]), Some(&text)))
        }
        ("POST", "streamGenerateContent", _) if request.asks("alt", "sse") => {
            let frame = |data: &Value, _: usize| Bytes::from(format!("data: {data}\r\n\r\n"));
            Answer::Events(events(request, frame, None))
        }
        ("POST", "streamGenerateContent", _) => {
            let frame = |data: &Value, at: usize| match at {
                0 => Bytes::from(format!("[{data}")),
                _ => Bytes::from(format!(",\r\n{data}")),
            };
            Answer::List(events(request, frame, Some("]")))
        }
        ("POST", "countTokens", _) => {
            Answer::Json(json!({ "totalTokens": tokens(request, "").input }))
        }
        ("POST", "embedContent", _) => Answer::Json(json!({
            "embedding": { "values": vector(&request.json["content"], DIMENSIONS) },
        })),
        ("POST", "batchEmbedContents", _) => {
            let requests = request.json["requests"].as_array().map_or(&[][..], Vec::as_slice);
            let embeddings: Vec<Value> = requests
                .iter()
                .map(|one| json!({ "values": vector(&one["content"], DIMENSIONS) }))
                .collect();
            Answer::Json(json!({ "embeddings": embeddings }))
        }
        ("GET" | "HEAD", _, "/{version}/models") => {
            let models: Vec<_> = MODELS.into_iter().map(model).collect();
            Answer::Json(json!({ "models": models }))
        }
        ("GET" | "HEAD", _, "/{version}/models/{*model}") => {
            Answer::Json(model(request.path().rsplit('/').next().unwrap_or_default()))
        }
        (_, _, _) => return None,
    })
}

const DIMENSIONS: usize = 8;

/// The chunks of a stream, each framed by its place, and what ends it.
fn events(
    request: &Request,
    frame: impl Fn(&Value, usize) -> Bytes,
    end: Option<&'static str>,
) -> Events {
    let pieces = pieces(&request.switches);
    let text = pieces.concat();
    let parts: Vec<Value> = if request.switches.tool {
        vec![part(request, "")]
    } else {
        pieces.iter().map(|piece| part(request, piece)).collect()
    };
    let sent = request.switches.error_event.unwrap_or_default().min(parts.len());
    let content: Vec<Bytes> = parts
        .iter()
        .enumerate()
        .map(|(at, part)| frame(&response(request, &json!([part]), None), at))
        .collect();
    let last = response(request, &json!([{ "text": "" }]), Some(&text));
    let end = |bytes: Bytes| Bytes::from([&bytes[..], end.unwrap_or_default().as_bytes()].concat());
    let closing = vec![end(frame(&last, content.len()))];
    Events { opening: Vec::new(), content, closing, error: end(frame(&error(), sent)) }
}

/// An answer of one candidate; the last one where the whole `text` is given.
fn response(request: &Request, parts: &Value, text: Option<&str>) -> Value {
    let tokens = tokens(request, text.unwrap_or_default());
    let mut candidate = json!({ "content": { "parts": parts, "role": "model" }, "index": 0 });
    if text.is_some() {
        candidate["finishReason"] = "STOP".into();
    }
    json!({
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": tokens.input,
            "candidatesTokenCount": tokens.output,
            "totalTokenCount": tokens.input.saturating_add(tokens.output),
        },
        "modelVersion": request.model(),
        "responseId": request.id,
    })
}

fn part(request: &Request, text: &str) -> Value {
    if !request.switches.tool {
        return json!({ "text": text });
    }
    let declared = &request.json["tools"][0]["functionDeclarations"][0]["name"];
    let name = declared.as_str().unwrap_or("lookup");
    json!({ "functionCall": { "name": name, "args": { "query": "simulated" } } })
}

fn model(name: &str) -> Value {
    json!({
        "name": format!("models/{name}"),
        "version": "1",
        "displayName": name,
        "inputTokenLimit": 1_000_000,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens", "embedContent"],
    })
}

fn error() -> Value {
    let message = "The simulated provider failed, as it was told to.";
    json!({ "error": { "code": 503, "message": message, "status": "UNAVAILABLE" } })
}
