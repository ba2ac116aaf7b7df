//! The running product on this machine: the real program as a process, with a simulated provider to call and
//! accounts prepared in its ledger. Whatever a test starts ends with it.

mod books;
mod canned;
mod client;
mod fleet;
mod front;
mod network;
mod process;
mod provider;
mod redis;
mod setup;
mod wire;

use std::time::{Duration, Instant};

pub use books::now;
pub use canned::Canned;
pub use client::{Answer, Ask, Client, Opened, sha256};
pub use fleet::Fleet;
pub use front::Front;
pub use network::{Network, Weather};
pub use process::{Launch, PROVIDER_KEY, Process, TOKEN};
pub use provider::{Provider, Seen};
pub use redis::{RedisServer, free_port, redis_url};
pub use setup::{Setup, World, chat_body, key_of};
pub use wire::Wire;

/// How long anything may take that takes no time on an idle machine.
pub const SOON: Duration = Duration::from_secs(20);

/// What `probe` finds, asked again and again until it finds something; fails after `limit`.
pub async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What `future` comes to; fails if that takes too long.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future)
        .await
        .unwrap_or_else(|_| panic!("not within {SOON:?}: {what}"))
}
