//! Redis away: calls are refused, or let through within an allowance; what ran is settled when it is back, once,
//! without a restart.

use serde_json::json;

use crate::harness::{RedisServer, SOON, Setup, World, eventually};

/// A server that writes each step to its disk before it answers: what a test has seen done is there after a kill.
fn durable() -> RedisServer {
    RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"])
}

fn allowing(server: &RedisServer, allowance: u32) -> Setup {
    Setup::new()
        .ledger_on(server)
        .set("outage.on_outage", "'allow'")
        .set("outage.allowance", &allowance.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_calls_are_refused_and_then_go_on_by_themselves() {
    let mut redis = durable();
    let world = Setup::new().ledger_on(&redis).account("a", 5).start().await;
    assert_eq!(world.chat("a").send().await.status, 200);
    redis.kill();
    let refused = world.chat("a").send().await;
    assert_eq!(
        (refused.status.as_u16(), refused.code().as_str()),
        (503, "credit_store_unavailable")
    );
    assert!(refused.header("retry-after").is_some());
    assert_eq!(world.provider.seen().await.len(), 1, "the refused call did not reach the provider");
    assert_eq!(world.ask("GET", "/v1/models").of("a").send().await.status, 200, "free calls pass");
    ready_is(&world, 503).await;
    assert_eq!(world.metrics().await["creditgate_ledger_up"], 0);

    redis.restart();
    ready_is(&world, 200).await;
    assert_eq!(world.metrics().await["creditgate_ledger_up"], 1);
    assert_eq!(world.chat("a").send().await.status, 200);
    assert_eq!(world.left("a").await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ran_while_redis_went_away_is_settled_after_kill_and_restart_of_the_gateway() {
    let mut redis = durable();
    let mut world = Setup::new().ledger_on(&redis).account("a", 5).start().await;
    let mut charged = world.stream("a").sim("hold=after:2").open().await;
    charged.until("data:").await;
    let mut released = Box::pin(world.stream("a").sim("hold=before-headers,status=500").send());
    tokio::select! {
        () = world.provider.holds(2) => {}
        _ = &mut released => panic!("nobody let it go on"),
    }

    redis.kill();
    world.provider.release().await;
    charged.rest().await.unwrap();
    assert_eq!(released.await.status, 500);
    journal_has(&world, "creditgate_journal_waiting", 2).await;
    world.gateway.kill();
    redis.restart();
    world.restart().await;
    journal_has(&world, "creditgate_journal_waiting", 0).await;
    assert_eq!(world.left("a").await, 4);
    let report = world.verify().await;
    assert_eq!((&report["unsettled"], &report["open_holds"]), (&json!([]), &json!(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowance_is_let_through_and_charged_when_redis_is_back() {
    let mut redis = durable();
    let world = allowing(&redis, 3).account("a", 9).account("poor", 1).account("none", 0);
    let world = world.closed_account("closed", 5).start().await;
    for (account, status) in [("a", 200), ("poor", 200), ("none", 402), ("closed", 403)] {
        assert_eq!(world.chat(account).send().await.status, status);
    }
    world.resolved().await;
    redis.kill();

    let mut held = world.stream("a").sim("hold=after:2").open().await;
    held.until("data:").await;
    assert_eq!(held.headers["x-credits-held"], "1");
    for unknown in ["x-credits-charged", "x-credits-remaining"] {
        assert!(!held.headers.contains_key(unknown), "{unknown}");
    }
    assert_eq!(world.chat("a").send().await.status, 200);
    // What the provider did not do is given back, and can be used again.
    assert_eq!(world.chat("a").sim("status=500").send().await.status, 500);
    journal_has(&world, "creditgate_unheld_microcredits", 2_000_000).await;
    assert_eq!(world.chat("a").send().await.status, 200);
    for refused in ["a", "none", "closed"] {
        let refused = world.chat(refused).send().await;
        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (503, "credit_store_unavailable".into())
        );
    }
    for _ in 0..3 {
        assert_eq!(world.chat("poor").send().await.status, 200);
    }
    let ready = world.admin("GET", "/ready").send().await;
    assert_eq!(ready.status, 200, "calls are taken");
    let metrics = world.metrics().await;
    assert_eq!(metrics[r#"creditgate_unheld_calls_total{result="allowed"}"#], 7);
    assert_eq!(metrics[r#"creditgate_unheld_calls_total{result="refused"}"#], 3);
    assert_eq!(metrics["creditgate_unheld_microcredits"], 6_000_000);

    world.provider.release().await;
    held.rest().await.unwrap();
    redis.restart();
    journal_has(&world, "creditgate_unheld_microcredits", 0).await;
    assert_eq!(world.left("a").await, 5, "9 less one before and three without a hold");
    let owing = world.chat("poor").send().await;
    assert_eq!((owing.status.as_u16(), owing.code().as_str()), (402, "credits_owed"));
    assert_eq!(world.verify().await["unsettled"], json!([]));
    let ledger = world.admin("GET", "/admin/v1/accounts/a/ledger?limit=100").send().await.json();
    let entries = ledger["entries"].as_array().unwrap();
    let marked = entries.iter().filter(|entry| entry["kind"] == "charge").count();
    assert_eq!(marked, 3, "{ledger:#}");
    let lines = world.gateway.lines();
    assert_eq!(lines.iter().filter(|line| line["unheld"] == true).count(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_dies_forgets_no_call_that_it_let_through() {
    let mut redis = durable();
    let mut world = allowing(&redis, 9).account("a", 9).start().await;
    assert_eq!(world.chat("a").send().await.status, 200);
    world.resolved().await;
    redis.kill();
    assert_eq!(world.chat("a").send().await.status, 200);
    journal_has(&world, "creditgate_journal_waiting", 1).await;
    let mut running = world.stream("a").sim("hold=after:2").open().await;
    running.until("data:").await;
    world.gateway.kill();
    redis.restart();
    world.restart().await;
    journal_has(&world, "creditgate_journal_waiting", 0).await;
    // The one that ended is charged; of the other nothing was confirmed, which the ledger says.
    assert_eq!(world.left("a").await, 7);
    let books = world.stop().await;
    let charges: Vec<_> = books.entries("a").await.iter().filter_map(charge).collect();
    assert_eq!(charges, [1_000_000, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_written_down_is_not_let_through() {
    let mut redis = durable();
    let world = allowing(&redis, 9).account("a", 9).start().await;
    let mut running = world.stream("a").sim("hold=after:2").open().await;
    running.until("data:").await;
    redis.kill();
    world.gateway.limit_files(Some(1));
    let refused = world.chat("a").send().await;
    assert_eq!(refused.status, 503);
    world.provider.release().await;
    running.rest().await.unwrap();
    let waiting = eventually("the settlement waits in memory", SOON, async || {
        let metrics = world.metrics().await;
        let (all, written) =
            (metrics["creditgate_settlements_waiting"], metrics["creditgate_journal_waiting"]);
        (all > 0).then_some((all, written))
    });
    assert_eq!(waiting.await.1, 0);
    world.gateway.limit_files(None);
    redis.restart();
    journal_has(&world, "creditgate_ledger_up", 1).await;
    assert_eq!(world.left("a").await, 8);
    assert_eq!(world.chat("a").send().await.status, 200);
}

fn charge(entry: &creditgate::credit::Entry) -> Option<u64> {
    match &entry.fact {
        creditgate::credit::Fact::Charge { charged, .. } => Some(charged.micros()),
        _ => None,
    }
}

async fn ready_is(world: &World, status: u16) {
    eventually(&format!("/ready says {status}"), SOON, async || {
        let answer = world.admin("GET", "/ready").send().await;
        (answer.status == status).then_some(())
    })
    .await;
}

async fn journal_has(world: &World, gauge: &str, value: u64) {
    eventually(&format!("{gauge} is {value}"), SOON, async || {
        (world.metrics().await[gauge] == value).then_some(())
    })
    .await;
}
