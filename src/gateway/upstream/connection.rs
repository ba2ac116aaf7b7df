//! A connection to a provider, in either HTTP, as a task that drives it and a handle that sends on it.
//!
//! Knows nothing of the pool but that an HTTP/1.1 connection goes back to its lane when an answer has ended. The task
//! that drives it sees that first, so that nobody has to be woken or started for it.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connect::{ConnectError, Protocol, Stream};
use super::pool::Lane;
use crate::gateway::body::Outgoing;

/// The largest head of an answer, and the most that is read at once.
pub const HTTP1_BUFFER: usize = 128 * 1024;

/// Requests at once on one HTTP/2 connection, where the provider allows more.
const STREAMS: usize = 100;
/// Bytes of one answer that may be on their way or wait for its client. All streams together fit into the connection's,
/// so that a hundred slow clients can't hold up another one.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 100 * STREAM_WINDOW;

/// Silence after which a provider is asked for a sign of life while there are streams, and how long that may take.
const PING: Duration = Duration::from_secs(20);
const PING_ANSWER: Duration = Duration::from_secs(20);

/// A connection that can take a request.
pub enum Connection {
    Http1(Http1),
    Http2(Http2),
}

/// An HTTP/1.1 connection on which nothing runs.
pub struct Http1 {
    sender: http1::SendRequest<Outgoing>,
    home: Arc<Home>,
    /// Since when nothing runs on it; nothing for a new one.
    idle: Option<Instant>,
}

/// Where an HTTP/1.1 connection goes when an answer has ended.
struct Home {
    lane: Weak<Lane>,
    /// The handle, while an answer is being read.
    reading: Mutex<Option<http1::SendRequest<Outgoing>>>,
}

/// A connection that others use as well.
#[derive(Clone)]
pub struct Http2 {
    sender: http2::SendRequest<Outgoing>,
    /// Held by each running stream.
    load: Arc<()>,
    /// Streams that the provider allows at once.
    room: Arc<AtomicUsize>,
    is_new: bool,
}

