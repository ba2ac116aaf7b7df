//! The Redis engine: beside the core, on each kind of servers, and when they fail.

mod archive;
mod cluster;
mod directory;
mod durable;
mod gateway;
mod migrate;
mod mutants;
mod promises;
mod proxy;
pub mod raw;
pub mod secure;
mod sentinel;
mod servers;
mod storm;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use creditgate::credit::Timestamp;
use creditgate::ledger::redis::{Settings, Store, Time};
use creditgate::ledger::{Clock, Ledger};

use raw::Raw;

use crate::core::history;
use crate::harness::{RedisServer as Server, redis_url};
use crate::side::{AT_ONCE, Backdoor, SMALL, Side, Tally, VAST, one_of, run_all};

#[tokio::test(flavor = "multi_thread")]
async fn core_and_redis_keep_the_same_books() {
    let server = Server::start(&[]);
    let url = server.url();
    run_all(|seed| {
        let url = url.clone();
        async move { Side::open(&url, seed, None).await }
    })
    .await;
    let side = Side::open(&url, u64::MAX, None).await;
    let report = side.ledger.audit().await.unwrap();
    assert!(report.is_clean(), "{:?}", report.broken);
    assert_eq!(report.accounts, SMALL + VAST + 1);
}

impl Side {
    /// With a Redis engine, whose rules of money may be others than its own.
    async fn open(url: &str, seed: u64, books: Option<String>) -> Self {
        let now = Arc::new(AtomicI64::new(0));
        let told = Arc::clone(&now);
        let clock: Clock = Arc::new(move || Timestamp::from_millis(told.load(Ordering::SeqCst)));
        let mut settings = Settings { time: Time::Gateway, ..Settings::default() };
        settings.response_timeout = std::time::Duration::from_secs(30);
        if let Some(books) = books {
            settings.books = Cow::Owned(books);
        }
        let store = Store::open(&redis_url(url), clock, settings).await.unwrap();
        let ledger = Ledger::Redis(Arc::new(store));
        Self::new(ledger, Backdoor::Redis(Raw::open(url).await), now, seed)
    }
}
