//! Accepts connections and speaks HTTP/1.1 and HTTP/2 on them until told to stop.
//!
//! Knows nothing of routes, callers or credits: it hands requests to a service and bodies back. Every
//! resource that a peer can take here has a limit: connections, header bytes, and the time to send a head.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt};

use crate::cores::Core;

/// The longest pause between two failed accepts (the usual cause is a full table of file descriptors).
const ACCEPT_BACKOFF_MAX: Duration = Duration::from_secs(1);

/// What a client begins with that speaks HTTP/2 (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The pause before a client's first bytes are looked at again which may yet become that; each is twice as long as the
/// one before, so that a client who stays at that costs nothing.
const PREFACE_PAUSE: Duration = Duration::from_millis(1);

/// What one listener may spend on its peers.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections open at once; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Bytes of a request head. HTTP/1.1 answers 431 beyond it.
    pub head_bytes: usize,
    /// Time in which a peer must have sent a request head.
    pub head_timeout: Duration,
    /// Time that requests in flight get to end after the stop signal.
    pub drain: Duration,
}

/// Serves `listener` until `stop`, then lets open requests finish within `limits.drain`. What `connected` returns for a
/// connection is dropped when the connection ends. Connections are shared out among `cores`; without any they stay here.
pub async fn serve<S, B, G>(
    listener: TcpListener,
    limits: Limits,
    service: S,
    connected: impl Fn() -> G,
    cores: &[Core],
    stop: CancellationToken,
) where
    G: Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Failure>,
{
    let permits = Arc::new(Semaphore::new(limits.connections));
    let http = Arc::new(Http::new(limits));
    let (tasks, cut) = (TaskTracker::new(), CancellationToken::new());
    let mut backoff = Duration::from_millis(5);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &permits) => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection; trying again in {backoff:?}");
                sleep(backoff).await;
                backoff = (backoff * 2).min(ACCEPT_BACKOFF_MAX);
                continue;
            }
        };
        backoff = Duration::from_millis(5);
        let (core, place) = Core::least_busy(cores).unzip();
        let runtime = core.map_or_else(Handle::current, |core| core.runtime().clone());
        // The runtime that serves it is the one that watches it.
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be handed over");
                continue;
            }
        };
        let (http, service, guard) = (Arc::clone(&http), service.clone(), connected());
        let (stop, cut) = (stop.clone(), cut.clone());
        let serving = async move {
            if let Err(error) = http.serve(stream, service, &stop, &cut).await {
                tracing::debug!(error, "connection ended early");
            }
            drop((permit, guard, place));
        };
        tasks.spawn_on(serving, &runtime);
    }
    drop(listener);
    tasks.close();
    if timeout(limits.drain, tasks.wait()).await.is_err() {
        tracing::warn!("requests still open after {:?} are cut", limits.drain);
    }
    // What runs now has had its time. Every answer's guard is dropped before this returns.
    cut.cancel();
    tasks.wait().await;
}

/// What goes wrong on a connection.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How HTTP is spoken on the connections of one listener.
struct Http {
    first: http1::Builder,
    second: http2::Builder<TokioExecutor>,
    head_timeout: Duration,
}

impl Http {
    fn new(limits: Limits) -> Self {
        let mut first = http1::Builder::new();
        first
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_timeout)
            .max_buf_size(limits.head_bytes.max(8192));
        let mut second = http2::Builder::new(TokioExecutor::new());
        second
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX));
        Self { first, second, head_timeout: limits.head_timeout }
    }

    /// Serves one connection until it ends; after `stop`, until its requests have ended; at most until `cut`.
    async fn serve<S, B>(
        &self,
        stream: std::net::TcpStream,
        service: S,
        stop: &CancellationToken,
        cut: &CancellationToken,
    ) -> Result<(), Failure>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send + 'static,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Failure>,
    {
        let stream = TcpStream::from_std(stream)?;
        // Small frames of a stream must not wait for an acknowledgement (Nagle).
        let _ = stream.set_nodelay(true);
        let is_http2 = tokio::select! {
            biased;
            told = timeout(self.head_timeout, speaks_http2(&stream)) => told??,
            () = stop.cancelled() => return Ok(()),
        };
        let stream = TokioIo::new(stream);
        if !is_http2 {
            let service = TowerToHyperService::new(service);
            let connection = self.first.serve_connection(stream, service).with_upgrades();
            return Ok(drive(
                connection,
                http1::UpgradeableConnection::graceful_shutdown,
                stop,
                cut,
            )
            .await?);
        }
        let begun = Arc::new(AtomicBool::new(false));
        let first = Arc::clone(&begun);
        let service = service.map_request(move |request: Request<Incoming>| {
            first.store(true, Ordering::Relaxed);
            request
        });
        let connection = self.second.serve_connection(stream, TowerToHyperService::new(service));
        // Boxed, so that the task of a connection that speaks HTTP/1.1 has no room for it.
        let driven = Box::pin(drive(connection, http2::Connection::graceful_shutdown, stop, cut));
        tokio::select! {
            biased;
            ended = driven => Ok(ended?),
            () = late(self.head_timeout, begun) => Err("no request came".into()),
        }
    }
}

/// Whether a client's first bytes are those of HTTP/2. They are looked at and not taken, so that the connection is
/// read by one reader alone.
async fn speaks_http2(stream: &TcpStream) -> io::Result<bool> {
    let (mut first, mut pause) = ([0; PREFACE.len()], PREFACE_PAUSE);
    loop {
        let come = stream.peek(&mut first).await?;
        if come == 0 || !PREFACE.starts_with(&first[..come]) {
            return Ok(false);
        }
        if come == PREFACE.len() {
            return Ok(true);
        }
        sleep(pause).await;
        pause *= 2;
    }
}

/// Drives a connection until it ends. After `stop` it takes no further request, which `end` sees to.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    connection: C,
    end: impl FnOnce(Pin<&mut C>),
    stop: &CancellationToken,
    cut: &CancellationToken,
) -> hyper::Result<()> {
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        () = stop.cancelled() => end(connection.as_mut()),
    }
    tokio::select! {
        biased;
        ended = connection => ended,
        () = cut.cancelled() => Ok(()),
    }
}

/// Returns when `limit` has passed before `begun`: hyper has no such limit of its own for HTTP/2.
async fn late(limit: Duration, begun: Arc<AtomicBool>) {
    sleep(limit).await;
    if begun.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed: it lives as long as this loop");
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}
