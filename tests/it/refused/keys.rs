//! Who calls.

use creditgate::credit::Timestamp;
use serde_json::json;

use super::check_final_refusal;
use crate::harness::{Ask, SOON, Setup, World, eventually, key_of};

const SERVICE: &str = "cg_service_secret";

async fn world() -> World {
    Setup::new().account("a", 100).account("b", 100).service_key(SERVICE).start().await
}

fn chat(world: &World) -> Ask {
    world.ask("POST", "/v1/chat/completions").json(&crate::harness::chat_body(true))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_known_key_there_is_nothing_not_even_for_free() {
    let world = world().await;
    for ask in [chat(&world), world.ask("GET", "/v1/models"), world.ask("GET", "/credits")] {
        let answer = ask.send().await;
        check_final_refusal(&world, &answer, 401, "invalid_api_key").await;
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    let unknown = key_of("nobody");
    let almost = key_of("a").to_uppercase();
    for key in [unknown.as_str(), almost.as_str(), "cg_", "", "sk-proj-0123456789"] {
        for ask in [chat(&world), world.ask("GET", "/v1/models")] {
            let answer = ask.bearer(key).send().await;
            check_final_refusal(&world, &answer, 401, "invalid_api_key").await;
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    let basic = chat(&world).header("authorization", &format!("Basic {}", key_of("a")));
    check_final_refusal(&world, &basic.send().await, 401, "invalid_api_key").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_taken_wherever_a_library_puts_it() {
    let world = world().await;
    let key = key_of("a");
    let subprotocol = format!("realtime, openai-insecure-api-key.{key}, openai-beta.realtime-v1");
    for (name, value) in [
        ("authorization", format!("Bearer {key}")),
        ("authorization", format!("bearer {key}")),
        ("x-api-key", key.clone()),
        ("api-key", key.clone()),
        ("x-goog-api-key", key.clone()),
        ("sec-websocket-protocol", subprotocol),
    ] {
        let answer = chat(&world).header(name, &value).send().await;
        assert_eq!(answer.status, 200, "{name}: {value}");
        let seen = world.provider.last_is("answered").await;
        assert!(seen.headers["authorization"].ends_with("ests"), "the provider gets its own key");
        assert!(name == "authorization" || !seen.headers.contains_key(name), "{name} stays here");
    }
    let body = crate::harness::chat_body(false);
    let path = format!("/v1/chat/completions?key={key}");
    assert_eq!(world.ask("POST", &path).json(&body).send().await.status, 200);
    // The same key in two places is one key.
    let twice = chat(&world).of("a").header("x-api-key", &key);
    assert_eq!(twice.send().await.status, 200);
    assert_eq!(world.left("a").await, 92);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_different_keys_are_refused_even_if_both_are_good() {
    let world = world().await;
    for ask in [
        chat(&world).of("a").header("x-api-key", &key_of("b")),
        chat(&world).of("a").of("b"),
        chat(&world).of("a").header("api-key", "cg_unknown"),
    ] {
        check_final_refusal(&world, &ask.send().await, 401, "invalid_api_key").await;
    }
    let path = format!("/v1/models?key={}", key_of("b"));
    let answer = world.ask("GET", &path).of("a").send().await;
    check_final_refusal(&world, &answer, 401, "invalid_api_key").await;
    assert_eq!((world.left("a").await, world.left("b").await), (100, 100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_has_ended_is_refused() {
    let now = crate::harness::now();
    let ended = Timestamp::from_millis(now.millis() - 1);
    let ends = now.after_millis(4_000);
    let setup = Setup::new().account("a", 100);
    let setup = setup.key("cg_ended", "a", Some(ended)).key("cg_ends", "a", Some(ends));
    let world = setup.key("cg_lasts", "a", Some(now.after_millis(600_000))).start().await;
    let answer = chat(&world).bearer("cg_ended").send().await;
    check_final_refusal(&world, &answer, 401, "invalid_api_key").await;
    assert_eq!(chat(&world).bearer("cg_lasts").send().await.status, 200);
    // It is known and cached when it ends.
    let free = || world.ask("GET", "/v1/models").bearer("cg_ends").send();
    assert_eq!(free().await.status, 200);
    eventually("the key ends", SOON, async || (free().await.status == 401).then_some(())).await;
    assert!(crate::harness::now() >= ends);
    assert_eq!(chat(&world).bearer("cg_ends").send().await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_key_names_the_account_that_pays() {
    let world = world().await;
    let service = || chat(&world).bearer(SERVICE);
    for (ask, status, code) in [
        (service(), 400, "account_required"),
        (service().header("x-credits-account", ""), 400, "account_required"),
        (service().header("x-credits-account", "no such name"), 400, "account_required"),
        (
            service().header("x-credits-account", "a").header("x-credits-account", "b"),
            400,
            "account_required",
        ),
        (service().header("x-credits-account", "unknown"), 403, "account_not_allowed"),
        (chat(&world).of("a").header("x-credits-account", "b"), 403, "account_not_allowed"),
    ] {
        check_final_refusal(&world, &ask.send().await, status, code).await;
    }
    assert_eq!(service().header("x-credits-account", "b").send().await.status, 200);
    assert_eq!(chat(&world).of("a").header("x-credits-account", "a").send().await.status, 200);
    assert_eq!((world.left("a").await, world.left("b").await), (99, 99));
    let balance = world.ask("GET", "/credits").bearer(SERVICE).header("x-credits-account", "b");
    assert_eq!(balance.send().await.json()["account"], json!("b"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_still_sending_hears_the_refusal() {
    let world = world().await;
    let large = json!({ "model": "m", "x": "x".repeat(4 << 20) });
    for _ in 0..8 {
        let answer = world.ask("POST", "/v1/chat/completions").json(&large).send().await;
        check_final_refusal(&world, &answer, 401, "invalid_api_key").await;
    }
}
