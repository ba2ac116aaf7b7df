//! Refusals as Anthropic and Google would word them, before any byte of a stream.

use serde_json::Value;

use super::{CONTENT, CONTENT_STREAM, MESSAGES, content, message, message_body, three};
use crate::harness::{Answer, Ask, World, key_of};

/// What every refusal has, and what none has.
fn check(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{:?}", answer.body);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    assert!(answer.header("x-request-id").is_some_and(|id| id.starts_with("req_")));
    let body = answer.json();
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.ends_with('.') && message.len() > 20 && message.len() < 300, "{message}");
    body
}

/// The same for one that a library must not repeat.
fn check_final(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    for name in ["retry-after", "retry-after-ms"] {
        assert_eq!(answer.header(name), None);
    }
    check(answer, status)
}

fn anthropic(body: &Value) -> (&str, &str) {
    assert_eq!(body["type"], "error");
    let error = &body["error"];
    (error["type"].as_str().unwrap(), error["details"]["error_code"].as_str().unwrap())
}

fn google(body: &Value) -> (&str, &str) {
    let error = &body["error"];
    (error["status"].as_str().unwrap(), error["details"][0]["reason"].as_str().unwrap())
}

fn asks(world: &World, account: &str) -> [(Ask, bool); 5] {
    [
        (message(world, account, false), true),
        (message(world, account, true), true),
        (content(world, account, CONTENT), false),
        (content(world, account, CONTENT_STREAM), false),
        (content(world, account, &format!("{CONTENT_STREAM}?alt=sse")), false),
    ]
}

async fn check_all(world: &World, account: &str, status: u16, words: [(&str, &str); 2]) {
    for (ask, is_anthropic) in asks(world, account) {
        let answer = ask.send().await;
        let body = check_final(&answer, status);
        if is_anthropic {
            assert_eq!(anthropic(&body), words[0]);
            assert_eq!(answer.header("request-id"), body["request_id"].as_str());
        } else {
            assert_eq!(google(&body), words[1]);
            assert_eq!(body["error"]["code"], status);
        }
    }
    assert!(world.provider.seen().await.is_empty(), "nothing reaches the provider");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_spend_hears_it_in_the_providers_words() {
    let world = three().account("broke", 0).closed_account("paused", 5).start().await;
    let words =
        [("billing_error", "insufficient_quota"), ("RESOURCE_EXHAUSTED", "INSUFFICIENT_CREDITS")];
    check_all(&world, "broke", 402, words).await;
    let words = [
        ("permission_error", "billing_not_active"),
        ("PERMISSION_DENIED", "SUBSCRIPTION_INACTIVE"),
    ];
    check_all(&world, "paused", 403, words).await;
    let words =
        [("authentication_error", "invalid_api_key"), ("UNAUTHENTICATED", "API_KEY_INVALID")];
    check_all(&world, "nobody", 401, words).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_wrong_hears_it_in_the_providers_words() {
    let setup = three().set("limits.metered_body", "'8KiB'").account("a", 10);
    let world = setup.start().await;
    let mut nameless = message_body(false);
    nameless.as_object_mut().unwrap().remove("model");
    let bad = [
        (world.ask("POST", MESSAGES).of("a").json(&nameless), 400, "invalid_request_error"),
        (world.ask("POST", MESSAGES).of("a").body(vec![b' '; 9000]), 413, "request_too_large"),
        (world.ask("TRACE", "/anthropic/v1/x").of("a"), 405, "invalid_request_error"),
        (world.ask("GET", "/v1/organizations/users").of("a"), 403, "permission_error"),
    ];
    for (ask, status, kind) in bad {
        let body = check(&ask.send().await, status);
        assert_eq!(anthropic(&body).0, kind);
    }
    let path = "/v1beta/models/a%2Fb:generateContent";
    for (ask, status, word) in [
        (content(&world, "a", CONTENT).body(vec![b' '; 9000]), 413, "INVALID_ARGUMENT"),
        (content(&world, "a", path), 400, "INVALID_ARGUMENT"),
        (content(&world, "a", "/v1alpha/auth_tokens"), 403, "PERMISSION_DENIED"),
    ] {
        let body = check(&ask.send().await, status);
        assert_eq!(google(&body).0, word);
    }
    assert!(world.provider.seen().await.is_empty());
    assert_eq!(world.left("a").await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_too_fast_may_come_back() {
    let setup =
        three().set("plan_defaults.requests_per_minute", "1").set("plan_defaults.burst", "1");
    let world = setup.account("a", 10).account("b", 10).start().await;
    assert_eq!(message(&world, "a", false).send().await.status, 200);
    assert_eq!(content(&world, "b", CONTENT).send().await.status, 200);
    for (ask, is_anthropic) in
        [(message(&world, "a", false), true), (content(&world, "b", CONTENT), false)]
    {
        let answer = ask.send().await;
        let body = check(&answer, 429);
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=30).contains(&wait));
        assert_eq!(answer.header("x-should-retry"), None);
        if is_anthropic {
            assert_eq!(anthropic(&body), ("rate_limit_error", "rate_limit_exceeded"));
        } else {
            assert_eq!(google(&body), ("RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED"));
            let delay = &body["error"]["details"][1]["retryDelay"];
            assert_eq!(delay.as_str().unwrap(), format!("{wait}s"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_socket_is_refused_before_its_handshake() {
    let world = three().account("a", 10).start().await;
    let path = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
    let ask = world.ask("GET", &format!("{path}?key={}", key_of("a")));
    let ask = ask.header("connection", "Upgrade").header("upgrade", "websocket");
    let body = check(&ask.send().await, 400);
    assert_eq!(google(&body), ("INVALID_ARGUMENT", "WEBSOCKET_NOT_SUPPORTED"));
    assert!(world.provider.seen().await.is_empty());
}
