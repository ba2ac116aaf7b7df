//! Redis behind a network that delays, cuts and drops replies: no double charge, no lost settlement, no stuck hold.

use std::sync::Arc;
use std::time::Duration;

use creditgate::credit::{AccountId, Credits, Done, LotKind, Operation, Refusal, Timestamp};
use creditgate::ledger::Ledger;
use creditgate::ledger::redis::{Settings, Store};
use tokio::task::JoinSet;

use super::Server;
use super::promises::{clock, funded, new_id, open};
use super::redis_url;
use super::storm::until_known;
use crate::harness::{Network, Weather};

const CALLERS: u32 = 8;
const CALLS: u32 = 60;
/// Less than all callers ask for.
const CREDITS: u32 = 300;
/// One reply in four is spoiled.
const WORST: Weather = Weather { lost: 83, cut: 167, late: 0 };

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_network_changes_no_sum() {
    let server = Server::start(&[]);
    let direct = open(&server).await;
    let account = funded(&direct, "acc", CREDITS).await;
    let network = Network::to(&server, WORST, 0).await;
    let ledger = through(&network).await;
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(call_often(ledger.clone(), account.clone()));
    }
    let calls: u32 = callers.join_all().await.into_iter().sum();
    assert!(network.spoiled() >= 10, "the network was too good: {}", network.spoiled());
    let books = direct.read(&account, None).await.unwrap().unwrap();
    assert!(books.holds.is_empty() && books.debt.is_zero(), "{books:?}");
    assert_eq!(calls, CREDITS);
    assert!(books.funds(Timestamp::MIN).unheld().is_zero());
    assert!(direct.audit().await.unwrap().is_clean());
    let entries = direct.entries(&account, 0, u32::MAX).await.unwrap();
    let settled = entries.iter().filter(|entry| entry.fact.name() == "settle").count();
    assert_eq!(settled, CREDITS as usize);
}

/// An engine that is soon tired of waiting.
async fn through(network: &Network) -> Ledger {
    let settings = Settings { response_timeout: Duration::from_millis(100), ..Settings::default() };
    loop {
        // Even the first question may be lost.
        if let Ok(store) = Store::open(&redis_url(network.url()), clock(), settings.clone()).await {
            return Ledger::Redis(Arc::new(store));
        }
    }
}

/// Calls one after another; how many were served.
async fn call_often(ledger: Ledger, account: AccountId) -> u32 {
    let mut served = 0;
    for _ in 0..CALLS {
        let (id, amount) = (new_id(), Credits::whole(1));
        let hold = Operation::Hold {
            amount,
            ttl_millis: 600_000,
            version: 1,
            period: None,
            feature: None,
        };
        match until_known(&ledger, &account, id, hold).await.outcome {
            Ok(Done::Held) => {
                let settle = Operation::Settle { amount, work: None, job: None };
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

#[tokio::test(flavor = "multi_thread")]
async fn grants_are_made_once_on_a_bad_network() {
    let server = Server::start(&[]);
    let direct = open(&server).await;
    let account = funded(&direct, "acc", 0).await;
    let network = Network::to(&server, WORST, 1).await;
    let ledger = through(&network).await;
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
