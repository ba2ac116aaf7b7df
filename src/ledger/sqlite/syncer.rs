//! Syncs the WAL after commits and then lets their answers go.
//!
//! Runs on its own thread, so that the writer goes on with the next batch meanwhile. One sync serves every batch that
//! was committed before it started.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::schema;

/// Sends one answer: as it is, or as "unknown" with this reason.
pub(super) type Answer = Box<dyn FnOnce(Result<(), String>) + Send>;

/// The thread's handle: ends when it is dropped and the last answer is sent.
pub(super) struct Syncer {
    committed: Option<Sender<Vec<Answer>>>,
    thread: Option<JoinHandle<()>>,
    failed: Arc<AtomicBool>,
}

impl Syncer {
    /// Starts syncing the WAL of the ledger at `path`. The WAL exists: a connection is open.
    pub(super) fn start(path: &Path) -> std::io::Result<Self> {
        let wal = File::open(schema::wal(path))?;
        let (committed, queue) = channel();
        let failed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&failed);
        let thread = std::thread::Builder::new()
            .name("ledger-sync".into())
            .spawn(move || run(&wal, &queue, &flag))?;
        Ok(Self { committed: Some(committed), thread: Some(thread), failed })
    }

    /// Answers `answers` once everything committed so far is on disk.
    pub(super) fn answer(&self, answers: Vec<Answer>) {
        let Some(committed) = &self.committed else { return };
        if let Err(unsent) = committed.send(answers) {
            for answer in unsent.0 {
                answer(Err("the syncer has stopped".into()));
            }
        }
    }

    /// Whether a sync has failed: nothing that was written since is known to be on disk.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.committed = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(wal: &File, queue: &Receiver<Vec<Answer>>, failed: &AtomicBool) {
    while let Ok(mut answers) = queue.recv() {
        answers.extend(queue.try_iter().flatten());
        let synced = wal.sync_data().map_err(|error| {
            failed.store(true, Ordering::Release);
            tracing::error!(%error, "the ledger could not be synced to disk");
            format!("could not sync to disk: {error}")
        });
        for answer in answers {
            answer(synced.clone());
        }
    }
}
