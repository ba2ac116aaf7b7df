//! A gateway that is killed in the middle of its work loses nothing that had happened.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use creditgate::credit::Id;

use crate::harness::{Setup, World, eventually};

const ROUNDS: usize = 20;
const CALLERS: usize = 12;
const HOLD_TTL: Duration = Duration::from_secs(3);
const ROUND: Duration = Duration::from_millis(1400);
/// Whatever had ended so long before the kill is on disk.
const SAFE: Duration = Duration::from_secs(1);

/// A call that got an answer's head.
#[derive(Clone, Copy)]
struct Call {
    id: Id,
    /// When its answer had come whole.
    ended: Option<Instant>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_lose_no_charge_and_charge_nothing_twice() {
    let setup = Setup::new().account("a", 1_000_000).account("b", 1_000_000);
    let mut world = setup.set("limits.hold_ttl", "'3s'").start().await;
    let mut must_be_charged = BTreeSet::new();
    let mut in_flight = BTreeSet::new();
    for _ in 0..ROUNDS {
        let (calls, killed) = round(&mut world).await;
        let before = killed.checked_sub(SAFE).unwrap();
        for call in calls {
            match call.ended {
                Some(ended) if ended <= before => must_be_charged.insert(call.id),
                Some(_) | None => in_flight.insert(call.id),
            };
        }
        world.restart().await;
        world.verify().await;
    }
    assert!(must_be_charged.len() > ROUNDS && in_flight.len() > ROUNDS, "there was load");
    eventually("no hold outlives its time", HOLD_TTL + Duration::from_secs(2), async || {
        (world.verify().await["open_holds"] == 0).then_some(())
    })
    .await;
    let asked = world.provider.seen().await.len();

    let books = world.stop().await;
    let mut charged = BTreeSet::new();
    let mut held = BTreeSet::new();
    for account in ["a", "b"] {
        // That nothing was resolved twice is checked where the charges are read.
        for (id, charge) in books.charges(account).await {
            assert_eq!(charge, 1_000_000, "{id}");
            charged.insert(id);
        }
        held.extend(books.holds(account).await);
    }
    let report = books.audit().await;
    assert_eq!(report.open_holds, 0);
    let unsettled: BTreeSet<Id> = report.unsettled.iter().map(|call| call.request).collect();
    for id in &must_be_charged {
        assert!(charged.contains(id), "{id} had ended and was not charged");
    }
    for id in in_flight.iter().chain(&held) {
        assert!(charged.contains(id) || unsettled.contains(id), "{id} is not accounted for");
    }
    assert!(asked <= held.len(), "{asked} requests upstream, {} holds", held.len());
}

/// Callers work until the gateway is killed. Returns what they noted, and when it was killed.
async fn round(world: &mut World) -> (Vec<Call>, Instant) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let account = if caller % 2 == 0 { "a" } else { "b" };
            let asks = std::iter::from_fn({
                // Requests are made up front: the process they go to is about to go.
                let mut left = 400;
                let world = &*world;
                move || {
                    left -= 1;
                    let ask = match left % 3 {
                        0 => world.chat(account).sim("delay=5ms"),
                        1 => world.stream(account).sim("gap=20ms"),
                        _ => world.stream(account).sim("delay=60ms,gap=60ms"),
                    };
                    (left > 0).then_some(ask)
                }
            });
            let (asks, calls) = (asks.collect::<Vec<_>>(), Arc::clone(&calls));
            tokio::spawn(async move {
                for ask in asks {
                    let Some(mut answer) = ask.try_open().await else { return };
                    assert_eq!(answer.status, 200);
                    let id = answer.request_id().unwrap();
                    let whole = answer.rest().await.is_ok();
                    let ended = whole.then(Instant::now);
                    calls.lock().unwrap().push(Call { id, ended });
                    if !whole {
                        return;
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(ROUND).await;
    world.gateway.kill();
    let killed = Instant::now();
    for caller in callers {
        caller.await.unwrap();
    }
    let calls = calls.lock().unwrap().clone();
    (calls, killed)
}
