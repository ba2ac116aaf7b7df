//! Sockets: each response of one is a call of its own.

mod broken;
mod ended;
mod handshake;
mod metered;
mod outage;
mod owned;
mod shared;

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, Request, Response};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::harness::{Setup, World, key_of, soon};

const REALTIME: &str = "/v1/realtime?model=m";

/// A client of a socket.
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
    pub headers: HeaderMap,
}

/// What is answered to a handshake in place of a socket.
type Refusal = Box<Response<Option<Vec<u8>>>>;

/// Opens a socket at `path`; the refusal, if it is none.
async fn try_open(world: &World, path: &str, headers: &[(&str, &str)]) -> Result<Socket, Refusal> {
    try_open_at(world.gateway.address, path, headers).await
}

/// The same on any gateway.
async fn try_open_at(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Socket, Refusal> {
    let mut request = Request::builder()
        .uri(format!("ws://{address}{path}"))
        .header("host", address.to_string())
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", generate_key());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let stream = TcpStream::connect(address).await.unwrap();
    match soon("a handshake", client_async(request.body(()).unwrap(), stream)).await {
        Ok((stream, answer)) => Ok(Socket { stream, headers: answer.headers().clone() }),
        Err(Error::Http(refusal)) => Err(refusal),
        Err(error) => panic!("{error}"),
    }
}

/// Opens a socket of `account`.
async fn open(world: &World, path: &str, account: &str) -> Socket {
    let bearer = format!("Bearer {}", key_of(account));
    try_open(world, path, &[("authorization", &bearer)]).await.unwrap_or_else(|refusal| {
        panic!("{}: {:?}", refusal.status(), refusal.body().as_deref().map(String::from_utf8_lossy))
    })
}

/// The same, where the simulated provider does as `switches` say.
async fn open_sim(world: &World, path: &str, account: &str, switches: &str) -> Socket {
    let bearer = format!("Bearer {}", key_of(account));
    let headers = [("authorization", bearer.as_str()), ("x-sim", switches)];
    try_open(world, path, &headers).await.unwrap()
}

impl Socket {
    async fn say(&mut self, event: &Value) {
        self.stream.send(Message::text(event.to_string())).await.unwrap();
    }

    /// The next event; the goodbye, if that comes instead.
    async fn next(&mut self) -> Result<Value, Option<CloseFrame>> {
        loop {
            return match soon("an event", self.stream.next()).await {
                Some(Ok(Message::Text(text))) => Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Binary(bytes))) => Ok(serde_json::from_slice(&bytes).unwrap()),
                Some(Ok(Message::Close(frame))) => Err(frame),
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => Err(None),
            };
        }
    }

    /// Reads to the next event of a type, which it returns.
    async fn until(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next().await.unwrap_or_else(|end| panic!("{end:?} before {kind}"));
            if event["type"] == kind {
                return event;
            }
        }
    }

    /// Reads to the end; the goodbye's code, or nothing if there was none.
    async fn end(&mut self) -> Option<(u16, String)> {
        loop {
            match self.next().await {
                Ok(_) => {}
                Err(frame) => {
                    return frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                }
            }
        }
    }

    /// Asks for a response and reads it.
    async fn respond(&mut self) -> Value {
        self.say(&json!({ "type": "response.create" })).await;
        self.until("response.done").await
    }

    async fn close(mut self) {
        self.stream.close(None).await.unwrap();
        while self.next().await.is_ok() {}
    }
}

fn setup() -> Setup {
    Setup::new().account("a", 10)
}

/// Event of a client that asks for a response for which the simulated provider does as `switches` say.
fn create(switches: &str) -> Value {
    json!({ "type": "response.create", "response": { "metadata": { "x-sim": switches } } })
}
