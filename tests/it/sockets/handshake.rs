//! Before the handshake a refusal is plain HTTP.

use super::*;
use crate::harness::{Canned, PROVIDER_KEY};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_is_refused_in_plain_http() {
    let world =
        Setup::new().account("a", 10).account("poor", 0).closed_account("closed", 10).start().await;
    let refused = async |headers: &[(&str, &str)]| {
        let refusal = try_open(&world, REALTIME, headers).await.err().unwrap();
        let body: Value = serde_json::from_slice(refusal.body().as_deref().unwrap()).unwrap();
        (refusal.status().as_u16(), body["error"]["code"].as_str().unwrap().to_owned())
    };
    let of = |account: &str| format!("Bearer {}", key_of(account));
    assert_eq!(refused(&[]).await, (401, "invalid_api_key".to_owned()));
    let wrong = [("authorization", "Bearer wrong")];
    assert_eq!(refused(&wrong).await, (401, "invalid_api_key".to_owned()));
    let poor = [("authorization", of("poor"))];
    let poor = poor.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(refused(&poor).await, (402, "insufficient_quota".to_owned()));
    let closed = of("closed");
    let closed = [("authorization", closed.as_str())];
    assert_eq!(refused(&closed).await, (403, "billing_not_active".to_owned()));
    assert!(world.provider.seen().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_that_nobody_can_meter_are_refused() {
    let world = setup().provider("google", "gemini").start().await;
    let bearer = format!("Bearer {}", key_of("a"));
    let headers = [("authorization", bearer.as_str())];
    let music = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateMusic";
    for path in ["/v1/live/sessions", "/v1/chat/completions", "/v1/brand/new", music] {
        let refusal = try_open(&world, path, &headers).await.err().unwrap();
        assert_eq!(refusal.status(), 400, "{path}");
    }
    assert!(world.provider.seen().await.is_empty());
    assert_eq!(world.left("a").await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_the_provider_is_passed_on_and_costs_nothing() {
    let world = setup().start().await;
    let bearer = format!("Bearer {}", key_of("a"));
    let headers = [("authorization", bearer.as_str()), ("x-sim", "status=429")];
    let refusal = try_open(&world, REALTIME, &headers).await.err().unwrap();
    assert_eq!(refusal.status(), 429);
    assert_eq!(world.left("a").await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_provider_gets_its_own_key_and_readable_frames() {
    let world = setup().provider("google", "gemini").start().await;
    let key = key_of("a");
    let protocols = format!("realtime, openai-insecure-api-key.{key}, openai-project.p");
    let headers = [
        ("sec-websocket-protocol", protocols.as_str()),
        ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
        ("cookie", "private"),
    ];
    let socket = try_open(&world, REALTIME, &headers).await.unwrap();
    assert_eq!(socket.headers["sec-websocket-protocol"], "realtime");
    assert!(socket.headers.contains_key("x-credits-request-id"));
    let seen = world.provider.only().await;
    assert_eq!(seen.path, REALTIME);
    assert!(!seen.headers.contains_key("sec-websocket-extensions"));
    assert!(!seen.headers.contains_key("cookie"));
    socket.close().await;
    // Google's key is in the query.
    let path =
        "/google/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
    let socket = try_open(&world, &format!("{path}?key={key}"), &[]).await.unwrap();
    assert!(!format!("{:?}", world.provider.seen().await).contains(&key));
    socket.close().await;
    assert_eq!(world.left("a").await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_response_is_held_for_before_the_handshake() {
    let world = setup().start().await;
    let mut socket = open(&world, REALTIME, "a").await;
    assert_eq!(world.credits("a").await["held"], 1);
    socket.respond().await;
    let credits = world.credits("a").await;
    assert_eq!(world.left("a").await, 9, "{credits}");
    socket.close().await;
    assert_eq!(world.left("a").await, 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_among_the_protocols_is_not_sent_on() {
    let provider =
        Canned::start(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .await;
    let world = setup().upstream(provider.address).start().await;
    let key = key_of("a");
    let protocols = format!("realtime, openai-insecure-api-key.{key}, openai-project.p");
    let refusal =
        try_open(&world, REALTIME, &[("sec-websocket-protocol", &protocols)]).await.err().unwrap();
    assert_eq!(refusal.status(), 403);
    let heads = provider.heads();
    assert_eq!(heads.len(), 1);
    assert!(!heads[0].contains(&key) && !heads[0].contains("openai-project"), "{}", heads[0]);
    let head = heads[0].to_lowercase();
    assert!(head.contains("sec-websocket-protocol: realtime\r\n"), "{head}");
    assert!(head.contains(&format!("authorization: bearer {PROVIDER_KEY}")), "{head}");
    assert_eq!(world.left("a").await, 10);
}
