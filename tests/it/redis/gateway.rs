//! The whole gateway on a Redis that goes away and comes back.

use super::Server;
use crate::harness::{SOON, Setup, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_not_ready_while_its_redis_is_away_and_serves_when_it_is_back() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let world = Setup::new().account("acc", 5).ledger_on(&server).start().await;
    assert_eq!(world.chat("acc").send().await.status, 200);
    world.resolved().await;
    server.kill();
    let ready = async || world.admin("GET", "/ready").send().await.status;
    eventually("it is not ready", SOON, async || (ready().await == 503).then_some(())).await;
    let refused = world.chat("acc").send().await;
    assert_eq!(refused.status, 503);
    server.restart();
    eventually("it is ready again", SOON, async || (ready().await == 200).then_some(())).await;
    assert_eq!(world.chat("acc").send().await.status, 200);
    assert_eq!(world.left("acc").await, 3);
    let said =
        |words: &str| world.gateway.lines().iter().filter(|line| line["message"] == words).count();
    assert_eq!(said("the ledger's Redis is away"), 1, "one line when it goes");
    assert_eq!(said("the ledger's Redis answers again"), 1, "one line when it comes back");
}
