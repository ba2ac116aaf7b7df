//! One provider: its address, its key, and the headers that may pass in each direction.
//!
//! What goes up is the canonical path that was classified, the caller's own headers without hop-by-hop ones,
//! credentials, cookies and what tells of the way through this gateway; and the provider's key.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName,
    HeaderValue,
};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::body::Outgoing;
use super::socket::Dial;
use crate::config::{BaseUrl, Secret, Timeouts};
use crate::policy::Place;
use crate::provider::{Credential, Dialect, credentials};

/// Connections that wait for their next call, for each provider.
const IDLE_CONNECTIONS: usize = 1024;
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// Concern one hop only (RFC 9110 section 7.6.1), beside what `Connection` names.
static HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("te"),
    HeaderName::from_static("trailer"),
    HeaderName::from_static("transfer-encoding"),
    HeaderName::from_static("upgrade"),
];

/// Of no concern to a provider: who the caller is and which way it came (providers.md sections 4.1 and 4.2).
static PRIVATE: [HeaderName; 11] = [
    HOST,
    CONTENT_LENGTH,
    EXPECT,
    HeaderName::from_static("cookie"),
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("via"),
    HeaderName::from_static("x-real-ip"),
    // Name the organisation or the project of a provider key that is not the caller's.
    HeaderName::from_static("openai-organization"),
    HeaderName::from_static("openai-project"),
    HeaderName::from_static("x-goog-user-project"),
    HeaderName::from_static("x-amz-security-token"),
];

/// Beginnings of header names that stay here.
const PRIVATE_PREFIXES: [&str; 3] = ["x-credits-", "x-forwarded-", "cf-"];

/// Of no concern to a caller: the provider's cookies, its organisation, and the capacity that all accounts share.
const PROVIDERS_OWN: [&str; 5] = [
    "set-cookie",
    "openai-organization",
    "openai-project",
    "anthropic-organization-id",
    "anthropic-workspace-id",
];
const PROVIDERS_OWN_PREFIXES: [&str; 3] = ["x-credits-", "x-ratelimit-", "anthropic-ratelimit-"];

/// Why a provider gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection, or it broke before the head of the answer.
    #[error("no answer: {0}")]
    Away(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No head of an answer in time.
    #[error("no answer within {0:?}")]
    Slow(Duration),
}

impl UpstreamError {
    /// What happened, with every cause behind it.
    pub fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self).and_then(std::error::Error::source);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }

    /// The failure's name in metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Away(_) => "away",
            Self::Slow(_) => "slow",
        }
    }
}

/// Why a provider can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamSetupError {
    /// TLS is needed and no certificate of an authority was found.
    #[error(
        "no trusted certificates were found for `https`: install the `ca-certificates` package ({0})"
    )]
    Certificates(std::io::Error),
    /// The key can't stand in a header.
    #[error(
        "the provider's key has characters that a header can't carry: check for line breaks around it"
    )]
    Key,
}

/// A provider that calls can be sent to.
pub struct Upstream {
    dialect: Dialect,
    timeouts: Timeouts,
    base: BaseUrl,
    key: Option<Key>,
    client: Client<HttpsConnector<HttpConnector>, Outgoing>,
    sockets: Dial,
}

/// A provider's key, ready to be sent in either way.
struct Key {
    plain: HeaderValue,
    bearer: HeaderValue,
}

impl Key {
    fn new(secret: &Secret) -> Result<Self, UpstreamSetupError> {
        let value = |text: &str| {
            let mut value = HeaderValue::from_str(text).map_err(|_| UpstreamSetupError::Key)?;
            value.set_sensitive(true);
            Ok(value)
        };
        let plain = value(secret.expose())?;
        Ok(Self { plain, bearer: value(&format!("Bearer {}", secret.expose()))? })
    }

    fn write(&self, credential: Credential, headers: &mut HeaderMap) {
        match credential {
            Credential::Bearer => drop(headers.insert(AUTHORIZATION, self.bearer.clone())),
            Credential::Header(name) => drop(headers.insert(name, self.plain.clone())),
            Credential::Headers(names) => {
                for name in names {
                    headers.insert(name, self.plain.clone());
                }
            }
        }
    }
}

impl Upstream {
    /// A provider at `base` that accepts `key`.
    pub fn new(
        dialect: Dialect,
        base: BaseUrl,
        key: Option<&Secret>,
        timeouts: Timeouts,
    ) -> Result<Self, UpstreamSetupError> {
        let key = key.map(Key::new).transpose()?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(timeouts.connect));
        let connector = hyper_rustls::HttpsConnectorBuilder::new();
        let connector = if base.is_tls() {
            connector.with_native_roots().map_err(UpstreamSetupError::Certificates)?
        } else {
            // No certificate is ever looked at: plain connections only.
            connector.with_tls_config(no_tls())
        };
        let connector = connector.https_or_http().enable_http1().wrap_connector(http);
        let sockets = Dial::new(connector.clone());
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(connector);
        Ok(Self { dialect, timeouts, base, key, client, sockets })
    }

    /// Sends a call and waits for the head of its answer.
    pub async fn send(
        &self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let limit = self.timeouts.header;
        match tokio::time::timeout(limit, self.client.request(request)).await {
            Ok(Ok(mut response)) => {
                clean_answer(response.headers_mut());
                Ok(response)
            }
            Ok(Err(error)) => Err(UpstreamError::Away(error.into())),
            Err(_) => Err(UpstreamError::Slow(limit)),
        }
    }

    /// Sends the handshake of a WebSocket and waits for the head of its answer.
    pub async fn shake_hands(
        &self,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let limit = self.timeouts.header;
        let answer = tokio::time::timeout(limit, self.sockets.shake_hands(request)).await;
        let mut response = answer.map_err(|_| UpstreamError::Slow(limit))??;
        clean_answer(response.headers_mut());
        Ok(response)
    }

    /// The request as the provider gets it. `plain_answer`: the answer must not be compressed, since its events are
    /// looked at.
    pub fn request(
        &self,
        method: Method,
        place: &Place<'_>,
        query: Option<&str>,
        mut headers: HeaderMap,
        body: Outgoing,
        plain_answer: bool,
    ) -> Result<Request<Outgoing>, http::Error> {
        clean_request(&mut headers);
        if let Some(key) = &self.key {
            key.write(self.dialect.credential(place.route.language), &mut headers);
        }
        if plain_answer {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = self.uri(place, query)?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn uri(&self, place: &Place<'_>, query: Option<&str>) -> Result<Uri, http::Error> {
        let path = self.dialect.below(self.base.path(), &place.path);
        let scheme = if self.base.is_tls() { "https" } else { "http" };
        let target = match query.filter(|query| !query.is_empty()) {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        Uri::builder()
            .scheme(scheme)
            .authority(self.base.authority())
            .path_and_query(if target.is_empty() { "/".to_owned() } else { target })
            .build()
    }
}

fn no_tls() -> rustls::ClientConfig {
    rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

fn clean_request(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    for name in PRIVATE.iter().chain(&credentials::HEADERS) {
        headers.remove(name);
    }
    remove_prefixed(headers, &PRIVATE_PREFIXES);
}

fn clean_answer(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    for name in PROVIDERS_OWN {
        headers.remove(name);
    }
    remove_prefixed(headers, &PROVIDERS_OWN_PREFIXES);
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn remove_prefixed(headers: &mut HeaderMap, prefixes: &[&str]) {
    let private =
        |name: &&HeaderName| prefixes.iter().any(|start| name.as_str().starts_with(start));
    let found: Vec<HeaderName> = headers.keys().filter(private).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}
