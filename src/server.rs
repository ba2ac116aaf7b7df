//! Accepts connections and speaks HTTP/1.1 and HTTP/2 on them until told to stop.
//!
//! Knows nothing of routes, callers or credits: it hands requests to a service and bodies back. Every
//! resource that a peer can take here has a limit: connections, header bytes, and the time to send a head.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt};

use crate::cores::Core;

/// The longest pause between two failed accepts (the usual cause is a full table of file descriptors).
const ACCEPT_BACKOFF_MAX: Duration = Duration::from_secs(1);

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
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let permits = Arc::new(Semaphore::new(limits.connections));
    let http = Arc::new(http(limits));
    let open = GracefulShutdown::new();
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
                tokio::time::sleep(backoff).await;
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
        let begun = Arc::new(AtomicBool::new(false));
        let first = Arc::clone(&begun);
        let service = service.clone().map_request(move |request: Request<Incoming>| {
            first.store(true, Ordering::Relaxed);
            request
        });
        let service = TowerToHyperService::new(service);
        let http = Arc::clone(&http);
        let (watcher, cut, guard) = (open.watcher(), cut.clone(), connected());
        let serving = async move {
            let Ok(stream) = TcpStream::from_std(stream) else { return };
            // Small frames of a stream must not wait for an acknowledgement (Nagle).
            let _ = stream.set_nodelay(true);
            let connection = http.serve_connection_with_upgrades(TokioIo::new(stream), service);
            let connection = watcher.watch(connection.into_owned());
            tokio::select! {
                biased;
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended early");
                },
                () = cut.cancelled() => {}
                () = late(limits.head_timeout, begun) => {
                    tracing::debug!("a connection without a request was closed");
                }
            }
            drop((permit, guard, place));
        };
        tasks.spawn_on(serving, &runtime);
    }
    drop(listener);
    if tokio::time::timeout(limits.drain, open.shutdown()).await.is_err() {
        tracing::warn!("requests still open after {:?} are cut", limits.drain);
    }
    // What runs now has had its time. Every answer's guard is dropped before this returns.
    cut.cancel();
    tasks.close();
    tasks.wait().await;
}

/// Returns when `limit` has passed before `begun`. hyper's own limit on a head starts only when the first bytes have
/// shown which version of HTTP they are, so that it never ends a connection on which nothing comes.
async fn late(limit: Duration, begun: Arc<AtomicBool>) {
    tokio::time::sleep(limit).await;
    if begun.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed: it lives as long as this loop");
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

fn http(limits: Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.head_bytes.max(8192));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX));
    builder
}
