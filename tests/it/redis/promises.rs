//! What the Redis engine promises besides the rules of money: one effect for each id, whatever happens to the
//! connection, the server or its memory.

use std::sync::Arc;
use std::time::Duration;

use creditgate::credit::{
    AccountId, Credits, Done, Id, LotKind, Operation, Refusal, Reply, Timestamp,
};
use creditgate::ledger::redis::{OpenError, Settings, Store, Unfit};
use creditgate::ledger::{Clock, Ledger, LedgerError};
use tokio::task::JoinSet;

use super::{Server, redis_url};

/// An engine that goes by the server's clock, as gateways do.
pub(super) async fn open(server: &Server) -> Ledger {
    open_with(server, Settings::default()).await
}

async fn open_with(server: &Server, settings: Settings) -> Ledger {
    open_at(&server.url(), settings).await.unwrap()
}

pub(super) async fn open_at(url: &str, settings: Settings) -> Result<Ledger, OpenError> {
    let store = Store::open(&redis_url(url), clock(), settings).await?;
    Ok(Ledger::Redis(Arc::new(store)))
}

pub(super) fn clock() -> Clock {
    Arc::new(now)
}

pub(super) fn now() -> Timestamp {
    Timestamp::from_millis(chrono::Utc::now().timestamp_millis())
}

pub(super) fn new_id() -> Id {
    Id::from_u128(uuid::Uuid::now_v7().as_u128())
}

pub(super) fn hold(credits: u32) -> Operation {
    let amount = Credits::whole(credits);
    Operation::Hold { amount, ttl_millis: 60_000, version: 1, period: None, feature: None }
}

pub(super) fn grant(source: &str, kind: LotKind, credits: u32) -> Operation {
    let (start, end) = (Timestamp::MIN, now().after_millis(86_400_000));
    let (source, amount) = (source.parse().unwrap(), Credits::whole(credits));
    Operation::Grant { source, kind, start, end, amount }
}

/// An account with an open gate and this many credits.
pub(super) async fn funded(ledger: &Ledger, name: &str, credits: u32) -> AccountId {
    let account: AccountId = name.parse().unwrap();
    let gate = Operation::Gate { until: Timestamp::MAX, version: 1 };
    ledger.apply(&account, new_id(), gate).await.unwrap();
    let grant = grant("in_1", LotKind::Purchased, credits);
    ledger.apply(&account, new_id(), grant).await.unwrap();
    account
}

