//! Archives a ledger while gateways work on it: at its own pace, in small portions, never in the way of a call.
//!
//! The order is: read a portion of the logs, write it to the file, and when that is on disk, tell Redis, where what is
//! old enough goes. Whatever is cut off between two of these steps is made up for by the next pass.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::folder::{Batch, Progress};
use super::{Archive, ArchiveError, Position, Writer, blocking};
use crate::ledger::Clock;
use crate::ledger::redis::{Holder, Lease, Said, Shard, Store, TRIMMED};
use crate::metrics::Metrics;

/// How long a pass waits for the next one.
const PASS_EVERY: Duration = Duration::from_secs(2);
/// The longest pause after failures.
const PAUSE_MOST: Duration = Duration::from_mins(1);
/// How long a gateway may archive without being heard of. Another one begins after that.
const TERM: Duration = Duration::from_secs(6);
/// How often what is old goes from logs to which nothing is added, at most.
const TRIM_EVERY: Duration = Duration::from_mins(1);
/// Entries that are read, and written, at once.
const PORTION: usize = 1000;

/// What an operator decides.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long entries stay in Redis.
    pub keep: Duration,
    /// Bytes of a file after which the next is begun.
    pub rotate: u64,
}

/// Archives one ledger.
pub struct Archiver {
    store: Arc<Store>,
    archive: Arc<Archive>,
    settings: Settings,
    clock: Clock,
    metrics: Arc<Metrics>,
    /// This process, among those that ask for the lease.
    holder: String,
    stop: CancellationToken,
    writer: Option<Writer>,
    /// Where the writer stands.
    progress: Progress,
    tenure: Option<Tenure>,
    trimmed: Option<Instant>,
    /// The first message that is not archived, as far as is known.
    oldest: Option<Position>,
}

/// The time in which this process has the lease.
struct Tenure {
    holder: Holder,
    renewed: Instant,
    /// Shards that know of it.
    taken: HashSet<u8>,
}

