//! A plain HTTP client.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{key_of, soon};

#[derive(Clone)]
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
}

/// A request that is being made up.
#[must_use = "it is sent by `send` or `open`"]
pub struct Ask {
    client: Client,
    request: http::request::Builder,
    body: Bytes,
}

/// An answer whose body is still coming.
pub struct Opened {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Incoming,
    /// What came of the body so far.
    pub read: Vec<u8>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Client {
    pub fn new() -> Self {
        Self { pool: Pool::builder(TokioExecutor::new()).build_http() }
    }

    /// A client that speaks HTTP/2 from the first byte.
    pub fn http2() -> Self {
        Self { pool: Pool::builder(TokioExecutor::new()).http2_only(true).build_http() }
    }

    pub fn ask(&self, to: SocketAddr, method: &str, path: &str) -> Ask {
        let request = Request::builder().method(method).uri(format!("http://{to}{path}"));
        Ask { client: self.clone(), request, body: Bytes::new() }
    }
}

impl Ask {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// The key of `account`, where most client libraries put it.
    pub fn of(self, account: &str) -> Self {
        self.bearer(&key_of(account))
    }

    pub fn bearer(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    /// What the simulated provider is to do.
    pub fn sim(self, switches: &str) -> Self {
        self.header("x-sim", switches)
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it and waits for the whole answer.
    pub async fn send(self) -> Answer {
        self.open().await.whole().await
    }

    /// Sends it and waits for the answer's head.
    pub async fn open(self) -> Opened {
        self.try_open().await.unwrap()
    }

    /// Sends it and says whether the answer broke off; before its head counts too, which is how it looks when the
    /// provider breaks off as soon as its own head is out.
    pub async fn breaks(self) -> bool {
        match self.try_open().await {
            Some(mut answer) => answer.rest().await.is_err(),
            None => true,
        }
    }

    /// Sends it; `None` if the connection broke before the answer's head.
    pub async fn try_open(self) -> Option<Opened> {
        let request = self.request.body(Full::new(self.body)).unwrap();
        let response: Response<Incoming> =
            soon("an answer's head", self.client.pool.request(request)).await.ok()?;
        let (head, body) = response.into_parts();
        Some(Opened { status: head.status, headers: head.headers, body, read: Vec::new() })
    }
}

impl Opened {
    /// Reads until the body so far contains `text`.
    pub async fn until(&mut self, text: &str) {
        assert!(self.reaches(text).await, "the body ended without {text}");
    }

    /// Reads until the body so far contains `text`; says whether it ever does.
    pub async fn reaches(&mut self, text: &str) -> bool {
        while !contains(&self.read, text.as_bytes()) {
            let Some(Ok(frame)) = soon(text, self.body.frame()).await else { return false };
            self.read.extend_from_slice(frame.data_ref().unwrap());
        }
        true
    }

    /// The rest of the body; an error if it broke off.
    pub async fn rest(&mut self) -> Result<(), hyper::Error> {
        while let Some(frame) = soon("the rest of a body", self.body.frame()).await {
            if let Ok(data) = frame?.into_data() {
                self.read.extend_from_slice(&data);
            }
        }
        Ok(())
    }

    /// The whole answer; fails if it broke off.
    pub async fn whole(mut self) -> Answer {
        self.rest().await.unwrap();
        Answer { status: self.status, headers: self.headers, body: self.read.into() }
    }

    pub fn request_id(&self) -> Option<creditgate::credit::Id> {
        let id = self.headers.get("x-credits-request-id")?;
        Some(id.to_str().unwrap().parse().unwrap())
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?} {:?}", self.status, self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The `code` of an error's body.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn sha256(&self) -> String {
        sha256(&self.body)
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(bytes, part).is_some()
}
