//! The open connections to one address.
//!
//! Each thread that serves has a lane of its own: a connection's task runs where it was opened, and nobody else uses the
//! connection, so that nothing crosses from one thread to another. Of the HTTP/1.1 connections that
//! rest the last one is used first, so that those which are not needed grow old and are closed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::connect::{ConnectError, Dialer, Protocol};
use super::connection::{Connection, Http1, Http2};
use crate::cores;

/// Connections that rest in one lane.
const RESTING: usize = 1024;
/// How long one may rest: shorter than most servers allow (a minute).
const REST_LIMIT: Duration = Duration::from_secs(50);
/// How often the lanes are looked through.
const SWEEP: Duration = Duration::from_secs(10);

/// Of more threads than that, some share a lane.
const LANES: usize = 64;

/// The open connections to one address.
pub struct Pool {
    dialer: Dialer,
    /// Until a connection stands, name resolution and TLS included.
    limit: Duration,
    lanes: Box<[Arc<Lane>]>,
}

/// The connections of one thread.
#[derive(Default)]
pub struct Lane {
    open: Mutex<Open>,
    /// Held while a connection is made that many may use.
    dialing: tokio::sync::Mutex<()>,
    /// The other side chose HTTP/1.1 when it was last asked.
    is_http1: AtomicBool,
}

#[derive(Default)]
struct Open {
    /// The one that rests longest first.
    resting: VecDeque<Http1>,
    shared: Vec<(Http2, Instant)>,
    /// A task closes what rests for too long.
    is_swept: bool,
}

impl Pool {
    /// No connections yet. `limit` is the time in which one must stand.
    pub fn new(dialer: Dialer, limit: Duration) -> Self {
        Self { dialer, limit, lanes: (0..LANES).map(|_| Arc::default()).collect() }
    }

    /// How its connections are made.
    pub fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// A connection that can take a request: an open one, unless it must be `new`.
    pub async fn take(&self, new: bool) -> Result<Connection, ConnectError> {
        let lane = self.lane();
        if !new && let Some(open) = lane.take() {
            return Ok(open);
        }
        let too_slow = |_| format!("no connection within {:?}", self.limit).into();
        // Boxed, as it is rare and big: each request's future has room for what it may await.
        timeout(self.limit, Box::pin(self.open(lane, new))).await.map_err(too_slow).flatten()
    }

    /// A connection that failed is not used again.
    pub fn forget(&self, connection: &Connection) {
        if let Connection::Http2(failed) = connection {
            let lane = self.lane();
            lane.lock().shared.retain(|(shared, _)| !shared.is_same(failed));
        }
    }

    fn lane(&self) -> &Arc<Lane> {
        &self.lanes[cores::seat() % LANES]
    }

    async fn open(&self, lane: &Arc<Lane>, new: bool) -> Result<Connection, ConnectError> {
        // Of many calls that find no connection at once, one makes what all can share.
        let mut turn = None;
        if self.may_be_shared(lane) {
            turn = Some(lane.dialing.lock().await);
            if !new && let Some(open) = lane.take() {
                return Ok(open);
            }
        }
        if !self.may_be_shared(lane) {
            turn = None;
        }
        let (stream, protocol) = self.dialer.dial().await?;
        lane.is_http1.store(protocol == Protocol::Http1, Ordering::Relaxed);
        let connection = Connection::open(stream, protocol, lane).await?;
        if let Connection::Http2(shared) = &connection {
            lane.share(shared.clone());
        }
        drop(turn);
        Ok(connection)
    }

    fn may_be_shared(&self, lane: &Lane) -> bool {
        match self.dialer.speaks() {
            Some(protocol) => protocol == Protocol::Http2,
            None => !lane.is_http1.load(Ordering::Relaxed),
        }
    }
}

impl Lane {
    /// A connection on which nothing runs any more.
    pub fn rest(self: &Arc<Self>, connection: Http1) {
        let mut open = self.lock();
        open.resting.push_back(connection);
        if open.resting.len() > RESTING {
            open.resting.pop_front();
        }
        self.see_to_sweeping(&mut open);
    }

    fn share(self: &Arc<Self>, connection: Http2) {
        let mut open = self.lock();
        open.shared.push((connection, Instant::now()));
        self.see_to_sweeping(&mut open);
    }

    fn take(&self) -> Option<Connection> {
        let now = Instant::now();
        let mut open = self.lock();
        for (shared, used) in &mut open.shared {
            if let Some(shared) = shared.share() {
                *used = now;
                return Some(Connection::Http2(shared));
            }
        }
        while let Some(resting) = open.resting.pop_back() {
            if resting.is_usable(now, REST_LIMIT) {
                return Some(Connection::Http1(resting));
            }
        }
        None
    }

    fn see_to_sweeping(self: &Arc<Self>, open: &mut Open) {
        if !std::mem::replace(&mut open.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Closes what has rested for too long, and forgets what the other side has closed.
    fn sweep(&mut self, now: Instant) {
        self.resting.retain(|resting| resting.is_usable(now, REST_LIMIT));
        self.shared.retain(|(shared, used)| {
            let rests = shared.streams() == 0 && now.duration_since(*used) >= REST_LIMIT;
            shared.is_open() && !rests
        });
    }
}

/// Sweeps a lane until nothing is left in it.
async fn sweep(lane: Weak<Lane>) {
    loop {
        sleep(SWEEP).await;
        let Some(lane) = lane.upgrade() else { return };
        let mut open = lane.lock();
        open.sweep(Instant::now());
        if open.resting.is_empty() && open.shared.is_empty() {
            open.is_swept = false;
            return;
        }
    }
}
