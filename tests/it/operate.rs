//! Operating a gateway that runs: what an operator changes holds from the very next call on.

use serde_json::{Value, json};

use crate::harness::{Setup, TOKEN, World};

/// Runs a command of the command line and returns its JSON.
fn run(world: &World, arguments: &[&str]) -> Value {
    world.gateway.run(arguments)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_stops_the_next_call_and_no_other_key() {
    let world = Setup::new().account("a", 10).key("cg_second_of_a", "a", None).start().await;
    assert_eq!(world.chat("a").send().await.status, 200);
    let keys = run(&world, &["key", "list", "a"]);
    let prefix: String = crate::harness::key_of("a").chars().take(9).collect();
    let keys = keys["keys"].as_array().unwrap();
    let first = keys
        .iter()
        .find(|key| key["prefix"] == prefix.as_str() && key["state"] == "valid")
        .unwrap();
    // A call that runs is not cut.
    let mut running = world.stream("a").sim("hold=after:2").open().await;
    running.until("content").await;
    run(&world, &["key", "revoke", first["id"].as_str().unwrap()]);
    assert_eq!(world.chat("a").send().await.status, 401);
    assert_eq!(world.ask("GET", "/v1/models").of("a").send().await.status, 401);
    let second = world.ask("POST", "/v1/chat/completions").bearer("cg_second_of_a");
    assert_eq!(second.json(&crate::harness::chat_body(false)).send().await.status, 200);
    world.provider.release().await;
    running.rest().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_subscription_stops_the_next_call_and_opens_again() {
    let world = Setup::new().account("a", 10).start().await;
    assert_eq!(world.chat("a").send().await.status, 200);
    run(&world, &["account", "gate", "a", "closed"]);
    let refused = world.chat("a").send().await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (403, "billing_not_active"));
    assert_eq!(world.ask("GET", "/v1/models").of("a").send().await.status, 200);
    run(&world, &["account", "gate", "a", "open"]);
    assert_eq!(world.chat("a").send().await.status, 200);
    assert_eq!(world.left("a").await, 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_customer_from_account_to_explanation() {
    let setup = Setup::new().set("plan.monthly.monthly_credits", "1");
    let world = setup.start().await;
    run(&world, &["account", "create", "acme", "--plan", "monthly"]);
    let issued = run(&world, &["key", "issue", "acme", "--name", "laptop"]);
    let secret = issued["secret"].as_str().unwrap();
    assert!(secret.starts_with("cg_") && secret.len() == 67, "{secret}");
    let chat = || {
        let ask = world.ask("POST", "/v1/chat/completions").bearer(secret);
        ask.json(&crate::harness::chat_body(false)).send()
    };
    let first = chat().await;
    assert_eq!(first.status, 200);
    assert_eq!(chat().await.status, 402);
    run(&world, &["grant", "acme", "2.5", "--kind", "purchased", "--source", "invoice:1"]);
    // A source grants once.
    run(&world, &["grant", "acme", "2.5", "--kind", "purchased", "--source", "invoice:1"]);
    assert_eq!(chat().await.status, 200);
    world.resolved().await;
    assert_eq!(run(&world, &["balance", "acme"])["remaining"], json!(1.5));
    let entries = run(&world, &["ledger", "acme"]);
    assert!(entries["entries"].as_array().unwrap().len() >= 5, "{entries:#}");
    let id = first.header("x-credits-request-id").unwrap();
    let explained = run(&world, &["explain", id]).to_string();
    assert!(explained.contains(id) && explained.contains("acme"), "{explained}");
    assert_eq!(run(&world, &["verify"])["clean"], true);
    let route = run(&world, &["route", "POST", "/v1/chat/completions"]).to_string();
    assert!(route.contains("metered"), "{route}");
    assert!(!world.gateway.log().contains(secret), "the secret is shown once, to who asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_token_nobody_operates() {
    let world = Setup::new().account("a", 10).start().await;
    for token in ["", "wrong", &crate::harness::key_of("a")] {
        let answer = world.admin_as(token, "GET", "/admin/v1/accounts").send().await;
        assert_eq!(answer.status, 401, "{token}");
    }
    let output =
        world.gateway.command(&["verify"]).env("CREDITGATE_ADMIN_TOKEN", "wrong").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    // The gateway's own listener has no such routes.
    let answer = world.ask("GET", "/admin/v1/accounts").bearer(TOKEN).send().await;
    assert_eq!(answer.status, 401);
}
