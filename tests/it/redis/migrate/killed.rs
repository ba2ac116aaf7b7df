//! A move that is killed in the middle: the file is still the ledger, and the next attempt moves all of it, once.

use std::process::Stdio;
use std::sync::Arc;

use creditgate::credit::{AccountId, Credits, Entry, LotKind, Operation, Timestamp};
use creditgate::ledger::audit::Report;
use creditgate::ledger::{Ledger, sqlite};

use super::super::Server;
use super::super::promises::{clock, funded, new_id, open};
use super::gateway::{migrate, words};
use crate::harness::{SOON, Setup, World, eventually};

const ACCOUNTS: usize = 250;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_was_killed_is_begun_again_and_moves_everything_once() {
    let server = Server::start(&[]);
    let mut world = prepared().await;
    let (from, to) = (world.launch.ledger.clone(), server.url());
    let arguments = ["--from", &from, "--to", &to];
    // The mark is the first key; an account has three.
    for keys in [1, 60, 400, 900] {
        killed_at(&server, &arguments, keys).await;
        no_gateway_starts(&mut world, &to).await;
        goes_on(&world, keys).await;
    }
    let (report, before) = in_the_file(&world).await;
    let output = migrate(&arguments, &[]).output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    assert!(words(&output).contains("broke off: everything is copied anew"), "{}", words(&output));

    // As after a crash between the mark in the file and the last word to Redis: the same command finishes it.
    let mark = command::<String>(&server, &["GET", "{migration}"]).await;
    let mut mark: serde_json::Value = serde_json::from_str(&mark).unwrap();
    mark["completed"] = serde_json::Value::Null;
    command::<()>(&server, &["SET", "{migration}", &mark.to_string()]).await;
    no_gateway_starts(&mut world, &to).await;
    let finished = migrate(&arguments, &[]).output().unwrap();
    assert!(finished.status.success(), "{}", words(&finished));
    assert_eq!(finished.stdout, output.stdout, "the same summary");

    world.launch.ledger = to;
    world.restart().await;
    let verified = world.verify().await;
    assert_eq!(verified["accounts"], report.accounts);
    assert_eq!(verified["entries"], report.entries);
    assert_eq!(verified["open_holds"], report.open_holds);
    let redis = open(&server).await;
    for (account, before) in before {
        assert_eq!(redis.entries(&account, 0, 1000).await.unwrap(), before, "{account}");
    }
    assert_eq!(world.credits("a").await["remaining"], 2);
    assert_eq!(world.chat("a").send().await.status, 200);
}

async fn command<T: ::redis::FromRedisValue>(server: &Server, words: &[&str]) -> T {
    let client = ::redis::Client::open(server.url()).unwrap();
    let mut db = client.get_multiplexed_async_connection().await.unwrap();
    ::redis::cmd(words[0]).arg(&words[1..]).query_async(&mut db).await.unwrap()
}

/// A world without its gateway, and with many accounts whose credits are held.
async fn prepared() -> World {
    let mut world = Setup::new().account("a", 3).start().await;
    assert_eq!(world.chat("a").send().await.status, 200);
    world.resolved().await;
    let books = world.stop().await;
    for number in 0..ACCOUNTS {
        let account = funded(books.ledger(), &format!("acc-{number}"), 5).await;
        let (amount, ttl_millis) = (Credits::whole(2), 3_600_000);
        let hold = Operation::Hold { amount, ttl_millis, version: 1, period: None, feature: None };
        books.ledger().apply(&account, new_id(), hold).await.unwrap().outcome.unwrap();
    }
    books.close().await;
    world
}

/// Begins a move and kills it when the target has so many keys.
async fn killed_at(server: &Server, arguments: &[&str], keys: u64) {
    let mut child = migrate(arguments, &[]).stderr(Stdio::null()).spawn().unwrap();
    eventually("the move is in its middle", SOON, async || {
        assert!(child.try_wait().unwrap().is_none(), "the move had ended");
        (command::<u64>(server, &["DBSIZE"]).await >= keys).then_some(())
    })
    .await;
    command::<()>(server, &["CLIENT", "PAUSE", "60000", "WRITE"]).await;
    child.kill().unwrap();
    child.wait().unwrap();
    command::<()>(server, &["CLIENT", "UNPAUSE"]).await;
}

async fn no_gateway_starts(world: &mut World, on: &str) {
    let file = std::mem::replace(&mut world.launch.ledger, on.to_owned());
    let (status, log) = world.launch.fail().await;
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("the move is not complete: run `creditgate migrate`"), "{log}");
    world.launch.ledger = file;
}

/// The ledger in the file, as soon as no process that another test is starting has its lock.
async fn file(world: &World) -> Ledger {
    let path = world.launch.ledger.strip_prefix("sqlite://").unwrap();
    let store = eventually("nobody has the file", SOON, async || {
        match sqlite::Store::open(path.as_ref(), clock()) {
            Err(sqlite::OpenError::InUse(_)) => None,
            opened => Some(opened.unwrap()),
        }
    })
    .await;
    Ledger::Sqlite(Arc::new(store))
}

/// The file is still the ledger.
async fn goes_on(world: &World, number: u64) {
    let ledger = file(world).await;
    let grant = Operation::Grant {
        source: format!("in_{number}_more").parse().unwrap(),
        kind: LotKind::Gift,
        start: Timestamp::MIN,
        end: Timestamp::MAX,
        amount: Credits::whole(1),
    };
    let account = "acc-7".parse().unwrap();
    ledger.apply(&account, new_id(), grant).await.unwrap().outcome.unwrap();
    ledger.close().await;
}

async fn in_the_file(world: &World) -> (Report, Vec<(AccountId, Vec<Entry>)>) {
    let ledger = file(world).await;
    let report = ledger.audit().await.unwrap();
    let mut all = Vec::new();
    for number in 0..ACCOUNTS {
        let account = format!("acc-{number}").parse().unwrap();
        let entries = ledger.entries(&account, 0, 1000).await.unwrap();
        all.push((account, entries));
    }
    ledger.close().await;
    (report, all)
}
