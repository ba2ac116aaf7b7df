//! The server is away, empty, slow to come back, or its operator is at work: callers are told, and no sum changes.

use super::load::{self, Load};
use super::reckoning::{Killed, reckon};
use crate::exact::STORIES;
use crate::harness::{Fleet, Launch, RedisServer, SOON, Setup, World, eventually};

const CALLERS: usize = 120;
/// Of each caller.
const CALLS: usize = 4;
/// What operators do, each time that so many calls have ended.
const EVERY: usize = 60;
const DONE: [&[&str]; 6] = [
    &["FUNCTION", "FLUSH"],
    &["CLIENT", "KILL", "TYPE", "normal"],
    // Longer than a gateway waits: what becomes of the steps under way is not known to it.
    &["CLIENT", "PAUSE", "3000"],
    &["FUNCTION", "FLUSH", "SYNC"],
    &["BGREWRITEAOF"],
    &["CLIENT", "KILL", "TYPE", "normal"],
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_flushed_connections_killed_and_clients_paused_change_no_sum() {
    let redis = RedisServer::start(&["--appendonly", "yes"]);
    let mut fleet = Fleet::start(load::setup(), redis, 4).await;
    let load = Load::on(&fleet);
    let callers = load.start((CALLERS, CALLS), &STORIES);
    for (number, words) in (1..).zip(DONE) {
        load.admit(number * EVERY + CALLERS);
        load.ended(number * EVERY).await;
        fleet.redis.command(words).await;
    }
    load.admit(usize::MAX);
    let calls: Vec<_> = callers.join_all().await.into_iter().flatten().collect();
    fleet.stop().await;
    let found = reckon(&fleet, &calls, &Killed::new()).await;
    println!("{found:?}");
    assert_eq!((found.unpaid, found.owed), (0, 0));
    assert!(found.charged > 100 && found.exhausted > 0, "there was no load");
    assert!(found.turned_away > 0, "nobody noticed the pause");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_finds_no_server_says_so_and_ends() {
    let mut redis = RedisServer::start(&["--appendonly", "yes"]);
    let mut world = Setup::new().account("a", 5).ledger_on(&redis).start().await;
    world.gateway.terminate();
    world.gateway.ended().await;
    redis.kill();
    let (status, words) = world.launch.fail().await;
    assert!(!status.success());
    let address = redis.url();
    for part in ["can't reach the ledger's Redis", "refused", &address] {
        assert!(words.contains(part), "no {part} in {words}");
    }
    assert!(!words.contains("panicked"), "{words}");
    redis.restart();
    world.restart().await;
    assert_eq!(world.chat("a").send().await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_has_lost_everything_knows_no_key() {
    let mut redis = RedisServer::start(&["--appendonly", "yes"]);
    let world = Setup::new().account("a", 5).account("b", 5).ledger_on(&redis).start().await;
    assert_eq!(world.chat("a").send().await.status, 200);
    world.resolved().await;
    redis.kill();
    redis.restart_empty();
    serves_again(&world).await;
    // One account is in the gateway's memory, the other is not.
    for account in ["a", "b"] {
        let refused = world.chat(account).send().await;
        let (status, code) = (refused.status.as_u16(), refused.code());
        assert_eq!((status, code.as_str()), (401, "invalid_api_key"), "{account}");
    }
    assert_eq!(world.provider.seen().await.len(), 1);
    let report = world.verify().await;
    assert_eq!((&report["accounts"], &report["entries"]), (&0.into(), &0.into()));
    assert!(!world.gateway.log().contains("panicked"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_loading_is_waited_for() {
    let mut redis = RedisServer::start(&["--appendonly", "yes"]);
    let world = Setup::new().account("a", 5).ledger_on(&redis).start().await;
    assert_eq!(world.chat("a").send().await.status, 200);
    world.resolved().await;
    redis.command(&["EVAL", "for i = 1, 40000 do redis.call('SET', 'x' .. i, i) end", "0"]).await;
    redis.kill();
    redis.restart_slowly();
    let loading = async || {
        let info: String = redis.ask(&["INFO", "persistence"]).await;
        info.contains("loading:1")
    };
    assert!(loading().await, "the server is too fast for this test");
    let refused = world.chat("a").send().await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.code(), "credit_store_unavailable");
    assert!(refused.header("retry-after").is_some());
    // A gateway that is started now waits as well.
    let folder = world.launch.folder.join("second");
    std::fs::create_dir(&folder).unwrap();
    let launch = Launch { folder, ..world.launch.clone() };
    let started_while_loading = async {
        assert!(loading().await, "the server is too fast for this test");
        serves_again(&world).await;
    };
    let (second, ()) = tokio::join!(launch.start(), started_while_loading);
    assert!(!second.log().contains("no append-only file"), "it can't tell while it is loading");
    for gateway in [&world.gateway, &second] {
        eventually("the gateway serves again", SOON, async || {
            (gateway.chat("a").send().await.status == 200).then_some(())
        })
        .await;
    }
    world.resolved().await;
    assert_eq!(world.left("a").await, 2);
    assert!(!world.gateway.log().contains("panicked"));
}

async fn serves_again(world: &World) {
    eventually("the gateway is ready", SOON, async || {
        (world.admin("GET", "/ready").send().await.status == 200).then_some(())
    })
    .await;
}
