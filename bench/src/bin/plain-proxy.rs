//! The least that a reverse proxy on hyper does: it puts the provider's key in place of the caller's, and passes on.
//!
//! One thread, connections to the provider that are kept. What creditgate costs beside it is what creditgate adds.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use clap::Parser;
use http_body_util::{Either, Empty};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONNECTION, HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

#[derive(Parser)]
struct Arguments {
    /// Where it listens, on 127.0.0.1.
    port: u16,
    provider: SocketAddr,
}

type Connections = Rc<RefCell<Vec<SendRequest<Incoming>>>>;
type Answer = Response<Either<Kept, Empty<Bytes>>>;

/// The provider, and the connections to it that nobody uses.
struct Upstream {
    address: SocketAddr,
    host: HeaderValue,
    idle: Connections,
}

/// The body of an answer. Its connection can be used again when it has ended.
struct Kept {
    body: Incoming,
    connection: Option<SendRequest<Incoming>>,
    idle: Connections,
    ended: bool,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&runtime, serve(arguments))
}

async fn serve(arguments: Arguments) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", arguments.port)).await?;
    let address = arguments.provider;
    let host = HeaderValue::from_str(&address.to_string()).map_err(io::Error::other)?;
    let upstream = Rc::new(Upstream { address, host, idle: Connections::default() });
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let upstream = upstream.clone();
        let pass = service_fn(move |request| {
            let upstream = upstream.clone();
            async move { Ok::<_, Infallible>(upstream.pass(request).await.unwrap_or_else(|_| failed())) }
        });
        spawn_local(http1::Builder::new().serve_connection(TokioIo::new(stream), pass));
    }
}

impl Upstream {
    async fn pass(&self, mut request: Request<Incoming>) -> Result<Answer, Failure> {
        let headers = request.headers_mut();
        headers.remove(CONNECTION);
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer sk-provider"));
        headers.insert(HOST, self.host.clone());
        let mut connection = self.connection().await?;
        let (mut head, body) = connection.send_request(request).await?.into_parts();
        head.headers.remove(CONNECTION);
        let idle = self.idle.clone();
        let body = Kept { body, connection: Some(connection), idle, ended: false };
        Ok(Response::from_parts(head, Either::Left(body)))
    }

    async fn connection(&self) -> Result<SendRequest<Incoming>, Failure> {
        loop {
            let kept = self.idle.borrow_mut().pop();
            let Some(mut kept) = kept else { break };
            if kept.ready().await.is_ok() {
                return Ok(kept);
            }
        }
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (connection, driver) = handshake(TokioIo::new(stream)).await?;
        spawn_local(driver);
        Ok(connection)
    }
}

/// Why an answer did not come; nobody is told more than that.
struct Failure;

impl<E: std::error::Error> From<E> for Failure {
    fn from(_: E) -> Self {
        Self
    }
}

fn failed() -> Answer {
    let mut answer = Response::new(Either::Right(Empty::new()));
    *answer.status_mut() = StatusCode::BAD_GATEWAY;
    answer
}

impl Body for Kept {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.ended |= matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.ended || self.body.is_end_stream() {
            self.idle.borrow_mut().extend(self.connection.take());
        }
    }
}
