//! Opens connections to one address: name, TCP, TLS, and which HTTP is spoken on them.

use std::time::Duration;

use http::Uri;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower::ServiceExt;

use crate::config::{BaseUrl, Http2};

/// Silence after which the kernel asks whether the other side is still there, the pause between its questions, and how
/// many of them may go unanswered. Routers that translate addresses forget silent connections, some after a minute; a
/// model that thinks is silent for longer.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_PAUSE: Duration = Duration::from_secs(15);
const KEEPALIVE_UNANSWERED: u32 = 4;

/// How long sent bytes may go unacknowledged. A peer that vanished is noticed so, where the kernel would try for a
/// quarter of an hour.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// A connection, with TLS or without.
pub type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Why there is no connection.
pub type ConnectError = Box<dyn std::error::Error + Send + Sync>;

/// Which HTTP a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// Whose certificates are trusted.
#[derive(Clone)]
pub struct Trust(ClientConfig);

impl Trust {
    /// The system's authorities, or those of the file in `SSL_CERT_FILE`.
    ///
    /// # Errors
    /// There are none.
    pub fn of_system() -> std::io::Result<Self> {
        let config = ClientConfig::builder().with_native_roots()?;
        Ok(Self(config.with_no_client_auth()))
    }

    /// Nobody's: for plain connections.
    pub fn nobody() -> Self {
        let config = ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty());
        Self(config.with_no_client_auth())
    }
}

/// Opens connections to one address.
pub struct Dialer {
    uri: Uri,
    http2: Http2,
    connector: HttpsConnector<HttpConnector>,
    /// Offers a server HTTP/1.1 only.
    http1: HttpsConnector<HttpConnector>,
}

impl Dialer {
    /// Connections to `base`.
    pub fn new(base: &BaseUrl, http2: Http2, trust: &Trust) -> Self {
        let tls = || HttpsConnectorBuilder::new().with_tls_config(trust.0.clone()).https_or_http();
        let http1 = tls().enable_http1().wrap_connector(tcp());
        let connector = match http2 {
            Http2::Auto => tls().enable_all_versions().wrap_connector(tcp()),
            Http2::Only => tls().enable_http2().wrap_connector(tcp()),
            Http2::Off => http1.clone(),
        };
        Self { uri: base.uri().clone(), http2, connector, http1 }
    }

    /// Whether all connections speak this protocol, whatever the other side says.
    pub fn speaks(&self) -> Option<Protocol> {
        match self.http2 {
            Http2::Only => Some(Protocol::Http2),
            Http2::Off => Some(Protocol::Http1),
            Http2::Auto if self.uri.scheme() == Some(&http::uri::Scheme::HTTP) => {
                Some(Protocol::Http1)
            }
            Http2::Auto => None,
        }
    }

    /// A new connection, and what is spoken on it.
    pub async fn dial(&self) -> Result<(Stream, Protocol), ConnectError> {
        let stream = self.connector.clone().oneshot(self.uri.clone()).await?;
        let protocol = self.speaks().unwrap_or_else(|| {
            if stream.connected().is_negotiated_h2() { Protocol::Http2 } else { Protocol::Http1 }
        });
        Ok((stream, protocol))
    }

    /// A new connection that speaks HTTP/1.1, for what HTTP/2 has no words for.
    pub async fn dial_http1(&self) -> Result<Stream, ConnectError> {
        self.http1.clone().oneshot(self.uri.clone()).await
    }
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE_PAUSE));
    tcp.set_keepalive_retries(Some(KEEPALIVE_UNANSWERED));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    tcp
}
