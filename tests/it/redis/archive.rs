//! Entries that left Redis for the archive: each is there once, and nobody who reads notices.

mod disk;
mod folders;
mod killed;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use creditgate::credit::Timestamp;
use creditgate::ledger::archive::{Archive, Archiver, Settings};
use creditgate::ledger::{Clock, Ledger, redis};
use creditgate::metrics::Metrics;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Server;
use super::promises::{funded, now};
use crate::harness::{Launch, SOON, Setup, World, eventually};

/// How long a gateway may take to see that another one no longer archives, and to catch up.
const CAUGHT_UP: Duration = Duration::from_mins(1);

/// A world whose entries leave Redis as soon as they are archived in `folder`, in small files.
fn archiving(server: &Server, folder: &Path) -> Setup {
    Setup::new()
        .ledger_on(server)
        .set("archive.folder", &format!("'{}'", folder.display()))
        .set("archive.keep", "'1ms'")
        .set("archive.rotate", "'64KiB'")
        .account("a", 10_000)
        .account("b", 10_000)
}

/// What starts a gateway on the same ledger with another folder, or with none.
fn with_folder(world: &World, name: &str, folder: Option<&Path>) -> Launch {
    let text = std::fs::read_to_string(&world.launch.config).unwrap();
    let kept = text.lines().filter(|line| !line.starts_with("folder = "));
    let mut text = kept.collect::<Vec<_>>().join("\n");
    if let Some(folder) = folder {
        text = text.replace("[archive]", &format!("[archive]\nfolder = '{}'", folder.display()));
    }
    // A place of its own, for what else it keeps there.
    let place = world.launch.folder.join(name);
    std::fs::create_dir(&place).unwrap();
    let config = place.join("gateway.toml");
    std::fs::write(&config, text).unwrap();
    Launch { config, folder: place, ..world.launch.clone() }
}

async fn command<T: ::redis::FromRedisValue>(server: &Server, words: &[&str]) -> T {
    let client = ::redis::Client::open(server.url()).unwrap();
    let mut db = client.get_multiplexed_async_connection().await.unwrap();
    ::redis::cmd(words[0]).arg(&words[1..]).query_async(&mut db).await.unwrap()
}

/// Entries that are in Redis.
async fn in_redis(server: &Server) -> u64 {
    let mut entries = 0;
    for log in command::<Vec<String>>(server, &["KEYS", "*:log"]).await {
        entries += command::<u64>(server, &["XLEN", &log]).await;
    }
    entries
}

/// Waits until every entry is in the archive and gone from Redis.
async fn all_archived(server: &Server) {
    eventually("every entry has left Redis", CAUGHT_UP, async || {
        (in_redis(server).await == 0).then_some(())
    })
    .await;
}

/// The archive's files, oldest first.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "sqlite")).collect();
    files.sort();
    files
}

/// Numbers of the entries of each account in a folder. Fails unless each is there once, without gaps.
fn archived(folder: &Path) -> BTreeMap<String, u64> {
    let mut last = BTreeMap::new();
    for path in files(folder) {
        let db = rusqlite::Connection::open(&path).unwrap();
        let mut query = db.prepare("SELECT account, seq FROM entry ORDER BY account, seq").unwrap();
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        for (account, seq) in rows.map(Result::<(String, u64), _>::unwrap) {
            let before = last.insert(account.clone(), seq).unwrap_or_default();
            assert_eq!(seq, before + 1, "{account} in {}", path.display());
        }
    }
    last
}

async fn chats(world: &World, account: &str, number: usize) {
    for _ in 0..number {
        assert_eq!(world.chat(account).send().await.status, 200);
    }
    // Not by an audit, which a gateway without the archive can't make.
    eventually("every call is settled", SOON, async || {
        (world.credits(account).await["held"] == 0).then_some(())
    })
    .await;
}