/// A stream on a shared connection, for as long as its answer is being read.
#[derive(Debug)]
pub struct OpenStream(#[expect(dead_code, reason = "held for its count")] Arc<()>);

/// Why there is no answer.
pub struct Lost {
    pub error: hyper::Error,
    /// The request, if nothing of it was sent.
    pub unsent: Option<Request<Outgoing>>,
}

impl Connection {
    /// Begins to speak on `stream`. The connection lives on the current runtime.
    pub async fn open(
        stream: Stream,
        protocol: Protocol,
        lane: &Arc<Lane>,
    ) -> Result<Self, ConnectError> {
        Ok(match protocol {
            Protocol::Http1 => Self::Http1(Http1::open(stream, lane).await?),
            Protocol::Http2 => Self::Http2(Http2::open(stream).await?),
        })
    }

    pub fn protocol(&self) -> Protocol {
        match self {
            Self::Http1(_) => Protocol::Http1,
            Self::Http2(_) => Protocol::Http2,
        }
    }

    /// Whether it was made for this request.
    pub fn is_new(&self) -> bool {
        match self {
            Self::Http1(http1) => http1.idle.is_none(),
            Self::Http2(http2) => http2.is_new,
        }
    }

    /// Whether the other side may have ended it without this side knowing: a connection that was used a moment ago has not
    /// come to any server's limit.
    pub fn may_be_stale(&self) -> bool {
        const MOMENT: Duration = Duration::from_secs(1);
        match self {
            Self::Http1(http1) => http1.idle.is_some_and(|since| since.elapsed() > MOMENT),
            Self::Http2(_) => true,
        }
    }

    /// Sends `request` and waits for the head of its answer.
    pub async fn send(&mut self, request: Request<Outgoing>) -> Result<Response<Incoming>, Lost> {
        let sent = match self {
            Self::Http1(http1) => http1.sender.try_send_request(request).await,
            Self::Http2(http2) => http2.sender.try_send_request(request).await,
        };
        sent.map_err(|mut error: TrySendError<Request<Outgoing>>| {
            let unsent = error.take_message();
            Lost { error: error.into_error(), unsent }
        })
    }

    /// The head of an answer has come: the connection goes back when its body has, too.
    pub fn answered(self) -> Option<OpenStream> {
        match self {
            Self::Http1(http1) => {
                http1.goes_back();
                None
            }
            Self::Http2(http2) => Some(OpenStream(http2.load)),
        }
    }
}

impl Http1 {
    async fn open(stream: Stream, lane: &Arc<Lane>) -> Result<Self, ConnectError> {
        let mut http = http1::Builder::new();
        http.max_buf_size(HTTP1_BUFFER);
        let (sender, connection) = http.handshake(stream).await?;
        let home = Arc::new(Home { lane: Arc::downgrade(lane), reading: Mutex::default() });
        tokio::spawn(Driver { connection, home: Arc::clone(&home) });
        Ok(Self { sender, home, idle: None })
    }

    /// Whether it is open, as far as this side knows, and has not rested for longer than `limit`.
    pub fn is_usable(&self, now: Instant, limit: Duration) -> bool {
        let is_young = self.idle.is_none_or(|since| now.duration_since(since) < limit);
        is_young && !self.sender.is_closed()
    }

    fn goes_back(self) {
        let Self { sender, home, .. } = self;
        // The driver looks after each of its steps, under this lock: whichever of the two comes second sees that the
        // answer has ended.
        let mut reading = home.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if sender.is_ready() {
            drop(reading);
            Home::rest(&home, sender);
        } else {
            *reading = Some(sender);
        }
    }
}

impl Home {
    fn rest(home: &Arc<Self>, sender: http1::SendRequest<Outgoing>) {
        if let Some(lane) = home.lane.upgrade() {
            lane.rest(Http1 { sender, home: Arc::clone(home), idle: Some(Instant::now()) });
        }
    }
}

/// Moves the bytes of one HTTP/1.1 connection until it ends.
struct Driver {
    connection: http1::Connection<Stream, Outgoing>,
    home: Arc<Home>,
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = self.get_mut();
        if let Poll::Ready(ended) = Pin::new(&mut driver.connection).poll(cx) {
            if let Err(error) = ended {
                tracing::debug!(%error, "a provider's connection ended");
            }
            return Poll::Ready(());
        }
        let mut reading = driver.home.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let rests = reading.take_if(|sender| sender.is_ready());
        drop(reading);
        if let Some(sender) = rests {
            Home::rest(&driver.home, sender);
        }
        Poll::Pending
    }
}

impl Http2 {
    async fn open(stream: Stream) -> Result<Self, ConnectError> {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING_ANSWER);
        let (sender, mut connection) = http.handshake(stream).await?;
        let room = Arc::new(AtomicUsize::new(STREAMS));
        let told = Arc::clone(&room);
        tokio::spawn(async move {
            let driven = std::future::poll_fn(|cx| {
                let polled = Pin::new(&mut connection).poll(cx);
                told.store(connection.current_max_send_streams(), Ordering::Relaxed);
                polled
            });
            if let Err(error) = driven.await {
                tracing::debug!(%error, "a provider's connection ended");
            }
        });
        Ok(Self { sender, load: Arc::new(()), room, is_new: true })
    }

    /// The same connection for one more stream, if it is open and has room.
    pub fn share(&self) -> Option<Self> {
        let room = self.room.load(Ordering::Relaxed).clamp(1, STREAMS);
        let has_room = self.streams() < room;
        (has_room && self.is_open()).then(|| Self { is_new: false, ..self.clone() })
    }

    /// Whether requests can be sent on it, as far as this side knows.
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Streams that run. The pool's own handle is none of them.
    pub fn streams(&self) -> usize {
        Arc::strong_count(&self.load).saturating_sub(1)
    }

    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.load, &other.load)
    }
}
