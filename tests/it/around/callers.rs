//! Who pays is who presents the key.

use super::{CREDITS, paid, setup};
use crate::harness::key_of;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_works_on_another_account() {
    let world = setup().service_key("cg_service").start().await;
    let mut left = CREDITS;
    let key = key_of("b");
    for (name, value) in [
        ("x-credits-account", "b"),
        ("x-api-key", key.as_str()),
        ("api-key", key.as_str()),
        ("x-goog-api-key", key.as_str()),
        ("authorization", &format!("Bearer {key}")),
        ("sec-websocket-protocol", &format!("openai-insecure-api-key.{key}")),
    ] {
        let answer = world.chat("a").header(name, value).send().await;
        assert!([401, 403].contains(&answer.status.as_u16()), "{name}: {:?}", answer.status);
        assert_eq!(paid(&world, name, &mut left).await, 0);
    }
    for (name, value) in [
        ("x-credits-task", "t"),
        ("x-credits-feature", "playground"),
        ("x-credits-charged", "0"),
        ("x-credits-remaining", "5"),
        ("x-credits-request-id", "1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("proxy-authorization", &format!("Bearer {key}")),
        ("cookie", &format!("key={key}")),
        ("openai-organization", "org"),
        ("x-credits-account", "a"),
    ] {
        world.chat("a").header(name, value).send().await;
        paid(&world, name, &mut left).await;
    }
    let query = format!("/v1/chat/completions?key={key}");
    world.ask("POST", &query).of("a").json(&crate::harness::chat_body(false)).send().await;
    assert_eq!(paid(&world, "two keys", &mut left).await, 0);
    let own = format!("/v1/chat/completions?key={}", key_of("a"));
    let answer = world.ask("POST", &own).json(&crate::harness::chat_body(false)).send().await;
    assert_eq!(answer.status, 200);
    assert!(!world.provider.only().await.path.contains("key"));
    paid(&world, "a key in the query", &mut left).await;
    let twice = world
        .ask("POST", "/v1/chat/completions")
        .bearer("cg_service")
        .header("x-credits-account", "a");
    let answer =
        twice.header("x-credits-account", "b").json(&crate::harness::chat_body(false)).send().await;
    assert_eq!(answer.status, 400);
    assert_eq!(paid(&world, "two accounts", &mut left).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_that_was_cached_is_refused() {
    let world = setup().start().await;
    assert_eq!(world.chat("a").send().await.status, 200);
    let shown = world.admin("GET", "/admin/v1/accounts/a").send().await.json();
    let key = shown["keys"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(world.admin("DELETE", &format!("/admin/v1/keys/{key}")).send().await.status, 200);
    world.provider.forget().await;
    assert_eq!(world.chat("a").send().await.status, 401);
    assert_eq!(world.stream("a").send().await.status, 401);
    assert!(world.provider.seen().await.is_empty());
}
