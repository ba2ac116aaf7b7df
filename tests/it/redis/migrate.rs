//! A ledger that is moved to Redis is the same there, down to the letters that the scripts would have written.

mod carried;
mod gateway;
mod killed;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use creditgate::credit::{Id, Operation, REMEMBERED_MILLIS, Reply, Timestamp};
use creditgate::ledger::migration::Move;
use creditgate::ledger::redis::{Settings, Store, Time};
use creditgate::ledger::{Clock, Ledger, sqlite};

use super::{Server, Side, one_of, redis_url};
use crate::core::history::{self, History, Resolver};
use crate::harness::{SOON, eventually};

const SMALL: u64 = 10;
const VAST: u64 = 3;

/// Each history begins on the file, goes on in Redis, and is compared with one that was in Redis all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_goes_on_in_redis_as_if_it_had_always_been_there() {
    let server = Server::start(&["--databases", "64"]);
    let small = (0..SMALL).map(|seed| (seed, one_of(&history::small(), 7000 + seed)));
    let vast = (SMALL..SMALL + VAST).map(|seed| (seed, one_of(&history::vast(), 7000 + seed)));
    let mut repeated = 0;
    for (seed, history) in small.chain(vast) {
        repeated += moved_in_the_middle(&server, seed, &history)
            .await
            .unwrap_or_else(|why| panic!("history {seed}: {why}"));
    }
    assert!(repeated > 100, "only {repeated} operations were repeated after the move");
}

/// Returns how many operations were repeated after the move, and answered from memory.
async fn moved_in_the_middle(
    server: &Server,
    seed: u64,
    history: &History,
) -> Result<usize, String> {
    let [old, new] = [2 * seed, 2 * seed + 1].map(|number| format!("{}/{number}", server.url()));
    let mut side = Side::open(&old, seed, None).await;
    let now = Arc::clone(&side.now);
    let clock: Clock = Arc::new(move || Timestamp::from_millis(now.load(Ordering::SeqCst)));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let store = sqlite::Store::open(&path, Arc::clone(&clock)).unwrap();
    let mut ledger = Ledger::Sqlite(Arc::new(store));

    let (mut resolver, mut asked, mut repeated) = (Resolver::default(), Vec::new(), 0);
    let middle = history.steps.len() / 2;
    for (place, step) in history.steps.iter().enumerate() {
        if place == middle {
            ledger.close().await;
            drop(ledger);
            ledger = moved(&path, &new, &clock).await;
            same_texts(&old, &new, clock()).await;
            repeated = repeat(&mut side, &ledger, &asked, clock()).await?;
        }
        let call = resolver.resolve(step, &side.books);
        side.now.store(call.now.millis(), Ordering::SeqCst);
        let expected = side.ask(call.id, &call.operation, call.now).await?;
        let reply = ledger.apply(&side.account, call.id, call.operation.clone()).await;
        same(&expected, &reply.map_err(|error| error.to_string())?)?;
        asked.push((call.id, call.operation));
    }
    same_texts(&old, &new, clock()).await;
    let report = ledger.audit().await.unwrap();
    assert!(report.is_clean(), "{:?}", report.broken);
    assert_eq!(report.entries, side.books.seq);
    let entries = ledger.entries(&side.account, 0, u32::MAX).await.unwrap();
    assert_eq!(entries, side.entries);
    let read = ledger.read(&side.account, None).await.unwrap();
    assert_eq!(read, side.ledger.read(&side.account, None).await.unwrap());
    Ok(repeated)
}

async fn moved(path: &std::path::Path, to: &str, clock: &Clock) -> Ledger {
    // A process that another test is just starting has the lock for a moment, too.
    let mut from =
        eventually("nobody has the file", SOON, async || match sqlite::Export::open(path) {
            Err(sqlite::OpenError::InUse(_)) => None,
            opened => Some(opened.unwrap()),
        })
        .await;
    let settings = Settings { time: Time::Gateway, ..Settings::default() };
    let store = Store::open(&redis_url(to), Arc::clone(clock), settings).await.unwrap();
    let moving = Move {
        from: &mut from,
        source: "sqlite://history".to_owned(),
        to: &store,
        target: to.to_owned(),
        clock,
        tell: &|_| (),
    };
    moving.run("a move".to_owned()).await.unwrap();
    Ledger::Redis(Arc::new(store))
}

