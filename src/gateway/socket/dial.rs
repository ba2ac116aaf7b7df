//! The way to a provider that a WebSocket takes: HTTP/1.1 on a connection of its own.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// Opens connections that are used once.
pub struct Dial(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

impl Dial {
    /// Connects as `connector` does, which must speak HTTP/1.1 only.
    pub fn new(connector: HttpsConnector<HttpConnector>) -> Self {
        Self(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector))
    }

    /// Sends a handshake and waits for the head of its answer.
    pub async fn shake_hands(
        &self,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, hyper_util::client::legacy::Error> {
        self.0.request(request).await
    }
}
