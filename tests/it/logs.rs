//! What operators see: one line for each request, and counts. No key, no body, no query.

use serde_json::Value;

use crate::harness::{SOON, Setup, World, eventually, key_of};

/// The lines about requests.
async fn request_lines(world: &World, expected: usize) -> Vec<Value> {
    eventually(&format!("{expected} requests are logged"), SOON, async || {
        let lines = world.gateway.lines();
        let lines: Vec<Value> =
            lines.into_iter().filter(|line| line["target"] == "creditgate::request").collect();
        (lines.len() >= expected).then_some(lines)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_one_line_whatever_became_of_it() {
    let mut world = Setup::new().account("a", 2).account("broke", 0).start().await;
    let served = world.chat("a").send().await;
    world.stream("a").sim("break=after:3").breaks().await;
    // What the call before holds would only be held, not gone.
    world.resolved().await;
    world.chat("a").send().await;
    world.chat("broke").send().await;
    world.ask("GET", "/v1/models").of("a").send().await;
    world.ask("GET", "/v1/models").send().await;
    world.ask("POST", "/v1/chat/completions").of("broke").body("no JSON").send().await;
    world.ask("GET", "/v1/%2e%2e/%2e%2e").of("a").send().await;
    let mut left = world.ask("GET", "/v1/models").of("a").sim("hold=after:1").open().await;
    left.until("{").await;
    drop(left);
    let lines = request_lines(&world, 9).await;
    world.gateway.terminate();
    world.gateway.ended().await;

    let got: Vec<(Option<u64>, &str)> = lines
        .iter()
        .map(|line| (line["status"].as_u64(), line["ending"].as_str().unwrap()))
        .collect();
    assert_eq!(
        got,
        [
            (Some(200), "complete"),
            (Some(200), "broken"),
            (Some(402), "insufficient_quota"),
            (Some(402), "insufficient_quota"),
            (Some(200), "complete"),
            (Some(401), "invalid_api_key"),
            (Some(400), "invalid_request"),
            (Some(400), "invalid_path"),
            (Some(200), "client_left"),
        ]
    );
    let first = &lines[0];
    assert_eq!(Some(first["request"].as_str().unwrap()), served.header("x-credits-request-id"));
    assert_eq!(first["account"], "a");
    assert_eq!(first["route"], "/v1/chat/completions");
    assert_eq!((&first["class"], &first["operation"]), (&"metered".into(), &"chat".into()));
    assert_eq!(first["credits_charged"], "1");
    assert!(first["duration_ms"].is_u64() && first["key"].is_string());
    for line in world.gateway.log().lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    assert_eq!(request_lines(&world, 9).await.len(), 9, "one line each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_no_body_and_no_query_is_logged() {
    let setup = Setup::new().set("log.level", "'trace'").account("a", 10);
    let mut world = setup.start().await;
    let key = key_of("a");
    let body = r#"{"model":"m","messages":[{"role":"user","content":"my-private-words"}]}"#;
    for path in [
        "/v1/chat/completions",
        "/v1/chat/completions?note=my-private-query",
        "/v1/nothing?x=my-private-query",
    ] {
        let path = if path.contains('?') { format!("{path}&key={key}") } else { path.to_owned() };
        let ask = world.ask("POST", &path).of("a").header("cookie", "my-private-cookie=1");
        ask.sim("body=my-private-answer").body(body).send().await;
    }
    world.ask("GET", "/v1/models").bearer("cg_my-private-wrong-key").send().await;
    world.chat("a").bearer("cg_my-private-second-key").send().await;
    world
        .ask("POST", "/v1/chat/completions")
        .of("a")
        .body(r#"{"model":7,"x":"my-private-words"}"#)
        .send()
        .await;
    request_lines(&world, 6).await;
    world.stop().await;
    let log = world.gateway.log();
    for secret in [key.as_str(), "my-private", crate::harness::PROVIDER_KEY, crate::harness::TOKEN]
    {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_counted_is_what_happened() {
    let world = Setup::new().account("a", 10).account("broke", 0).start().await;
    for _ in 0..3 {
        world.chat("a").send().await;
    }
    world.stream("a").sim("break=after:1").breaks().await;
    world.chat("a").sim("status=500").send().await;
    world.chat("broke").send().await;
    world.chat("broke").send().await;
    world.ask("GET", "/v1/models").of("a").send().await;
    world
        .ask("POST", "/v1/brand-new/thing")
        .of("a")
        .json(&crate::harness::chat_body(false))
        .send()
        .await;
    world.resolved().await;
    request_lines(&world, 9).await;

    let metrics = world.metrics().await;
    let count = |name: &str| metrics.get(name).copied().unwrap_or_default();
    assert_eq!(count("creditgate_charged_microcredits_total"), 3_000_000);
    assert_eq!(count(r#"creditgate_refusals_total{reason="insufficient_quota"}"#), 2);
    assert_eq!(count(r#"creditgate_holds_total{outcome="settled"}"#), 3);
    assert_eq!(count(r#"creditgate_holds_total{outcome="released"}"#), 3);
    assert_eq!(count(r#"creditgate_holds_total{outcome="refused"}"#), 2);
    assert_eq!(count("creditgate_requests_in_flight"), 0);
    assert_eq!(count("creditgate_streams_open"), 0);
    let requests =
        metrics.iter().filter(|(name, _)| name.starts_with("creditgate_requests_total{"));
    assert_eq!(requests.map(|(_, count)| count).sum::<u64>(), 9);
    let unknown =
        metrics.iter().find(|(name, _)| name.starts_with("creditgate_unknown_routes_total{"));
    assert!(
        unknown.is_some_and(|(name, count)| name.contains("brand-new") && *count == 1),
        "{unknown:?}"
    );
}
