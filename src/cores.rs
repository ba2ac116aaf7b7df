//! The threads that serve: one for each core, each with a runtime of its own.
//!
//! A client's connection stays on the thread that it was given to, and with it its requests, their connections to the
//! provider and their steps on a shared ledger: nothing on a call's way wakes another thread. What belongs to no call
//! (the admin API, heartbeats, the search for servers) runs on the program's own runtime. Knows nothing of HTTP.

use std::cell::Cell;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

thread_local! {
    static SEAT: Cell<usize> = const { Cell::new(0) };
}

/// Which of the threads this is: from 1 on, and 0 for all that don't serve. For whoever keeps something for each thread.
pub fn seat() -> usize {
    SEAT.get()
}

/// The threads. They run until [`Cores::stop`].
pub struct Cores {
    all: Vec<Core>,
    threads: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

/// One thread's runtime.
#[derive(Clone, Debug)]
pub struct Core {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
}

/// A connection's place on a thread, until it is dropped.
pub struct Place {
    connections: Arc<AtomicUsize>,
}

impl Cores {
    /// Starts `number` threads.
    pub fn start(number: NonZeroUsize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let (mut all, mut threads) = (Vec::new(), Vec::new());
        for seat in 1..=number.get() {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            all.push(Core { runtime: runtime.handle().clone(), connections: Arc::default() });
            let stop = stop.clone();
            threads.push(std::thread::Builder::new().name(format!("serve-{seat}")).spawn(
                move || {
                    SEAT.set(seat);
                    runtime.block_on(stop.cancelled());
                },
            )?);
        }
        Ok(Self { all, threads, stop })
    }

    /// All of them, in the order of their seats.
    pub fn all(&self) -> Vec<Core> {
        self.all.clone()
    }

    /// Ends the threads, and with them whatever still runs there.
    pub fn stop(self) {
        self.stop.cancel();
        for thread in self.threads {
            // A thread ends by a panic only if its runtime is at fault; its tasks are gone then, as they are here.
            let _ = thread.join();
        }
    }
}

impl Core {
    /// Where its tasks are spawned.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// The one of `cores` with the fewest connections, and a place there. The kernel would spread connections by a hash
    /// of their addresses, which with some dozens of them leaves one core with twice the work of another.
    pub fn least_busy(cores: &[Self]) -> Option<(&Self, Place)> {
        let core = cores.iter().min_by_key(|core| core.connections.load(Ordering::Relaxed))?;
        core.connections.fetch_add(1, Ordering::Relaxed);
        Some((core, Place { connections: Arc::clone(&core.connections) }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