/// Every operation that may be asked again is answered as before, and changes nothing.
async fn repeat(
    side: &mut Side,
    ledger: &Ledger,
    asked: &[(Id, Operation)],
    now: Timestamp,
) -> Result<usize, String> {
    let before = ledger.entries(&side.account, 0, u32::MAX).await.unwrap();
    let mut repeated = 0;
    let mut seen = HashSet::new();
    for (id, operation) in asked.iter().rev() {
        let fresh = id.made_at().after_millis(REMEMBERED_MILLIS) >= now;
        let known = side.memory.contains_key(&(*id, operation.step().into_owned()));
        if !fresh || !known || !seen.insert((*id, operation.step().into_owned())) {
            continue;
        }
        let expected = side.ask(*id, operation, now).await?;
        let reply = ledger.apply(&side.account, *id, operation.clone()).await;
        same(&expected, &reply.map_err(|error| error.to_string())?)?;
        repeated += 1;
    }
    assert_eq!(ledger.entries(&side.account, 0, u32::MAX).await.unwrap(), before);
    Ok(repeated)
}

fn same(expected: &Reply, found: &Reply) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    Err(format!("after the move\nexpected {expected:?}\n   found {found:?}"))
}

/// What was moved to `new` is, letter by letter, what the scripts wrote in `old`. Where operations are remembered, what
/// is too old to be asked again may be missing.
async fn same_texts(old: &str, new: &str, now: Timestamp) {
    let (mut written, mut moved) = (texts(old).await, texts(new).await);
    assert!(moved.remove("{migration}").is_some());
    for (key, memory) in written.extract_if(.., |key, _| key.contains(":op:")) {
        let hour: i64 = key.rsplit_once(':').unwrap().1.parse().unwrap();
        let old = (hour + 74) * 3_600_000 <= now.millis();
        match moved.remove(&key) {
            Some(found) => assert_eq!(found, memory, "{key}"),
            None => assert!(old, "{key} is missing"),
        }
    }
    assert_eq!(moved, written);
}

/// Everything in a database, each in an order of its own; of the log, what it says. When something is due next may be
/// known better after a move, so that is left out.
async fn texts(url: &str) -> BTreeMap<String, Vec<Vec<String>>> {
    use ::redis::cmd;
    let client = ::redis::Client::open(url).unwrap();
    let mut db = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = cmd("KEYS").arg("*").query_async(&mut db).await.unwrap();
    let mut texts = BTreeMap::new();
    for key in keys {
        let kind: String = cmd("TYPE").arg(&key).query_async(&mut db).await.unwrap();
        let text = match kind.as_str() {
            "hash" => {
                let mut fields: BTreeMap<String, Vec<u8>> =
                    cmd("HGETALL").arg(&key).query_async(&mut db).await.unwrap();
                if key.contains(":a:") {
                    fields.get_mut("f").unwrap().drain(46..52);
                }
                let text = |value: Vec<u8>| value.escape_ascii().to_string();
                fields.into_iter().map(|(field, value)| vec![field, text(value)]).collect()
            }
            "stream" => {
                let messages: Vec<(String, Vec<String>)> =
                    cmd("XRANGE").arg(&key).arg("-").arg("+").query_async(&mut db).await.unwrap();
                messages.into_iter().map(|(_, fields)| fields).collect()
            }
            "zset" => cmd("ZRANGE")
                .arg(&key)
                .arg(0)
                .arg(-1)
                .query_async::<Vec<String>>(&mut db)
                .await
                .map(|names| vec![names])
                .unwrap(),
            "string" => vec![vec![cmd("GET").arg(&key).query_async(&mut db).await.unwrap()]],
            other => panic!("{key} is a {other}"),
        };
        texts.insert(key, text);
    }
    texts
}