/// All entries of `account`, in pages.
async fn ledger(world: &World, account: &str) -> Vec<Value> {
    let mut entries: Vec<Value> = Vec::new();
    loop {
        let after = entries.last().map_or(0, |entry| entry["seq"].as_u64().unwrap());
        let path = format!("/admin/v1/accounts/{account}/ledger?after={after}&limit=17");
        let page = world.admin("GET", &path).send().await.json();
        entries.extend(page["entries"].as_array().unwrap().iter().cloned());
        if page["next"].is_null() {
            let numbers = entries.iter().map(|entry| entry["seq"].as_u64().unwrap());
            assert!(numbers.eq(1..=entries.len() as u64), "{entries:?}");
            return entries;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archive_and_redis_are_one_history() {
    let (server, place) = (Server::start(&[]), tempfile::tempdir().unwrap());
    let folder = place.path().join("made by the gateway");
    let mut world = archiving(&server, &folder).start().await;
    let first = world.chat("a").send().await;
    let request = first.header("x-credits-request-id").unwrap().to_owned();
    let before = {
        world.resolved().await;
        world.admin("GET", &format!("/admin/v1/explain/{request}")).send().await.json()
    };
    for _ in 0..3 {
        chats(&world, "a", 60).await;
        chats(&world, "b", 10).await;
        all_archived(&server).await;
        world.verify().await;
    }
    assert!(files(&folder).len() >= 2, "{:?}", files(&folder));
    let numbers = archived(&folder);
    // A gate, a grant, a key, and two entries for each call.
    assert_eq!(numbers, BTreeMap::from([("a".into(), 3 + 2 * 181), ("b".into(), 3 + 2 * 30)]));
    let sum: u64 = numbers.values().sum();
    assert_eq!(world.metrics().await["creditgate_archived_entries_total"], sum);
    assert_eq!(world.verify().await["entries"], sum);
    assert_eq!(ledger(&world, "a").await.len() as u64, numbers["a"]);
    let explained = world.admin("GET", &format!("/admin/v1/explain/{request}")).send().await.json();
    assert_eq!(explained, before);
    assert_eq!(explained["state"], "charged");

    // A gateway without the folder serves, and says what it can't know.
    let launch = with_folder(&world, "without", None);
    let archiver = std::mem::replace(&mut world.gateway, launch.start().await);
    assert_eq!(world.chat("a").send().await.status, 200);
    assert_eq!(world.admin("GET", "/admin/v1/accounts/a/balance").send().await.status, 200);
    all_archived(&server).await;
    for (path, words) in [
        ("/admin/v1/accounts/b/ledger".to_owned(), "of account `b` before number 64 are in"),
        ("/admin/v1/accounts/b/ledger?after=62".to_owned(), "of account `b` before number 64"),
        (format!("/admin/v1/explain/{request}"), "the time of this call are in the archive"),
        ("/admin/v1/verify".to_owned(), "are in the archive: ask the gateway whose config"),
    ] {
        let answer = world.admin("GET", &path).send().await;
        assert_eq!(answer.status, 409, "{path}");
        let problem = answer.json();
        assert_eq!(problem["type"], "urn:creditgate:problem:archived", "{path}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{path}: {problem}");
    }
    let nothing_new = world.admin("GET", "/admin/v1/accounts/b/ledger?after=63").send().await;
    assert_eq!(nothing_new.json()["entries"], json!([]));

    world.gateway = archiver;
    assert_eq!(ledger(&world, "a").await.len() as u64, numbers["a"] + 2);
    assert_eq!(world.verify().await["entries"], sum + 2);
    world.stop().await.close().await;
    assert_eq!(archived(&folder)["a"], numbers["a"] + 2);
}

/// Where scripts may not ask the server for the time, what is old is so by the gateway's clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_old_may_be_told_by_the_gateways_clock() {
    let (server, folder) = (Server::start(&[]), tempfile::tempdir().unwrap());
    // Some days ago, by this clock: nothing is old yet.
    let behind = Arc::new(AtomicI64::new(10 * 86_400_000));
    let told = Arc::clone(&behind);
    let clock: Clock =
        Arc::new(move || Timestamp::from_millis(now().millis() - told.load(Ordering::SeqCst)));
    let settings = redis::Settings { time: redis::Time::Gateway, ..redis::Settings::default() };
    let store =
        redis::Store::open(&crate::harness::redis_url(&server.url()), Arc::clone(&clock), settings)
            .await
            .unwrap();
    let archive = Arc::new(Archive::open(folder.path()).unwrap());
    let store = Arc::new(store.with_archive(Arc::clone(&archive)));
    let ledger = Ledger::Redis(Arc::clone(&store));
    funded(&ledger, "acc", 5).await;
    let (metrics, stop) = (Arc::new(Metrics::new()), CancellationToken::new());
    let settings = Settings { keep: Duration::from_secs(1), rotate: 1 << 20 };
    let archiver = Archiver::new(store, archive, settings, clock, metrics, stop.clone());
    let archiving = tokio::spawn(archiver.run());
    eventually("both entries are archived", CAUGHT_UP, async || {
        (!files(folder.path()).is_empty() && archived(folder.path()).get("acc") == Some(&2))
            .then_some(())
    })
    .await;
    assert_eq!(in_redis(&server).await, 2);
    behind.store(0, Ordering::SeqCst);
    all_archived(&server).await;
    assert!(ledger.audit().await.unwrap().is_clean());
    stop.cancel();
    archiving.await.unwrap();
    let lease: Option<String> = command(&server, &["GET", "{archive}:lease"]).await;
    assert_eq!(lease, None, "whoever ends gives its turn back");
}