impl Archiver {
    /// An archiver of the ledger in `store` that ends when `stop` is cancelled.
    pub fn new(
        store: Arc<Store>,
        archive: Arc<Archive>,
        settings: Settings,
        clock: Clock,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Self {
        let holder = uuid::Uuid::now_v7().simple().to_string();
        let (writer, tenure, trimmed, oldest) = (None, None, None, None);
        Self {
            store,
            archive,
            settings,
            clock,
            metrics,
            holder,
            stop,
            writer,
            progress: Progress::default(),
            tenure,
            trimmed,
            oldest,
        }
    }

    /// Archives until it is told to stop.
    pub async fn run(mut self) {
        let mut pause = PASS_EVERY;
        while !self.stop.is_cancelled() {
            let passed = self.pass().await;
            let seconds = self.oldest.map_or(0, |at| self.age(at));
            self.metrics.oldest_not_archived(seconds);
            match passed {
                Ok(()) => pause = PASS_EVERY,
                Err(error) => pause = self.failed(&error, pause).await,
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        if self.tenure.is_some() {
            self.give_back().await;
        }
    }

    /// Seconds since a message was written.
    fn age(&self, at: Position) -> u64 {
        (self.clock)().millis().unsigned_abs().saturating_sub(at.millis) / 1000
    }

    /// Says what went wrong, and how long to wait after a pause of `before`.
    async fn failed(&mut self, error: &ArchiveError, before: Duration) -> Duration {
        // What is open is in an unknown state.
        (self.writer, self.tenure) = (None, None);
        match error {
            ArchiveError::InUse(_) => {
                tracing::debug!(%error, "not archiving");
                PASS_EVERY
            }
            ArchiveError::Lost => {
                tracing::info!(%error, "not archiving");
                // The next lease has a higher number, whatever Redis may have forgotten in a fail-over.
                self.give_back().await;
                PASS_EVERY
            }
            ArchiveError::Folder { .. }
            | ArchiveError::File(_)
            | ArchiveError::Missing { .. }
            | ArchiveError::Foreign { .. }
            | ArchiveError::OthersEntries(_)
            | ArchiveError::Behind
            | ArchiveError::Fork { .. }
            | ArchiveError::Ledger(_) => {
                let pause = (before * 2).min(PAUSE_MOST);
                let what = "nothing is archived, and nothing goes from Redis";
                tracing::error!(%error, "{what}; trying again in {pause:?}");
                // Another gateway may have more luck.
                self.give_back().await;
                pause
            }
        }
    }

    async fn give_back(&mut self) {
        if let Err(error) = self.store.give_back(&self.holder).await {
            tracing::warn!(%error, "the right to archive ends by itself");
        }
    }

    /// Archives what is there, if it is this gateway's turn.
    async fn pass(&mut self) -> Result<(), ArchiveError> {
        if self.writer.is_none() {
            let writer = self.open().await?;
            self.progress = writer.progress().clone();
            self.writer = Some(writer);
        }
        if !self.renewed().await? {
            self.oldest = None;
            return Ok(());
        }
        let (mut batch, mut oldest) = (Batch::default(), None);
        for shard in Shard::all() {
            if self.stop.is_cancelled() {
                break;
            }
            self.take(shard).await?;
            let mut from = self.progress.position(shard);
            loop {
                let logged = self.store.logged(shard, from, PORTION).await?;
                oldest = earlier(oldest, logged.first().map(|first| first.at));
                let Some(last) = logged.last() else { break };
                (from, self.oldest) = (Some(last.at), oldest);
                batch.positions.insert(shard.number(), last.at);
                let is_end = logged.len() < PORTION;
                batch.entries.extend(logged.into_iter().map(|one| (one.account, one.entry)));
                if batch.entries.len() >= PORTION {
                    self.write(std::mem::take(&mut batch)).await?;
                    oldest = None;
                }
                if is_end {
                    break;
                }
            }
        }
        if !batch.entries.is_empty() {
            self.write(batch).await?;
        }
        self.oldest = None;
        self.trim().await
    }

    async fn open(&mut self) -> Result<Writer, ArchiveError> {
        let (folder, now) = (self.archive.folder.clone(), (self.clock)());
        // A folder that is empty begins no archive where the ledger has one.
        if let Some(ledger) = self.store.archive_id().await?
            && self.archive.opened().await?.is_none()
        {
            return Err(ArchiveError::Foreign { folder: None, ledger });
        }
        let id = uuid::Uuid::now_v7().simple().to_string();
        blocking(move || Writer::open(&folder, &id, now)).await
    }

    /// Asks for the lease, or renews it; whether this process has it.
    async fn renewed(&mut self) -> Result<bool, ArchiveError> {
        let Progress { archive, positions } = &self.progress;
        let (archive, is_empty) = (archive.clone(), positions.is_empty());
        let lease = self.store.lease(&archive, &self.holder, TERM, is_empty).await?;
        let renewed = Instant::now();
        match lease {
            Lease::Yours(fence) => {
                match &mut self.tenure {
                    Some(tenure) if tenure.holder.fence == fence => tenure.renewed = renewed,
                    _ => {
                        tracing::info!(%archive, "this gateway archives the ledger");
                        let holder = Holder { archive, fence, keep: self.settings.keep };
                        self.tenure = Some(Tenure { holder, renewed, taken: HashSet::new() });
                        self.trimmed = None;
                    }
                }
                Ok(true)
            }
            Lease::Held => {
                self.tenure = None;
                Ok(false)
            }
            Lease::Foreign(ledger) => Err(ArchiveError::Foreign { folder: Some(archive), ledger }),
            Lease::None => Err(ArchiveError::OthersEntries(archive)),
        }
    }

    /// Tells a shard of this lease. From then on an older one writes nothing there.
    async fn take(&mut self, shard: Shard) -> Result<(), ArchiveError> {
        let Some(tenure) = &mut self.tenure else { return Err(ArchiveError::Lost) };
        if tenure.taken.contains(&shard.number()) {
            return Ok(());
        }
        match self.store.archived(shard, &tenure.holder, None).await? {
            Said::Taken(known) if known > self.progress.position(shard) => {
                Err(ArchiveError::Behind)
            }
            Said::Taken(_) | Said::Confirmed(_) => {
                tenure.taken.insert(shard.number());
                Ok(())
            }
            Said::Lost => Err(ArchiveError::Lost),
            Said::Behind => Err(ArchiveError::Behind),
        }
    }

    /// Writes a portion, and then tells the shards of it.
    async fn write(&mut self, batch: Batch) -> Result<(), ArchiveError> {
        self.keep_lease().await?;
        let Some(mut writer) = self.writer.take() else { return Err(ArchiveError::Lost) };
        let (rotate, now) = (self.settings.rotate, (self.clock)());
        let (written, positions) = (batch.entries.len(), batch.positions.clone());
        let writing = blocking(move || {
            writer.add(&batch, rotate, now)?;
            Ok(writer)
        });
        self.writer = Some(writing.await?);
        self.metrics.archived(written);
        self.progress.positions.extend(&positions);
        for shard in Shard::all().filter(|shard| positions.contains_key(&shard.number())) {
            self.confirm(shard).await?;
        }
        Ok(())
    }

    /// Lets what is old go from every log, now and then.
    async fn trim(&mut self) -> Result<(), ArchiveError> {
        let every = self.settings.keep.min(TRIM_EVERY);
        if self.trimmed.is_some_and(|trimmed| trimmed.elapsed() < every) {
            return Ok(());
        }
        for shard in Shard::all() {
            self.keep_lease().await?;
            while !self.stop.is_cancelled() && self.confirm(shard).await? == TRIMMED {}
        }
        self.trimmed = Some(Instant::now());
        Ok(())
    }

    /// Tells a shard how far it is archived; gives how many messages went from its log.
    async fn confirm(&mut self, shard: Shard) -> Result<u64, ArchiveError> {
        let Some(tenure) = &self.tenure else { return Err(ArchiveError::Lost) };
        let Some(position) = self.progress.position(shard) else { return Ok(0) };
        match self.store.archived(shard, &tenure.holder, Some(position)).await? {
            Said::Confirmed(gone) => Ok(gone),
            Said::Taken(_) | Said::Lost => Err(ArchiveError::Lost),
            Said::Behind => Err(ArchiveError::Behind),
        }
    }

    /// Renews the lease in time, if it is still this one.
    async fn keep_lease(&mut self) -> Result<(), ArchiveError> {
        let Some(Tenure { holder, renewed, .. }) = &self.tenure else {
            return Err(ArchiveError::Lost);
        };
        let fence = holder.fence;
        if renewed.elapsed() < TERM / 3 {
            return Ok(());
        }
        self.renewed().await?;
        match &self.tenure {
            Some(tenure) if tenure.holder.fence == fence => Ok(()),
            Some(_) | None => Err(ArchiveError::Lost),
        }
    }
}

fn earlier(a: Option<Position>, b: Option<Position>) -> Option<Position> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
