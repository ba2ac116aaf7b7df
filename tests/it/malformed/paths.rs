//! Paths and methods that try to look like something else.

use serde_json::json;

use super::check_untouched;
use crate::harness::{Answer, Setup, World};

async fn world() -> World {
    // The ids here are made up, and what a path is does not depend on whose it is.
    Setup::new().set("provider.openai.tenancy", "'off'").account("a", 100).start().await
}

async fn post(world: &World, path: &str) -> Answer {
    world.ask("POST", path).of("a").json(&crate::harness::chat_body(false)).send().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_a_metered_path_is_spelled_it_is_metered_and_sent_in_one_spelling() {
    let world = world().await;
    let mut left = 100;
    for path in [
        "/v1/chat/completions",
        "/v1/chat/completions/",
        "/v1/chat/completions?x=/v1/files",
        "//v1//chat///completions",
        "/v1/chat/%63ompletions",
        "/v1/%63hat/completions",
        "/v1/./chat/completions",
        "/v1/files/../chat/completions",
        "/v1/files/%2e%2e/chat/completions",
        "/v1/files/%2E./chat/completions",
        "/v1/v1/chat/completions",
        "/v1/v1/v1/chat/completions",
        "/chat/completions",
        "/openai/v1/chat/completions",
    ] {
        let answer = post(&world, path).await;
        assert_eq!((answer.status.as_u16(), path), (200, path));
        left -= 1;
        assert_eq!(world.left("a").await, left, "{path}");
        let seen = world.provider.last_is("answered").await;
        let sent = seen.path.split('?').next().unwrap();
        assert_eq!(sent, "/v1/chat/completions", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_with_two_readings_is_refused() {
    let world = world().await;
    for path in [
        "/v1/chat%2Fcompletions",
        "/v1%2fchat/completions",
        "/v1/files/..%2fchat/completions",
        "/v1/files/%252e%252e/chat/completions",
        "/v1/chat/completions%00",
        "/v1/chat/completions%0a",
        "/v1/chat%5Ccompletions",
        "/v1/chat/completions%ff",
        "/v1/chat/completions%zz",
        "/../v1/chat/completions",
        "/v1/../../chat/completions",
        "/v1/v1/v1/v1/chat/completions",
    ] {
        let answer = post(&world, path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (400, "invalid_path"),
            "{path}"
        );
    }
    let long = format!("/v1/files/{}", "x".repeat(4000));
    assert_eq!(post(&world, &long).await.status, 400);
    check_untouched(&world, "a", 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_looks_like_a_metered_path_is_free_and_the_other_way_round() {
    let world = world().await;
    for (method, path, price) in [
        ("POST", "/v1/chat/completions/chatcmpl-1", 0),
        ("GET", "/v1/chat/completions", 0),
        ("GET", "/v1/chat/completions/chatcmpl-1", 0),
        ("DELETE", "/v1/chat/completions/chatcmpl-1", 0),
        ("POST", "/v1/responses/resp_1/cancel", 0),
        ("POST", "/v1/responses/input_tokens", 0),
        ("GET", "/v1/models/sim-small", 0),
        ("POST", "/v1/embeddings", 1),
        ("POST", "/v1/responses/compact", 1),
        ("POST", "/v1/threads/t/runs", 1),
        ("POST", "/v1/threads/t/runs/r", 0),
    ] {
        let before = world.left("a").await;
        let body = json!({ "model": "m", "input": "Hi" });
        let answer = world.ask(method, path).of("a").json(&body).send().await;
        assert_eq!(answer.status, 200, "{method} {path}: {:?}", answer.body);
        assert_eq!(before - world.left("a").await, price, "{method} {path}");
        assert_eq!(answer.header("x-credits-charged").is_some(), price > 0, "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_path_is_metered_to_write_and_free_to_read() {
    let world = world().await;
    for (method, path, held) in [
        ("POST", "/v1/chat/completionsx", true),
        ("POST", "/v1/xchat/completions", true),
        ("POST", "/v1/chat/completions/x/y", true),
        ("POST", "/V1/chat/completions", true),
        ("POST", "/v1/Chat/completions", true),
        ("PUT", "/v1/chat/completions", true),
        ("PATCH", "/v1/brand-new", true),
        ("GET", "/v1/brand-new", false),
        ("DELETE", "/v1/brand-new", false),
    ] {
        let answer = world.ask(method, path).of("a").json(&json!({ "model": "m" })).send().await;
        // The provider knows no such route either, so nothing was charged: but a hold was taken.
        assert_eq!(answer.status, 404, "{method} {path}");
        assert_eq!(answer.header("x-credits-charged").is_some(), held, "{method} {path}");
    }
    assert_eq!(world.left("a").await, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_header_changes_the_method_or_the_path() {
    let world = world().await;
    let before = world.left("a").await;
    for (name, value) in [
        ("x-http-method-override", "GET"),
        ("x-http-method", "GET"),
        ("x-method-override", "GET"),
        ("x-original-url", "/v1/models"),
        ("x-rewrite-url", "/v1/models"),
    ] {
        let answer = world.chat("a").header(name, value).send().await;
        assert_eq!(answer.header("x-credits-charged"), Some("1"), "{name}");
    }
    let get = world.ask("GET", "/v1/files").of("a").header("x-http-method-override", "POST");
    assert_eq!(get.send().await.status, 200);
    assert_eq!(before - world.left("a").await, 5);
    assert_eq!(world.provider.last_is("answered").await.method, "GET");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_lead_past_the_gateway_is_refused() {
    let world = world().await;
    for path in [
        "/v1/realtime/client_secrets",
        "/v1/realtime/sessions",
        "/v1/realtime/calls",
        "/v1/chatkit/sessions",
        "/v1/organization/admin_api_keys",
        "/v1/organization/projects",
        "/v1/organization/users/u",
    ] {
        let answer = post(&world, path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (403, "route_not_allowed"),
            "{path}"
        );
    }
    check_untouched(&world, "a", 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_socket_that_nobody_can_meter_is_refused_with_plain_http() {
    let world = world().await;
    for path in ["/v1/chat/completions", "/v1/embeddings"] {
        let ask = world.ask("GET", path).of("a").header("connection", "Upgrade");
        let ask = ask.header("upgrade", "WebSocket").header("sec-websocket-version", "13");
        let answer = ask.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==").send().await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (400, "websocket_not_supported"),
            "{path}"
        );
    }
    // Without the upgrade it is no way in either.
    let ask = world.ask("GET", "/v1/realtime?model=m").of("a").header("upgrade", "websocket");
    assert_eq!(ask.send().await.status, 400);
    check_untouched(&world, "a", 100).await;
}
