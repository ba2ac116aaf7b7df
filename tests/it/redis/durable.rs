//! A grant is acknowledged when a replica has it, and a call waits for nobody.

use std::time::Duration;

use ::redis::Value;
use creditgate::config::Replicas;
use creditgate::credit::{Done, LotKind};
use creditgate::ledger::LedgerError;
use creditgate::ledger::redis::Settings;
use tokio::task::JoinHandle;

use super::Server;
use super::promises::{funded, grant, hold, is_held, new_id, open_at};
use super::raw::Raw;
use super::servers::replica_of;
use crate::harness::{SOON, eventually};

const BOOKS: &str = "{s065}:a:acc";

fn settings(replicas: Replicas, limit: Duration) -> Settings {
    Settings { replicas, replicas_timeout: limit, ..Settings::default() }
}

/// What a server has of the account.
async fn fields(raw: &mut Raw) -> i64 {
    let Value::Int(fields) = raw.ask(&["HLEN", BOOKS]).await else { panic!("no number") };
    fields
}

/// What the master has told its replica, and how much of it the replica has confirmed.
async fn told_and_confirmed(master: &mut Raw) -> (u64, u64) {
    let info = master.text(&["INFO", "replication"]).await;
    let number = |name: &str| -> u64 {
        let (_, rest) = info.split_once(name).unwrap_or_else(|| panic!("no {name} in {info}"));
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    (number("master_repl_offset:"), number("state=online,offset="))
}

/// The replica does nothing for a while.
fn asleep(replica: &Server, seconds: &'static str) -> JoinHandle<()> {
    let url = replica.url();
    tokio::spawn(async move {
        Raw::open(&url).await.ask(&["DEBUG", "SLEEP", seconds]).await;
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_on_the_replica_when_it_is_acknowledged() {
    let master = Server::start(&[]);
    let replica = replica_of(&master, &["--enable-debug-command", "yes"]).await;
    let ledger = open_at(&master.url(), Settings::default()).await.unwrap();
    let account = funded(&ledger, "acc", 100).await;
    let mut raw = Raw::open(&master.url()).await;
    let sleeping = asleep(&replica, "0.5");
    eventually("the replica is asleep", SOON, async || {
        // A hold is told to the replica, and waits for nobody.
        assert!(is_held(&ledger.apply(&account, new_id(), hold(1)).await));
        let (told, confirmed) = told_and_confirmed(&mut raw).await;
        (confirmed < told).then_some(())
    })
    .await;
    let (before, _) = told_and_confirmed(&mut raw).await;
    let gift = grant("in_2", LotKind::Gift, 1);
    let granted = ledger.apply(&account, new_id(), gift).await.unwrap();
    assert!(matches!(granted.outcome, Ok(Done::Granted { .. })), "{granted:?}");
    assert!(told_and_confirmed(&mut raw).await.1 > before);
    sleeping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_is_repeated_is_waited_for_though_it_writes_nothing() {
    let master = Server::start(&[]);
    let replica = replica_of(&master, &["--enable-debug-command", "yes"]).await;
    let limit = Duration::from_millis(50);
    let hasty = open_at(&master.url(), settings(Replicas::Auto, limit)).await.unwrap();
    let patient = open_at(&master.url(), Settings::default()).await.unwrap();
    let account = funded(&patient, "acc", 100).await;
    let mut raw = Raw::open(&master.url()).await;
    let sleeping = asleep(&replica, "1");
    let mut number = 10;
    let (id, gift) = eventually("the replica is asleep", SOON, async || {
        number += 1;
        let (id, gift) = (new_id(), grant(&format!("in_{number}"), LotKind::Gift, 1));
        hasty.apply(&account, id, gift.clone()).await.is_err().then_some((id, gift))
    })
    .await;
    let (told, _) = told_and_confirmed(&mut raw).await;
    // On a connection that has written nothing before.
    let granted = patient.apply(&account, id, gift).await.unwrap();
    assert!(matches!(granted.outcome, Ok(Done::Granted { .. })), "{granted:?}");
    assert!(told_and_confirmed(&mut raw).await.1 >= told);
    sleeping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_replica_a_grant_is_not_acknowledged_and_calls_go_on() {
    let master = Server::start(&[]);
    let mut replica = replica_of(&master, &[]).await;
    let limit = Duration::from_secs(1);
    let strict = open_at(&master.url(), settings(Replicas::AtLeast(1), limit)).await.unwrap();
    let account = funded(&strict, "acc", 2).await;
    replica.kill();
    let (id, bought) = (new_id(), grant("in_2", LotKind::Purchased, 5));
    for _ in 0..2 {
        // Repeated it is answered from memory, and no better confirmed than before.
        let told = strict.apply(&account, id, bought.clone()).await;
        let Err(LedgerError::Unknown(why)) = told else { panic!("acknowledged: {told:?}") };
        assert!(why.contains("0 of 1 replicas") && why.contains("repeat it"), "{why}");
    }
    assert!(is_held(&strict.apply(&account, new_id(), hold(1)).await), "a call waits for nobody");
    assert!(strict.is_available());
    replica.restart();
    let granted = eventually("the replica has it", Duration::from_secs(30), async || {
        strict.apply(&account, id, bought.clone()).await.ok()
    })
    .await;
    assert!(matches!(granted.outcome, Ok(Done::Granted { .. })), "{granted:?}");
    let mut there = Raw::open(&replica.url()).await;
    assert!(fields(&mut there).await > 0);
    let books = strict.read(&account, None).await.unwrap().unwrap();
    assert_eq!(books.balance(), 7_000_000, "granted once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_can_waits_for_its_own_file() {
    let server = Server::start(&["--appendonly", "yes"]);
    let mut raw = Raw::open(&server.url()).await;
    let is_old = raw.info("redis_version:7.0.").await;
    let ledger = open_at(&server.url(), Settings::default()).await.unwrap();
    let account = funded(&ledger, "acc", 2).await;
    assert!(is_held(&ledger.apply(&account, new_id(), hold(1)).await));
    // A gate and a grant were waited for, and a hold was not; Redis 7.0 can't, and has nothing else to wait for.
    // Each was called once when it was found out whether that is allowed.
    let waits =
        raw.info("cmdstat_waitaof:calls=").await && !raw.info("cmdstat_waitaof:calls=1,").await;
    assert!(is_old != waits && raw.info("cmdstat_wait:calls=1,").await);
}
