use http::Method;

use super::*;
use crate::provider::{Class, Dialect, ModelAt, Operation, Route};

fn find(method: &str, upgrade: bool, path: &str) -> Route {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let path = Dialect::OpenAi.normalise(&method, path).unwrap();
    Dialect::OpenAi.route(&method, upgrade, &path)
}

#[test]
fn lookalikes_are_told_apart() {
    for (method, path, class) in [
        ("POST", "/v1/chat/completions", Class::Metered),
        ("POST", "/v1/chat/completions/chatcmpl-1", Class::Free),
        ("POST", "/v1/responses", Class::Metered),
        ("POST", "/v1/responses/compact", Class::Metered),
        ("POST", "/v1/responses/input_tokens", Class::Free),
        ("POST", "/v1/responses/resp_1/cancel", Class::Free),
        ("POST", "/v1/responses/resp_1", Class::Unknown),
        ("POST", "/v1/threads/runs", Class::Metered),
        ("POST", "/v1/threads/t/runs", Class::Metered),
        ("POST", "/v1/threads/t/runs/r", Class::Free),
        ("POST", "/v1/videos/edits", Class::Metered),
        ("POST", "/v1/videos/characters", Class::Free),
        ("POST", "/v1/chat/completions/a/b", Class::Unknown),
        ("PUT", "/v1/chat/completions", Class::Unknown),
        ("GET", "/v1/nothing", Class::Unknown),
        ("OPTIONS", "/v1/models", Class::Unknown),
        ("GET", "/v1/models", Class::Free),
        ("HEAD", "/v1/models", Class::Free),
        ("GET", "/v1/models/ft:gpt-4o:acme::x", Class::Free),
        ("GET", "/v1/models/meta%2Fllama", Class::Free),
        ("POST", "/v1/realtime/client_secrets", Class::SessionGrant),
        ("GET", "/v1/organization/costs", Class::Administration),
        ("GET", "/v1/organization/brand/new", Class::Administration),
        ("GET", "/v1/organization", Class::Administration),
        ("GET", "/v1/organizationx", Class::Unknown),
        ("POST", "/v1/projects/p/brand/new", Class::Administration),
    ] {
        assert_eq!(find(method, false, path).class, class, "{method} {path}");
    }
}

#[test]
fn no_websocket_is_free() {
    assert_eq!(find("GET", true, "/v1/realtime").pattern, "/v1/realtime");
    for path in ["/v1/models", "/v1/responses/resp_1", "/v1/nothing", "/"] {
        let route = find("GET", true, path);
        assert_eq!((route.class, route.pattern), (Class::Realtime, "unknown"), "{path}");
    }
}

#[test]
fn a_route_says_what_is_asked_and_where_the_model_is() {
    for (path, operation, model) in [
        ("/v1/chat/completions", Operation::Chat, ModelAt::Json),
        ("/v1/responses", Operation::Response, ModelAt::JsonOptional),
        ("/v1/audio/transcriptions", Operation::Transcription, ModelAt::Multipart),
        ("/v1/images/edits", Operation::Image, ModelAt::JsonOrMultipart),
        ("/v1/batches", Operation::Batch, ModelAt::Absent),
    ] {
        let route = find("POST", false, path);
        assert_eq!((route.operation, route.model), (operation, model), "{path}");
    }
}

fn kind(name: &str, data: &str) -> EventKind {
    event(Event { name: name.as_bytes(), data: data.as_bytes(), whole: true })
}

