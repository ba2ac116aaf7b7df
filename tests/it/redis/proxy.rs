//! Redis behind a network that delays, cuts and drops replies: no double charge, no lost settlement, no stuck hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use creditgate::credit::{
    AccountId, Credits, Done, Id, LotKind, Operation, Refusal, Reply, Timestamp,
};
use creditgate::ledger::redis::{Settings, Store};
use creditgate::ledger::{Ledger, LedgerError};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::Server;
use super::promises::{clock, funded, new_id, open};

const CALLERS: u32 = 24;
const CALLS: u32 = 20;
/// Less than all callers ask for.
const CREDITS: u32 = 300;

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_network_changes_no_sum() {
    let server = Server::start(&[]);
    let direct = open(&server).await;
    let account = funded(&direct, "acc", CREDITS).await;
    let spoiled = Arc::new(AtomicUsize::new(0));
    let proxy = spoiling(&server, Arc::clone(&spoiled)).await;
    let settings = Settings { response_timeout: Duration::from_millis(100), ..Settings::default() };
    let store = loop {
        // Even the first question may be lost.
        if let Ok(store) = Store::open(&proxy, clock(), settings.clone()).await {
            break store;
        }
    };
    let ledger = Ledger::Redis(Arc::new(store));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(call_often(ledger.clone(), account.clone()));
    }
    let calls: u32 = callers.join_all().await.into_iter().sum();
    assert!(spoiled.load(Ordering::Relaxed) >= 10, "the network was too good");
    let books = direct.read(&account, None).await.unwrap().unwrap();
    assert!(books.holds.is_empty() && books.debt.is_zero(), "{books:?}");
    assert_eq!(calls, CREDITS);
    assert!(books.funds(Timestamp::MIN).unheld().is_zero());
    assert!(direct.audit().await.unwrap().is_clean());
    let entries = direct.entries(&account, 0, u32::MAX).await.unwrap();
    let settled = entries.iter().filter(|entry| entry.fact.name() == "settle").count();
    assert_eq!(settled, CREDITS as usize);
}

/// Calls one after another; how many were served.
async fn call_often(ledger: Ledger, account: AccountId) -> u32 {
    let mut served = 0;
    for _ in 0..CALLS {
        let (id, amount) = (new_id(), Credits::whole(1));
        let hold = Operation::Hold { amount, ttl_millis: 600_000, version: 1, period: None };
        match until_known(&ledger, &account, id, hold).await.outcome {
            Ok(Done::Held) => {
                let settle = Operation::Settle { amount };
                let settled = until_known(&ledger, &account, id, settle).await;
                assert!(matches!(settled.outcome, Ok(Done::Settled { .. })), "{settled:?}");
                served += 1;
            }
            Err(Refusal::Exhausted | Refusal::Held) => {}
            other => panic!("{other:?}"),
        }
    }
    served
}

/// Repeats a step under its id until the ledger answers.
async fn until_known(ledger: &Ledger, account: &AccountId, id: Id, operation: Operation) -> Reply {
    loop {
        match ledger.apply(account, id, operation.clone()).await {
            Ok(reply) => return reply,
            Err(LedgerError::Unknown(_) | LedgerError::Unavailable(_)) => {}
            Err(frozen @ LedgerError::Frozen { .. }) => panic!("{frozen}"),
        }
    }
}

/// A proxy that spoils one reply in four: loses it for good and says nothing, or cuts the connection before or
/// after it.
async fn spoiling(server: &Server, spoiled: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let upstream = server.url().trim_start_matches("redis://").to_owned();
    tokio::spawn(async move {
        for seed in 0.. {
            let Ok((client, _)) = listener.accept().await else { return };
            let server = TcpStream::connect(&upstream).await.unwrap();
            let rng = StdRng::seed_from_u64(seed);
            tokio::spawn(forward(client, server, rng, Arc::clone(&spoiled)));
        }
    });
    format!("redis://{address}")
}

async fn forward(
    client: TcpStream,
    server: TcpStream,
    mut rng: StdRng,
    spoiled: Arc<AtomicUsize>,
) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking =
        tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let length = from_server.read(&mut bytes).await?;
        if length == 0 {
            return Ok(());
        }
        match rng.random_range(0..12) {
            0 => {
                // Nothing more is heard on this connection, which stays open.
                spoiled.fetch_add(1, Ordering::Relaxed);
                while from_server.read(&mut bytes).await? > 0 {}
                return Ok(());
            }
            cut @ (1 | 2) => {
                spoiled.fetch_add(1, Ordering::Relaxed);
                let part = if cut == 1 { 0 } else { length / 2 };
                to_client.write_all(&bytes[..part]).await?;
                asking.abort();
                return Ok(());
            }
            _ => to_client.write_all(&bytes[..length]).await?,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_are_made_once_on_a_bad_network() {
    let server = Server::start(&[]);
    let direct = open(&server).await;
    let account = funded(&direct, "acc", 0).await;
    let proxy = spoiling(&server, Arc::default()).await;
    let settings = Settings { response_timeout: Duration::from_millis(100), ..Settings::default() };
    let store = loop {
        if let Ok(store) = Store::open(&proxy, clock(), settings.clone()).await {
            break store;
        }
    };
    let ledger = Ledger::Redis(Arc::new(store));
    for invoice in 0..200 {
        let (kind, amount) = (LotKind::Gift, Credits::whole(1));
        let source = format!("in_{}", invoice / 2 + 10).parse().unwrap();
        let (start, end) = (Timestamp::MIN, Timestamp::MAX);
        let grant = Operation::Grant { source, kind, start, end, amount };
        until_known(&ledger, &account, new_id(), grant).await;
    }
    let books = direct.read(&account, None).await.unwrap().unwrap();
    assert_eq!(books.balance(), 100_000_000);
    assert!(direct.audit().await.unwrap().is_clean());
}
