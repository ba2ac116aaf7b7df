//! The writer thread: batches of steps, one transaction each.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::oneshot;

use super::books::{Books, StepError};
use super::syncer::{Answer, Syncer};
use super::{BATCH, Job, LedgerError, OpenError, claims, owned, schema};
use crate::credit::{Operation, Timestamp};
use crate::ledger::Clock;

/// How long the writer waits between attempts to open the file again after a failed commit.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);
/// How often an idle writer tidies up, at most.
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// Starts the thread.
pub(super) fn start(
    path: &Path,
    db: Connection,
    queue: mpsc::Receiver<Job>,
    clock: Clock,
    available: Arc<AtomicBool>,
) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let syncer = Syncer::start(path).map_err(io)?;
    let mut writer = Writer {
        path: path.to_owned(),
        open: Some(Open { db, syncer, books: Books::default() }),
        queue,
        clock,
        available,
        tidied: Instant::now(),
    };
    std::thread::Builder::new().name("ledger".into()).spawn(move || writer.run()).map_err(io)?;
    Ok(())
}

struct Writer {
    path: PathBuf,
    /// Nothing while the file can't be written.
    open: Option<Open>,
    queue: mpsc::Receiver<Job>,
    clock: Clock,
    available: Arc<AtomicBool>,
    tidied: Instant,
}

struct Open {
    db: Connection,
    syncer: Syncer,
    books: Books,
}

/// The answers of a batch, sent when it is committed: at once, or after the sync.
#[derive(Default)]
struct Answers {
    after_commit: Vec<Answer>,
    after_sync: Vec<Answer>,
}

impl Writer {
    fn run(&mut self) {
        while let Some(jobs) = self.next_batch() {
            if let Some(closed) = self.batch(jobs) {
                // Dropping the syncer waits for its last answers; dropping the connection checkpoints.
                self.open = None;
                return self.close(closed);
            }
            while self.open.is_none() {
                self.reopen();
                if let Some(closed) = self.refuse_queued() {
                    return self.close(closed);
                }
            }
        }
    }

    /// Takes no further job, and only then tells who asked for the end: what comes later is refused, not lost.
    fn close(&mut self, closed: oneshot::Sender<()>) {
        self.queue.close();
        let _ = closed.send(());
    }

    /// Waits for a job and takes those that wait behind it; nothing when nobody can send any more.
    fn next_batch(&mut self) -> Option<Vec<Job>> {
        let first = match self.queue.try_recv() {
            Ok(job) => job,
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {
                self.tidy();
                self.queue.blocking_recv()?
            }
        };
        let mut jobs = vec![first];
        while jobs.len() < BATCH
            && let Ok(job) = self.queue.try_recv()
        {
            jobs.push(job);
        }
        Some(jobs)
    }

    /// Carries out one batch and answers it; returns who asked for the end. Closes the file if it failed.
    fn batch(&mut self, jobs: Vec<Job>) -> Option<oneshot::Sender<()>> {
        let open = self.open.as_mut()?;
        let mut close = None;
        let mut answers = Answers::default();
        let carried_out = open.carry_out(jobs, (self.clock)(), &mut answers, &mut close);
        match carried_out {
            Ok(()) => {
                answers.after_commit.into_iter().for_each(|answer| answer(Ok(())));
                if !answers.after_sync.is_empty() {
                    open.syncer.answer(answers.after_sync);
                }
            }
            Err(ref error) => {
                tracing::error!(%error, "the ledger could not commit; no new holds until it can");
                let all = answers.after_commit.into_iter().chain(answers.after_sync);
                all.for_each(|answer| answer(Err(error.to_string())));
            }
        }
        if carried_out.is_err() || open.syncer.has_failed() {
            self.open = None;
            self.available.store(false, Ordering::Relaxed);
        }
        close
    }

    /// Tells everybody who waits that the file can't be written; returns who asked for the end.
    fn refuse_queued(&mut self) -> Option<oneshot::Sender<()>> {
        if self.open.is_some() {
            return None;
        }
        let refusal = LedgerError::Unavailable("its file can't be written".into());
        while let Ok(job) = self.queue.try_recv() {
            match job {
                Job::Apply { reply, .. } => drop(reply.send(Err(refusal.clone()))),
                Job::ApplyIfOwned { reply, .. } => drop(reply.send(Err(refusal.clone()))),
                Job::Own { reply, .. } | Job::Forget { reply, .. } => {
                    drop(reply.send(Err(refusal.clone())));
                }
                Job::Change { reply, .. } => drop(reply.send(Err(refusal.clone()))),
                Job::Claim { reply, .. } => drop(reply.send(Err(refusal.clone()))),
                Job::Delivered { reply, .. } => drop(reply.send(Err(refusal.clone()))),
                Job::Close(closed) => return Some(closed),
            }
        }
        None
    }

