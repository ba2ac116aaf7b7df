//! `creditgate migrate`: from a ledger's file to Redis, while no gateway runs on it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::ledger::open_redis;
use super::{environment, now, runtime};
use crate::config::{Config, LedgerUrl};
use crate::ledger::Clock;
use crate::ledger::migration::{Move, Summary};
use crate::ledger::sqlite::Export;

/// What is moved, and where to.
pub struct Migrate<'a> {
    /// Where the ledger is: a file.
    pub from: LedgerUrl,
    /// Where it goes; without it, to the ledger of the configuration.
    pub to: Option<LedgerUrl>,
    /// The configuration's file; without one, the default that is built in.
    pub config: Option<&'a Path>,
}

/// Moves a ledger. `tell` is told what is being done. Gives what was moved, and the address that it has now.
pub fn migrate(asked: Migrate<'_>, tell: &dyn Fn(&str)) -> anyhow::Result<(Summary, LedgerUrl)> {
    let Migrate { from, to, config } = asked;
    let LedgerUrl::Sqlite(file) = &from else {
        bail!("`--from` is {from}: only a ledger in a file, `sqlite://PATH`, can be moved");
    };
    let config = Config::load(config, &environment)?;
    let to = to.unwrap_or(config.ledger);
    let LedgerUrl::Redis(url) = &to else {
        bail!(
            "the target is {to}: a ledger can only be moved to Redis; say `--to redis://…`, or set CREDITGATE_LEDGER \
             or the configuration's `ledger`"
        );
    };
    // One file has one name, so that an attempt which broke off is known again.
    let file = std::fs::canonicalize(file)
        .with_context(|| format!("there is no ledger at {}", file.display()))?;
    let clock: Clock = Arc::new(now);
    let mut export = Export::open(&file).context("the ledger can't be moved")?;
    let summary = runtime()?.block_on(async {
        let store = open_redis(url, &config.redis, &environment, &clock, Vec::new()).await?;
        let id = uuid::Uuid::now_v7().simple().to_string();
        let source = format!("sqlite://{}", file.display());
        let moving = Move {
            from: &mut export,
            source,
            to: &store,
            target: to.to_string(),
            clock: &clock,
            tell,
        };
        anyhow::Ok(moving.run(id).await?)
    })?;
    Ok((summary, to))
}
