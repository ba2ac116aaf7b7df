//! Each gateway reaches the server through a network that delays replies, cuts connections and loses replies for good.

use super::load::{self, Load};
use super::reckoning::{Killed, reckon};
use crate::exact::STORIES;
use crate::harness::{Fleet, Network, RedisServer, SOON, Setup, Weather, eventually};

const GATEWAYS: u64 = 4;
const CALLERS: usize = 120;
/// Of each caller.
const CALLS: usize = 4;
/// A gateway waits for two seconds before it believes that a reply is lost.
const BAD: Weather = Weather { lost: 20, cut: 150, late: 200 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_network_to_the_server_changes_no_sum() {
    let redis = RedisServer::start(&["--appendonly", "yes"]);
    let mut networks = Vec::new();
    for seed in 0..GATEWAYS {
        let network = Network::to(&redis, BAD, seed).await;
        network.calm(true);
        networks.push(network);
    }
    let ledgers: Vec<String> = networks.iter().map(|network| network.url().to_owned()).collect();
    let mut fleet = Fleet::on(load::setup(), redis, &ledgers).await;
    let load = Load::on(&fleet);
    for network in &networks {
        network.calm(false);
    }
    let callers = load.start((CALLERS, CALLS), &STORIES);
    let calls: Vec<_> = callers.join_all().await.into_iter().flatten().collect();
    let spoiled: usize = networks.iter().map(Network::spoiled).sum();
    for network in &networks {
        network.calm(true);
    }
    fleet.stop().await;
    let found = reckon(&fleet, &calls, &Killed::new()).await;
    println!("{found:?}, {spoiled} replies spoiled");
    assert_eq!((found.unpaid, found.owed), (0, 0));
    assert!(found.charged > 100 && found.exhausted > 0, "there was no load");
    assert!(spoiled >= 10, "the network was too good: {spoiled}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_arrives_after_its_caller_was_turned_away_holds_nothing() {
    let redis = RedisServer::start(&["--appendonly", "yes"]);
    let network = Network::to(&redis, Weather::default(), 0).await;
    let fleet = Fleet::on(Setup::new().account("a", 2), redis, &[network.url().to_owned()]).await;
    let gateway = &fleet.gateways[0];
    // From here on the gateway knows the account and the server the script: the next thing to be asked is the hold.
    assert_eq!(gateway.chat("a").send().await.status, 200);
    fleet.resolved().await;
    network.dam();
    let refused = gateway.chat("a").send().await;
    assert_eq!((refused.status.as_u16(), refused.code()), (503, "credit_store_unavailable".into()));
    // The release takes another way, and is the first to arrive.
    eventually("the call is given back", SOON, async || {
        (gateway.metrics().await["creditgate_settlements_waiting"] == 0).then_some(())
    })
    .await;
    let before = steps(&fleet.redis).await;
    network.undam();
    eventually("the hold arrives", SOON, async || {
        (steps(&fleet.redis).await > before).then_some(())
    })
    .await;
    assert_eq!(gateway.verify().await["open_holds"], 0);
    assert_eq!(gateway.chat("a").send().await.status, 200);
}

/// How many steps a server was asked for.
async fn steps(redis: &RedisServer) -> u64 {
    let told: String = redis.ask(&["INFO", "commandstats"]).await;
    let calls = told.split_once("cmdstat_fcall:calls=").and_then(|(_, rest)| rest.split_once(','));
    calls.unwrap().0.parse().unwrap()
}
