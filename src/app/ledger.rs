//! Opens the ledger that the configuration names, and what belongs to it: journal and archive.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::Serving;
use crate::config::{Config, Environment, LedgerUrl, Redis, RedisClock, RedisUrl};
use crate::cores::Core;
use crate::ledger::archive::{self, Archive, Archiver};
use crate::ledger::journal::Journal;
use crate::ledger::{Clock, Ledger, LedgerError, redis, sqlite};
use crate::metrics::Metrics;

/// How often a server is asked at the start that is not ready yet.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A ledger, and what a gateway has beside it.
pub(super) struct Opened {
    pub(super) ledger: Ledger,
    /// Where settlements wait, if the ledger may be away while the gateway serves.
    pub(super) journal: Option<Journal>,
    pub(super) archiving: Option<Serving>,
}

/// Opens what `config` names. Waits for a Redis that is not ready yet, and refuses one that can't be reached.
pub(super) async fn open(
    config: &Config,
    env: Environment<'_>,
    clock: &Clock,
    metrics: &Arc<Metrics>,
    cores: Vec<Core>,
) -> anyhow::Result<Opened> {
    let url = match &config.ledger {
        LedgerUrl::Sqlite(path) => {
            let store = sqlite::Store::open(path, Arc::clone(clock))?;
            let ledger = Ledger::Sqlite(Arc::new(store));
            return Ok(Opened { ledger, journal: None, archiving: None });
        }
        LedgerUrl::Redis(url) => url,
    };
    let mut store = open_redis(url, &config.redis, env, clock, cores).await?;
    refuse_unfinished(&store).await.with_context(|| format!("the ledger is {url}"))?;
    let journal = Journal::open(&config.outage.journal);
    let journal = journal.context("the journal can't be used: set `journal` in [outage]")?;
    let archive = config.archive.folder.as_ref().map(|folder| Archive::open(folder));
    let archive = archive.transpose()?.map(Arc::new);
    if let Some(archive) = &archive {
        store = store.with_archive(Arc::clone(archive));
    }
    let store = Arc::new(store);
    let archiving = archive.map(|archive| {
        let settings =
            archive::Settings { keep: config.archive.keep, rotate: config.archive.rotate as u64 };
        let (store, clock, metrics) = (Arc::clone(&store), Arc::clone(clock), Arc::clone(metrics));
        Serving::start(|stop| Archiver::new(store, archive, settings, clock, metrics, stop).run())
    });
    Ok(Opened { ledger: Ledger::Redis(store), journal: Some(journal), archiving })
}

/// Connects to Redis as the configuration says.
pub(super) async fn open_redis(
    url: &RedisUrl,
    redis: &Redis,
    env: Environment<'_>,
    clock: &Clock,
    cores: Vec<Core>,
) -> anyhow::Result<redis::Store> {
    let settings = redis::Settings { cores, ..settings(redis, env)? };
    let store = redis::Store::open(url, Arc::clone(clock), settings).await;
    store.with_context(|| format!("the ledger is {url}"))
}

/// A ledger that is still being moved there is refused. Before a server has read its file nobody knows.
async fn refuse_unfinished(store: &redis::Store) -> Result<(), redis::Unfinished> {
    loop {
        match store.refuse_unfinished().await {
            Err(redis::Unfinished::Ledger(LedgerError::Unavailable(why))) => {
                tracing::info!(why, "waiting for the ledger");
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            answered => return answered,
        }
    }
}

fn settings(redis: &Redis, env: Environment<'_>) -> anyhow::Result<redis::Settings> {
    let tls_ca = redis.tls_ca.as_ref().map(|path| {
        std::fs::read(path).with_context(|| format!("`tls_ca` {} can't be read", path.display()))
    });
    let password = redis.sentinel_password.as_ref().map(|source| source.resolve(env));
    Ok(redis::Settings {
        response_timeout: redis.response_timeout,
        connection_timeout: redis.connect_timeout,
        time: match redis.clock {
            RedisClock::Server => redis::Time::Server,
            RedisClock::Gateway => redis::Time::Gateway,
        },
        replicas: redis.replicas,
        replicas_timeout: redis.replicas_timeout,
        tls_ca: tls_ca.transpose()?,
        sentinel_user: redis.sentinel_user.clone(),
        sentinel_password: password.transpose().context("the Sentinels' password is missing")?,
        ..redis::Settings::default()
    })
}
