//! Calls that belong together are paid for once: repetitions of one call, and the calls of a task. And what a call is for.

mod engines;
mod features;
mod gateways;
mod keys;
mod tasks;

use crate::harness::{RedisServer, Setup, World};

/// The same world on each engine, with the server of the second.
async fn both(setup: impl Fn() -> Setup) -> [(World, Option<RedisServer>); 2] {
    let redis = RedisServer::start(&[]);
    let file = setup().start().await;
    let shared = setup().ledger_on(&redis).start().await;
    [(file, None), (shared, Some(redis))]
}