    /// Opens the file anew, with empty memory: what is on disk is the truth.
    fn reopen(&mut self) {
        let opened = schema::connect(&self.path)
            .map_err(|error| error.to_string())
            .and_then(|db| probe(&db).map(|()| db).map_err(|error| error.to_string()))
            .and_then(|db| {
                let syncer = Syncer::start(&self.path).map_err(|error| error.to_string())?;
                Ok(Open { db, syncer, books: Books::default() })
            });
        match opened {
            Ok(open) => {
                self.open = Some(open);
                self.available.store(true, Ordering::Relaxed);
                tracing::info!("the ledger can be written again");
            }
            Err(error) => {
                tracing::warn!(%error, "the ledger still can't be written");
                std::thread::sleep(REOPEN_PAUSE);
            }
        }
    }

    /// What can wait until nobody is waiting: checkpoint the WAL, forget old operations.
    fn tidy(&mut self) {
        if self.tidied.elapsed() < TIDY_EVERY {
            return;
        }
        self.tidied = Instant::now();
        let Some(open) = &mut self.open else { return };
        let now = (self.clock)();
        let forgotten = Books::forget_operations(now, &open.db)
            .and_then(|()| claims::forget(now, &open.db))
            .and_then(|()| owned::forget_old(&open.db, now));
        let checkpointed = open.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(error) = forgotten.and(checkpointed) {
            tracing::warn!(%error, "the ledger could not be tidied");
        }
    }
}

/// Fails where a commit would.
fn probe(db: &Connection) -> rusqlite::Result<()> {
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    db.pragma_update(None, "user_version", version)
}

impl Open {
    /// Carries out `jobs` in one transaction. On an error the transaction is rolled back, and what the books in memory
    /// say is no longer true.
    fn carry_out(
        &mut self,
        jobs: Vec<Job>,
        now: Timestamp,
        answers: &mut Answers,
        close: &mut Option<oneshot::Sender<()>>,
    ) -> rusqlite::Result<()> {
        let step = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for job in jobs {
            match job {
                Job::Apply { account, id, operation, reply } => {
                    let durable = is_durable(&operation);
                    let outcome = self.books.apply(&step, &account, id, &operation, now);
                    answers.add(durable, reply, spared(outcome)?);
                }
                Job::ApplyIfOwned { account, id, operation, things, reply } => {
                    if !owned::all_owned(&step, &account, &things, now)? {
                        answers.add(false, reply, Ok(None));
                        continue;
                    }
                    let durable = is_durable(&operation);
                    let outcome = self.books.apply(&step, &account, id, &operation, now);
                    answers.add(durable, reply, spared(outcome)?.map(Some));
                }
                Job::Own { account, owned, reply } => {
                    owned::write(&step, &account, &owned)?;
                    answers.add(true, reply, Ok(()));
                }
                Job::Forget { account, thing, reply } => {
                    owned::forget(&step, &account, &thing)?;
                    answers.add(true, reply, Ok(()));
                }
                Job::Change { id, change, reply } => {
                    let outcome = self.books.change(&step, id, *change, now);
                    answers.add(true, reply, spared(outcome)?);
                }
                Job::Claim { account, id, hold, claims, reply } => {
                    let outcome = self.books.claim(&step, (&account, id), &hold, &claims, now);
                    answers.add(false, reply, spared(outcome)?);
                }
                Job::Delivered { account, key, id, reply } => {
                    claims::delivered(&step, &account, key, id)?;
                    answers.add(false, reply, Ok(()));
                }
                Job::Close(closed) => *close = Some(closed),
            }
        }
        self.books.write(&step)?;
        step.commit()
    }
}

impl Answers {
    fn add<T: Send + 'static>(
        &mut self,
        durable: bool,
        reply: oneshot::Sender<Result<T, LedgerError>>,
        outcome: Result<T, LedgerError>,
    ) {
        let answer = Box::new(move |committed: Result<(), String>| {
            let outcome = committed.map_err(LedgerError::Unknown).and(outcome);
            // The caller may be gone; what it asked for is done all the same.
            let _ = reply.send(outcome);
        });
        if durable { self.after_sync.push(answer) } else { self.after_commit.push(answer) }
    }
}

/// Whether the answer must wait for the disk. A power cut that forgets an open hold has released it, which is what
/// its expiry would have done (ledger.md, Engine 1).
fn is_durable(operation: &Operation) -> bool {
    match operation {
        Operation::Grant { .. }
        | Operation::Gate { .. }
        | Operation::Plan { .. }
        | Operation::Settle { .. }
        | Operation::Charge { .. }
        | Operation::Correct { .. }
        | Operation::Void { .. } => true,
        Operation::Hold { .. } | Operation::Extend { .. } | Operation::Release => false,
    }
}

/// A step that would break a rule is refused and freezes its account; the rest of the batch goes on.
fn spared<T>(outcome: Result<T, StepError>) -> rusqlite::Result<Result<T, LedgerError>> {
    match outcome {
        Ok(done) => Ok(Ok(done)),
        Err(StepError::Broken(account, broken)) => {
            tracing::error!(%account, reason = %broken, "an account is frozen");
            Ok(Err(LedgerError::Frozen { account, reason: broken.to_string() }))
        }
        Err(StepError::Sqlite(error)) => Err(error),
    }
}
