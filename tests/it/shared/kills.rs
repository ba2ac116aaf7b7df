//! Gateways and their server are killed in the middle of work: each call that was served is charged once, or is on the
//! list of those that may have been served unpaid.

use std::collections::BTreeSet;

use creditgate::credit::Operation;
use creditgate::ledger::journal::Waiting;
use serde_json::json;

use super::load::{self, Load};
use super::reckoning::{Killed, reckon};
use crate::exact::{STORIES, Story, story};
use crate::harness::{Fleet, RedisServer, SOON, eventually};

const GATEWAYS: usize = 4;
const CALLERS: usize = 300;
/// Of each caller.
const CALLS: usize = 4;
/// A gateway is killed each time that so many calls have ended.
const KILL_EVERY: usize = 100;
/// The server is killed when so many have, and a gateway before it comes back.
const KILL_SERVER_AT: [usize; 2] = [350, 750];

/// Calls that run for so long that a kill will meet them.
const LONG: [Story; 5] = [
    story("delay=300ms", false, true),
    story("gap=100ms,chunks=6", true, true),
    story("delay=150ms,gap=50ms,chunks=10", true, true),
    story("delay=200ms,status=502", false, false),
    story("delay=200ms,silent", true, false),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_gateways_and_a_killed_server_charge_nothing_twice_and_list_what_was_not_charged() {
    // With `everysec`, a write may wait for a sync that is under way while its step is acknowledged already: what is
    // killed then had forgotten what it had said. `always` writes and syncs before it answers.
    let redis = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let setup = load::setup().set("limits.hold_ttl", "'3s'");
    let mut fleet = Fleet::start(setup, redis, GATEWAYS).await;
    let load = Load::on(&fleet);
    let callers = load.start((CALLERS, CALLS), &[&LONG[..], &STORIES].concat());
    let (killed, journaled) = kill(&mut fleet, &load).await;
    let mut calls: Vec<_> = callers.join_all().await.into_iter().flatten().collect();
    fleet.stop().await;
    eventually("no hold outlives its time", SOON, async || {
        (fleet.books.audit().await.open_holds == 0).then_some(())
    })
    .await;

    // The next call of an account writes down what has run out.
    fleet.restart(0).await;
    load.open(0, fleet.gateways[0].address);
    for gateway in 1..GATEWAYS {
        load.close(gateway);
    }
    calls.extend(load.one_of_each_account().await);
    fleet.resolved().await;
    let report = fleet.gateways[0].verify().await;
    assert_eq!((&report["clean"], &report["open_holds"]), (&json!(true), &json!(0)));
    let found = reckon(&fleet, &calls, &killed).await;
    let listed = report["unsettled"].as_array().unwrap();
    println!("{found:?}, {} on the list, {} in a journal", listed.len(), journaled.len());
    survived(&fleet, &journaled).await;
    assert!(journaled.len() > 1, "nothing was written down before a kill");
    assert!(found.charged > 100 && found.exhausted > 20, "there was no load");
    assert!(found.unpaid > 0, "no kill met a call that was being served");
    assert!(found.turned_away > 0, "nobody found the server away");
}

/// Kills one gateway after another, and the server in between, and starts each again at once. Returns who was killed,
/// and what stood in the journals of those that were killed while the server was away.
async fn kill(fleet: &mut Fleet, load: &Load) -> (Killed, Vec<Waiting>) {
    let (mut killed, mut journaled) = (Killed::new(), Vec::new());
    let gateways = (1..CALLERS * CALLS / KILL_EVERY).map(|kill| kill * KILL_EVERY);
    let mut moments: Vec<usize> = gateways.chain(KILL_SERVER_AT).collect();
    moments.sort_unstable();
    for (gateway, moment) in (0..GATEWAYS).cycle().zip(moments) {
        load.admit(moment + CALLERS);
        load.ended(moment).await;
        let with_server = KILL_SERVER_AT.contains(&moment);
        let mut settled = BTreeSet::new();
        if with_server {
            tokio::task::block_in_place(|| fleet.redis.kill());
            load.admit(moment + 2 * CALLERS);
            gauge(fleet, gateway, "creditgate_journal_waiting", |waiting| waiting > 0).await;
        } else {
            settled = load.whole();
            gauge(fleet, gateway, "creditgate_settlements_waiting", |waiting| waiting == 0).await;
        }
        killed.insert(load.close(gateway), settled);
        fleet.gateways[gateway].kill();
        if with_server {
            journaled.extend(fleet.journal(gateway).await);
            tokio::task::block_in_place(|| fleet.redis.restart());
        }
        fleet.restart(gateway).await;
        load.open(gateway, fleet.gateways[gateway].address);
    }
    load.admit(usize::MAX);
    (killed, journaled)
}

/// Waits until a gauge of a gateway is as it should be.
async fn gauge(fleet: &Fleet, gateway: usize, name: &str, is_so: impl Fn(u64) -> bool) {
    eventually(&format!("{name} is as it should be"), SOON, async || {
        is_so(fleet.gateways[gateway].metrics().await[name]).then_some(())
    })
    .await;
}

/// What was written down before a kill is in the ledger, as it was written down.
async fn survived(fleet: &Fleet, journaled: &[Waiting]) {
    let unsettled = fleet.books.audit().await.unsettled;
    for Waiting { account, id, operation, .. } in journaled {
        let charged = fleet.books.charges(account.as_str()).await.get(id).copied();
        match operation {
            Operation::Settle { amount, .. } => {
                assert_eq!(charged, Some(amount.micros()), "{id} of {account}");
                assert!(unsettled.iter().all(|call| call.request != *id), "{id} of {account}");
            }
            Operation::Release => assert_eq!(charged, None, "{id} of {account}"),
            other => panic!("{other:?} in a journal"),
        }
    }
}
