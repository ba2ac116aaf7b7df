//! `x-credits-feature`: what a call is for.

use http::StatusCode;
use serde_json::json;

use super::both;
use crate::harness::{Ask, Setup, World, chat_body};

const SERVICE: &str = "cg_service";

fn setup() -> Setup {
    Setup::new()
        .account("a", 20)
        .service_key(SERVICE)
        .set("price.default.credits", "1")
        .rule("feature = 'playground*'\ncredits = 0")
        .rule("feature = 'report'\noperation = 'chat'\ncredits = 3")
}

fn of_service(world: &World, feature: &str) -> Ask {
    let ask = world.ask("POST", "/v1/chat/completions").bearer(SERVICE);
    ask.header("x-credits-account", "a")
        .header("x-credits-feature", feature)
        .json(&chat_body(false))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_service_key_it_sets_the_price_and_from_an_account_key_it_is_a_label() {
    for (world, _redis) in &both(setup).await {
        for (feature, price) in [("playground-2", "0"), ("report", "3"), ("other", "1")] {
            let served = of_service(world, feature).send().await;
            assert_eq!(served.header("x-credits-charged"), Some(price), "{feature}");
            let own = world.chat("a").header("x-credits-feature", feature).send().await;
            assert_eq!(own.header("x-credits-charged"), Some("1"), "{feature}");
        }
        assert_eq!(world.left("a").await, 20 - 7);
        for seen in world.provider.seen().await {
            assert!(seen.headers.keys().all(|name| !name.starts_with("x-credits-")), "{seen:?}");
        }
        let metrics = world.metrics().await;
        assert!(metrics.keys().all(|series| !series.contains("playground")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_can_not_be_read_is_said_to_be_so() {
    let world = setup().start().await;
    for feature in ["", "two words", "a/b", "-", &"f".repeat(65)] {
        let refused = of_service(&world, feature).send().await;
        assert_eq!(
            (refused.status, refused.code()),
            (StatusCode::BAD_REQUEST, "invalid_header".into()),
            "{feature}"
        );
    }
    let twice = of_service(&world, "x").header("x-credits-feature", "y").send().await;
    assert_eq!(twice.status, 400);
    assert_eq!(world.left("a").await, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_price_of_a_feature_is_explained() {
    let world = setup().start().await;
    let path = "/v1/chat/completions";
    let routes = [(json!("report"), "3"), (json!(null), "1")];
    for (feature, credits) in routes {
        let asked = json!({ "method": "POST", "path": path, "model": "m", "feature": feature });
        let told = world.admin("POST", "/admin/v1/route").json(&asked).send().await.json();
        assert_eq!(told["credits"].to_string(), credits, "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_stands_in_the_ledger_and_usage_is_told_by_it() {
    for (world, _redis) in &both(setup).await {
        let report = of_service(world, "report").send().await;
        let request = report.header("x-credits-request-id").unwrap().to_owned();
        for feature in ["copilot", "copilot", "playground-2"] {
            let own = world.chat("a").header("x-credits-feature", feature).send().await;
            assert_eq!(own.status, 200);
        }
        assert_eq!(world.chat("a").send().await.status, 200);
        assert_eq!(of_service(world, "playground-2").send().await.status, 200);
        world.resolved().await;
        let used = world.gateway.run(&["usage", "a"]);
        let sums = json!([
            { "feature": "report", "calls": 1, "credits": 3 },
            { "feature": "copilot", "calls": 2, "credits": 2 },
            { "feature": null, "calls": 1, "credits": 1 },
            { "feature": "playground-2", "calls": 2, "credits": 1 },
        ]);
        assert_eq!(used["features"], sums, "{used}");
        let explained = world.gateway.run(&["explain", &request]);
        assert_eq!(explained["feature"], "report", "{explained}");
        let entries = world.gateway.run(&["ledger", "a"]);
        let named = |entry: &&serde_json::Value| entry["feature"] == "copilot";
        assert_eq!(entries["entries"].as_array().unwrap().iter().filter(named).count(), 2);
    }
}