#[test]
fn generated_content_is_output() {
    for (name, data) in [
        ("", r#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#),
        ("message", r#"{"choices":[{"delta":{"content":"Hi"}}]}"#),
        ("", r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f"}}]}}]}"#),
        ("", r#"{"choices":[{"delta":{"role":"assistant","content":null,"refusal":"No"}}]}"#),
        ("", r#"{"choices":[{"delta":{}},{"delta":{"reasoning_content":"Hm"}}]}"#),
        ("", r#"{"choices":[{"delta":{"audio":{"id":"audio_1"}}}],"error":null}"#),
        ("", r#"{"choices":[{"text":"Hi","index":0}]}"#),
        ("response.output_text.delta", r#"{"type":"response.output_text.delta","delta":"Hi"}"#),
        ("", r#"{"type":"response.function_call_arguments.delta","delta":"{"}"#),
        ("", r#"{"type":"response.output_item.done","item":{"type":"message"}}"#),
        ("", r#"{"type":"response.image_generation_call.partial_image","partial_image_b64":"x"}"#),
        ("", r#"{"type":"image_generation.partial_image","b64_json":"x"}"#),
        ("", r#"{"type":"image_generation.completed","b64_json":"x"}"#),
        ("", r#"{"type":"speech.audio.delta","audio":"x"}"#),
        ("", r#"{"type":"transcript.text.done","text":"x"}"#),
        ("thread.message.delta", r#"{"object":"thread.message.delta","delta":{"content":[]}}"#),
        ("thread.run.step.delta", r#"{"object":"thread.run.step.delta","delta":{"a":1}}"#),
    ] {
        assert_eq!(kind(name, data), EventKind::Output, "{name} {data}");
    }
}

#[test]
fn openings_and_pings_are_not_output() {
    for (name, data) in [
        ("", r#"{"choices":[{"delta":{"role":"assistant","content":"","refusal":null}}]}"#),
        ("", r#"{"choices":[{"delta":{"role":"assistant","tool_calls":[]}}]}"#),
        ("", r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#),
        ("", r#"{"choices":[],"usage":{"total_tokens":3}}"#),
        ("", r#"{"choices":[{"text":"","index":0}]}"#),
        ("response.created", r#"{"type":"response.created","response":{"error":null}}"#),
        ("", r#"{"type":"response.in_progress"}"#),
        ("", r#"{"type":"response.output_item.added","item":{}}"#),
        ("", r#"{"type":"response.web_search_call.completed"}"#),
        ("", r#"{"type":"response.output_text.delta","delta":""}"#),
        ("thread.run.created", r#"{"object":"thread.run"}"#),
        ("ping", "{}"),
        ("", ""),
        ("", "not json"),
        ("", "[]"),
    ] {
        assert_eq!(kind(name, data), EventKind::Other, "{name} {data}");
    }
}

#[test]
fn errors_and_ends_are_told() {
    for (name, data, expected) in [
        ("error", r#"{"message":"x"}"#, EventKind::Error),
        ("", r#"{"error":{"message":"x"}}"#, EventKind::Error),
        ("", r#"{"choices":[{"delta":{"content":"x"}}],"error":{}}"#, EventKind::Error),
        ("", r#"{"type":"error","code":null,"message":"x"}"#, EventKind::Error),
        ("response.failed", r#"{"type":"response.failed","response":{}}"#, EventKind::Error),
        ("thread.run.failed", r#"{"object":"thread.run"}"#, EventKind::Error),
        ("", "[DONE]", EventKind::Done),
        ("done", "[DONE]", EventKind::Done),
        ("", r#"{"type":"response.completed","response":{}}"#, EventKind::Done),
        ("", r#"{"type":"response.incomplete","response":{}}"#, EventKind::Done),
        ("thread.run.completed", r#"{"object":"thread.run"}"#, EventKind::Done),
    ] {
        assert_eq!(kind(name, data), expected, "{name} {data}");
    }
}

#[test]
fn a_long_event_is_judged_by_its_beginning() {
    let long = |name: &str, data: &str| {
        event(Event { name: name.as_bytes(), data: data.as_bytes(), whole: false })
    };
    assert_eq!(long("", r#"{"type":"image_edit.partial_image","b64"#), EventKind::Output);
    assert_eq!(long("response.created", r#"{"type":"response.created","#), EventKind::Other);
    assert_eq!(long("", r#"{"type":"response.created","response":{"#), EventKind::Other);
    assert_eq!(long("", r#"{"id":"chatcmpl-1","choices":[{"#), EventKind::Output);
    assert_eq!(long("error", r#"{"mess"#), EventKind::Error);
}