pub(super) fn is_held(reply: &Result<Reply, LedgerError>) -> bool {
    matches!(reply, Ok(Reply { outcome: Ok(Done::Held), .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_of_many_gateways_get_exactly_what_is_there() {
    let server = Server::start(&[]);
    let gateways = [open(&server).await, open(&server).await, open(&server).await];
    let account = funded(&gateways[0], "acc", 37).await;
    let mut callers = JoinSet::new();
    for caller in 0..200 {
        let (ledger, account) = (gateways[caller % 3].clone(), account.clone());
        callers.spawn(async move { ledger.apply(&account, new_id(), hold(1)).await });
    }
    let replies = callers.join_all().await;
    assert_eq!(replies.iter().filter(|reply| is_held(reply)).count(), 37);
    let refused = |reply: &&Result<Reply, _>| matches!(reply, Ok(reply) if reply.outcome == Err(Refusal::Held));
    assert_eq!(replies.iter().filter(refused).count(), 163);
    assert!(gateways[1].audit().await.unwrap().is_clean());
}

/// Several gateways see the end of one job at once, each under an id of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_corrected_once_by_many_gateways() {
    let server = Server::start(&[]);
    let gateways = [open(&server).await, open(&server).await];
    let account = funded(&gateways[0], "acc", 100).await;
    let (amount, job) = (Credits::whole(50), Some("openai/resp_1;input=1".parse().unwrap()));
    for round in 1..=8 {
        let call = new_id();
        let begun =
            Operation::Charge { amount, period: None, work: None, job: job.clone(), feature: None };
        gateways[0].apply(&account, call, begun).await.unwrap().outcome.unwrap();
        let mut seen = JoinSet::new();
        for number in 0..16 {
            let (ledger, account) = (gateways[number % 2].clone(), account.clone());
            let correct = Operation::Correct { call, amount: Credits::whole(1), work: None };
            seen.spawn(async move { ledger.apply(&account, new_id(), correct).await.unwrap() });
        }
        let outcomes: Vec<_> = seen.join_all().await.into_iter().map(|it| it.outcome).collect();
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        let late = |outcome: &&Result<_, _>| **outcome == Err(Refusal::AlreadyResolved);
        assert_eq!(outcomes.iter().filter(late).count(), 15);
        let books = gateways[1].read(&account, None).await.unwrap().unwrap();
        assert_eq!(books.funds(now()).purchased, Credits::whole(100 - round));
    }
    assert!(gateways[1].audit().await.unwrap().is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_functions_are_loaded_again_when_the_server_has_lost_them() {
    let server = Server::start(&[]);
    let ledger = open(&server).await;
    let account = funded(&ledger, "acc", 2).await;
    server.command(&["FUNCTION", "FLUSH"]).await;
    // All at once, of which each may bring them.
    let holds = (0..8).map(|_| ledger.apply(&account, new_id(), hold(0)));
    assert!(futures_util::future::join_all(holds).await.iter().all(is_held));
    // And where the step goes its own way, since it must not be lost.
    server.command(&["FUNCTION", "FLUSH"]).await;
    let other = funded(&ledger, "other", 2).await;
    assert!(is_held(&ledger.apply(&other, new_id(), hold(1)).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_is_unknown_and_its_step_has_one_effect() {
    let server = Server::start(&[]);
    let settings = Settings { response_timeout: Duration::from_millis(50), ..Settings::default() };
    let (hasty, ledger) = (open_with(&server, settings).await, open(&server).await);
    let account = funded(&ledger, "acc", 2).await;
    let id = new_id();
    server.command(&["CLIENT", "PAUSE", "300"]).await;
    let lost = hasty.apply(&account, id, hold(1)).await;
    assert!(matches!(lost, Err(LedgerError::Unknown(_))), "{lost:?}");
    assert!(is_held(&ledger.apply(&account, id, hold(1)).await));
    let books = ledger.read(&account, None).await.unwrap().unwrap();
    assert_eq!(books.holds.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_refuses_and_comes_back_with_everything() {
    // With `everysec` a server whose disk is busy may answer before it has written.
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let ledger = open(&server).await;
    let account = funded(&ledger, "acc", 2).await;
    let id = new_id();
    assert!(is_held(&ledger.apply(&account, id, hold(1)).await));
    server.kill();
    // Without a call: the connection's end is noticed.
    let gone = async {
        while ledger.is_available() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap();
    let away = ledger.apply(&account, new_id(), hold(1)).await;
    assert!(matches!(away, Err(LedgerError::Unavailable(_))), "{away:?}");
    server.restart();
    // Nobody calls a gateway that is not ready: the engine looks for itself.
    let back = async {
        while !ledger.is_available() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), back).await.unwrap();
    let again = ledger.apply(&account, id, hold(1)).await;
    assert!(is_held(&again), "{again:?}");
    let report = ledger.audit().await.unwrap();
    assert!(report.is_clean() && report.open_holds == 1, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_memory_stops_holds_and_nothing_that_charges() {
    let server = Server::start(&[]);
    let ledger = open(&server).await;
    let account = funded(&ledger, "acc", 2).await;
    let id = new_id();
    assert!(is_held(&ledger.apply(&account, id, hold(1)).await));
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let refused = ledger.apply(&account, new_id(), hold(1)).await;
    assert!(matches!(refused, Err(LedgerError::Unavailable(_))), "{refused:?}");
    let settle = Operation::Settle { amount: Credits::whole(1), work: None, job: None };
    let settled = ledger.apply(&account, id, settle).await.unwrap();
    assert!(matches!(settled.outcome, Ok(Done::Settled { .. })));
    let charge = Operation::Charge {
        amount: Credits::whole(1),
        period: None,
        work: None,
        job: None,
        feature: None,
    };
    let charged = ledger.apply(&account, new_id(), charge).await.unwrap();
    assert!(matches!(charged.outcome, Ok(Done::Settled { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn books_that_break_a_rule_freeze_their_account_and_no_other() {
    let server = Server::start(&[]);
    let ledger = open(&server).await;
    let account = funded(&ledger, "acc", 2).await;
    let other = funded(&ledger, "demo", 2).await;
    // Held is more than what the holds have.
    let lot = "return redis.call('HSET', KEYS[1], 'L1', struct.pack('<I4I6I6I7I7I7', 6, 0, 253402300799000, 5, 5, 3))";
    server.command(&["EVAL", lot, "1", "{s065}:a:acc"]).await;
    let before = server.command(&["HGETALL", "{s065}:a:acc"]).await;
    let frozen = ledger.apply(&account, new_id(), hold(0)).await;
    assert!(matches!(frozen, Err(LedgerError::Frozen { .. })), "{frozen:?}");
    assert_eq!(server.command(&["HGETALL", "{s065}:a:acc"]).await, before);
    assert!(is_held(&ledger.apply(&other, new_id(), hold(1)).await));
    let report = ledger.audit().await.unwrap();
    assert_eq!(report.broken.len(), 1);
    assert_eq!(report.broken[0].account, account);
    // A key that holds something else is found before anything is written.
    server.command(&["SET", "{s042}:log:aside", "x"]).await;
    server.command(&["RENAME", "{s042}:log:aside", "{s042}:log"]).await;
    let before = server.command(&["HGETALL", "{s042}:a:demo"]).await;
    let frozen = ledger.apply(&other, new_id(), hold(1)).await;
    assert!(matches!(frozen, Err(LedgerError::Frozen { .. })), "{frozen:?}");
    assert_eq!(server.command(&["HGETALL", "{s042}:a:demo"]).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_fit_server_is_opened() {
    for (settings, expected) in [
        (["--maxmemory-policy", "allkeys-lru"], Unfit::Evicts("allkeys-lru".into())),
        (["--replicaof", "127.0.0.1 1"], Unfit::Replica),
    ] {
        let server = Server::start(&settings);
        let opened = Store::open(&redis_url(&server.url()), clock(), Settings::default()).await;
        let Err(OpenError::Unfit(unfit)) = opened else { panic!("{settings:?} was accepted") };
        assert_eq!(unfit, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_with_three_lots_is_small() {
    let server = Server::start(&[]);
    let ledger = open(&server).await;
    let account = funded(&ledger, "acc", 100).await;
    for (source, kind) in
        [("in_1MtHbELkdIwHu7ixl4OzzPMv", LotKind::Gift), ("cs_2", LotKind::Purchased)]
    {
        ledger.apply(&account, new_id(), grant(source, kind, 500)).await.unwrap();
    }
    assert!(is_held(&ledger.apply(&account, new_id(), hold(1)).await));
    let ::redis::Value::Int(bytes) = server.command(&["MEMORY", "USAGE", "{s065}:a:acc"]).await
    else {
        panic!("no number of bytes")
    };
    println!("{bytes} bytes for an account with three lots and a hold");
    assert!(bytes <= 500, "{bytes} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn books_of_another_format_are_left_alone() {
    let server = Server::start(&[]);
    let ledger = open(&server).await;
    let account = funded(&ledger, "acc", 2).await;
    server.command(&["HSET", "{s065}:a:acc", "f", "1"]).await;
    let before = server.command(&["HGETALL", "{s065}:a:acc"]).await;
    let frozen = ledger.apply(&account, new_id(), hold(1)).await;
    let Err(LedgerError::Frozen { reason, .. }) = frozen else { panic!("{frozen:?}") };
    assert!(reason.contains("have format 1, which this version does not know"), "{reason}");
    assert_eq!(server.command(&["HGETALL", "{s065}:a:acc"]).await, before);
}
