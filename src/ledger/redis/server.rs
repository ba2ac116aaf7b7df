//! Whether a server is fit to keep credits. Asked once, when the engine starts.

use std::collections::HashMap;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::redis::aio::ConnectionManager;

use super::OpenError;
use super::link::Link;

/// The oldest version with `#!lua` scripts, which are refused before they start when the memory is full.
const OLDEST: u32 = 7;

/// How often a server that is away is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why a server would lose credits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Too old.
    #[error("the ledger's Redis has version {0}: version 7.0 or newer is needed")]
    Version(String),
    /// It throws keys away when its memory is full.
    #[error(
        "the ledger's Redis has maxmemory-policy `{0}`, which throws accounts away when its memory is full: set it to \
         `noeviction`"
    )]
    Evicts(String),
    /// It copies another server.
    #[error(
        "the ledger's Redis is a replica, which can't be written: give the address of its master"
    )]
    Replica,
}

/// Refuses a server that would lose credits, and warns of one that would lose them in a crash.
pub(super) async fn check(link: &Link) -> Result<(), OpenError> {
    let ask = async |mut connection: ConnectionManager| {
        ::redis::cmd("INFO").query_async::<String>(&mut connection).await
    };
    let info = link.ask(ask).await.map_err(OpenError::Unreachable)?;
    let facts = facts(&info);
    fit(&facts)?;
    // A server that is loading its append-only file says that it has none.
    let loaded = facts.get("loading") != Some(&"1");
    if loaded && facts.get("aof_enabled") != Some(&"1") {
        tracing::warn!(
            "the ledger's Redis has no append-only file: a restart loses what happened since its last snapshot; set \
             `appendonly yes`"
        );
    }
    Ok(())
}

/// Looks for a server that was away, until the engine is gone: a gateway that says it is not ready gets no calls that
/// would find out.
pub(super) async fn watch(link: Weak<Link>, available: Weak<AtomicBool>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let (Some(link), Some(available)) = (link.upgrade(), available.upgrade()) else { return };
        if !available.load(Ordering::Relaxed) {
            let ping = async |mut connection: ConnectionManager| {
                ::redis::cmd("PING").query_async::<String>(&mut connection).await
            };
            if link.ask(ping).await.is_ok() {
                available.store(true, Ordering::Relaxed);
                tracing::info!("the ledger's Redis answers again");
            }
        }
    }
}

fn facts(info: &str) -> HashMap<&str, &str> {
    info.lines().filter_map(|line| line.trim_end().split_once(':')).collect()
}

fn fit(facts: &HashMap<&str, &str>) -> Result<(), Unfit> {
    let fact = |name| facts.get(name).copied().unwrap_or("unknown");
    let version = fact("redis_version");
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < OLDEST) {
        return Err(Unfit::Version(version.to_owned()));
    }
    if fact("role") != "master" {
        return Err(Unfit::Replica);
    }
    match fact("maxmemory_policy") {
        "noeviction" => Ok(()),
        policy => Err(Unfit::Evicts(policy.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_keeps_everything_will_do() {
        let info =
            "# Server\r\nredis_version:7.0.15\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n";
        let with = |from: &str, to: &str| {
            let info = info.replace(from, to);
            fit(&facts(&info))
        };
        assert_eq!(with("", ""), Ok(()));
        assert_eq!(with("7.0.15", "8.2.1"), Ok(()));
        assert_eq!(with("7.0.15", "6.2.14"), Err(Unfit::Version("6.2.14".into())));
        assert_eq!(with("role:master", "role:slave"), Err(Unfit::Replica));
        assert_eq!(with("noeviction", "allkeys-lru"), Err(Unfit::Evicts("allkeys-lru".into())));
        assert_eq!(with("maxmemory_policy", "x"), Err(Unfit::Evicts("unknown".into())));
    }
}
