//! Redis' part of the archive: who may write it, what is archived, what may go from a log.
//!
//! A lease tells gateways whose turn it is. That alone would not do, since one that was held up may go on when its lease
//! has ended: each shard knows the youngest lease that was there, and refuses an older one.

use std::time::Duration;

use ::redis::cmd;

use super::log::{Log, Logged};
use super::{Shard, Store, keys, text, unreadable};
use crate::ledger::LedgerError;
use crate::ledger::archive::Position;

const LEASE: &str = include_str!("lease.lua");
const ARCHIVE: &str = include_str!("archive.lua");

const GIVE_BACK: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end";

/// Messages that go from a log at once.
pub(in crate::ledger) const TRIMMED: u64 = 500;

/// Whose turn it is to archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ledger) enum Lease {
    /// The caller's; which lease it is.
    Yours(u64),
    /// Another gateway's.
    Held,
    /// Nobody's: the ledger has another archive.
    Foreign(String),
    /// Nobody's: the ledger has no archive.
    None,
}

/// What a shard says to a holder of the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ledger) enum Said {
    /// A younger lease was here.
    Lost,
    /// More is archived than the caller has.
    Behind,
    /// What is archived.
    Taken(Option<Position>),
    /// Noted; so many messages went.
    Confirmed(u64),
}

/// A holder of the lease, and how it works.
#[derive(Clone, Debug)]
pub(in crate::ledger) struct Holder {
    /// The archive that it writes.
    pub archive: String,
    pub fence: u64,
    /// How long entries stay.
    pub keep: Duration,
}

/// What may be gone from a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gone {
    /// Up to here.
    pub(super) upto: Option<Position>,
    /// Some of it is in an archive before the present one.
    pub(super) is_lost: bool,
}

impl Gone {
    /// Whether an archive that goes up to `position` has all that may be gone.
    pub(super) fn is_within(self, position: Option<Position>) -> bool {
        self.upto.is_none() || (!self.is_lost && self.upto <= position)
    }
}

impl Store {
    /// The id of the ledger's archive, if it has one.
    pub(in crate::ledger) async fn archive_id(&self) -> Result<Option<String>, LedgerError> {
        self.ask(keys::ARCHIVE[0], cmd("GET").arg(keys::ARCHIVE[0])).await
    }

    /// Asks for the lease, or renews it, for `term`. `may_begin`: if the ledger has no archive, it gets this one.
    pub(in crate::ledger) async fn lease(
        &self,
        archive: &str,
        holder: &str,
        term: Duration,
        may_begin: bool,
    ) -> Result<Lease, LedgerError> {
        let mut script = cmd("EVAL");
        script.arg(LEASE).arg(keys::ARCHIVE.len()).arg(&keys::ARCHIVE);
        let term = u64::try_from(term.as_millis()).unwrap_or(u64::MAX);
        script.arg(archive).arg(holder).arg(term).arg(u8::from(may_begin));
        let answer: Vec<String> = self.ask(keys::ARCHIVE[0], &script).await?;
        let words: Vec<&str> = answer.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["yours", fence] => {
                text::parsed(fence).map(Lease::Yours).map_err(|error| unreadable(&error))
            }
            ["held"] => Ok(Lease::Held),
            ["foreign", id] => Ok(Lease::Foreign((*id).to_owned())),
            ["none"] => Ok(Lease::None),
            other => Err(unreadable(&text::Unreadable(format!("{other:?}")))),
        }
    }

    /// Gives the lease back, so that the next gateway need not wait for its end.
    pub(in crate::ledger) async fn give_back(&self, holder: &str) -> Result<(), LedgerError> {
        let lease = keys::ARCHIVE[1];
        // In one step: the lease may end, and be another's, at any moment.
        self.ask(lease, cmd("EVAL").arg(GIVE_BACK).arg(1).arg(lease).arg(holder)).await
    }

    /// Tells a shard that it is archived up to `position`, so that what is old may go; asks how far it is without one.
    pub(in crate::ledger) async fn archived(
        &self,
        shard: Shard,
        holder: &Holder,
        position: Option<Position>,
    ) -> Result<Said, LedgerError> {
        let mut script = cmd("EVAL");
        script.arg(ARCHIVE).arg(2).arg(shard.log()).arg(shard.archived());
        let position = position.map(|position| position.to_string()).unwrap_or_default();
        let keep = u64::try_from(holder.keep.as_millis()).unwrap_or(u64::MAX);
        script.arg(&holder.archive).arg(holder.fence).arg(position).arg(keep).arg(TRIMMED);
        script.arg(self.now_for_scripts().map_or_else(String::new, |now| now.millis().to_string()));
        let answer: Vec<String> = self.ask(&shard.log(), &script).await?;
        let words: Vec<&str> = answer.iter().map(String::as_str).collect();
        let strange = || unreadable(&text::Unreadable(format!("{answer:?}")));
        match words.as_slice() {
            ["lost"] => Ok(Said::Lost),
            ["behind"] => Ok(Said::Behind),
            ["taken", ""] => Ok(Said::Taken(None)),
            ["taken", position] => {
                position.parse().map(|at| Said::Taken(Some(at))).map_err(|_| strange())
            }
            ["confirmed", gone] => gone.parse().map(Said::Confirmed).map_err(|_| strange()),
            _ => Err(strange()),
        }
    }

    /// At most `limit` messages of a shard's log after `position`.
    pub(in crate::ledger) async fn logged(
        &self,
        shard: Shard,
        position: Option<Position>,
        limit: usize,
    ) -> Result<Vec<Logged>, LedgerError> {
        Ok(Log::after(shard, position, limit).next(self).await?.unwrap_or_default())
    }

    /// What may be gone from the log of `shard`.
    pub(super) async fn gone(&self, shard: Shard) -> Result<Gone, LedgerError> {
        let mut ask = cmd("HMGET");
        ask.arg(shard.archived()).arg("trimmed").arg("lost");
        let [upto, lost]: [Option<String>; 2] = self.ask(&shard.archived(), &ask).await?;
        let parsed = upto.map(|upto| upto.parse().map_err(|_| text::Unreadable(upto)));
        let upto = parsed.transpose().map_err(|error| unreadable(&error))?;
        Ok(Gone { upto, is_lost: lost.is_some() })
    }
}
