//! Each gateway reaches the server through a network that delays replies, cuts connections and loses replies for good.

use std::collections::BTreeSet;

use super::load::{self, Load};
use super::reckoning::reckon;
use crate::exact::STORIES;
use crate::harness::{Fleet, Network, RedisServer, Weather};

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
    let found = reckon(&fleet, &calls, &BTreeSet::new()).await;
    println!("{found:?}, {spoiled} replies spoiled");
    assert_eq!((found.unpaid, found.owed), (0, 0));
    assert!(found.charged > 100 && found.exhausted > 0, "there was no load");
    assert!(spoiled >= 10, "the network was too good: {spoiled}");
}
