//! One provider: the addresses where it is found, its key at each, and the way of a call through them.
//!
//! What goes up is the canonical path that was classified, the caller's own headers without hop-by-hop ones,
//! credentials, cookies and what tells of the way through this gateway; and the provider's key. A call that fails before
//! its client has heard anything goes on to the next address, if it may be repeated there.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

mod address;
mod again;
mod connect;
mod connection;
mod handshake;
mod hops;
mod pool;

use address::{Address, Answered};
use connect::{ConnectError, Stream, Trust};
use connection::{HTTP1_BUFFER, OpenStream};

pub use handshake::{Handshake, upgrade};

use super::body::Outgoing;
use crate::config::{BaseUrl, Http2, Secret, Timeouts};
use crate::metrics::Attempts;
use crate::policy::Place;
use crate::provider::Dialect;

/// Why a provider gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The path and the query make no address.
    #[error("no address can be made of the path: {0}")]
    Target(#[source] http::uri::InvalidUri),
    /// No connection, or it broke before the head of the answer.
    #[error("no answer: {0}")]
    Away(#[source] ConnectError),
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
            Self::Target(_) => "target",
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
    /// The host can't stand in a header.
    #[error("the host of `base_url` has characters that a header can't carry")]
    Host,
}

/// What holds for all addresses of a provider.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub dialect: Dialect,
    pub http2: Http2,
    pub timeouts: Timeouts,
    /// How long an address may be silent before the next is tried.
    pub next_after: Option<Duration>,
}

/// A provider that calls can be sent to.
pub struct Upstream {
    settings: Settings,
    /// In the order in which they are tried; at least one.
    addresses: Vec<Address>,
}

/// Where a provider is found.
pub struct At {
    /// 1 is the provider's own address, then come its fallbacks as they are configured.
    pub number: u32,
    pub base: BaseUrl,
    /// Its key there; `None` if it needs none.
    pub key: Option<Secret>,
    /// Counts what becomes of the tries.
    pub attempts: Attempts,
}

/// A call on its way to a provider.
pub struct Call<'a> {
    pub method: Method,
    pub place: &'a Place<'a>,
    /// Without the caller's key.
    pub query: Option<&'a str>,
    /// As the caller sent them.
    pub headers: HeaderMap,
    pub body: Outgoing,
    /// It is work: its answer is looked at, and so must not be compressed.
    pub metered: bool,
}

/// How a call fared on its way.
#[derive(Debug, Default)]
pub struct Tries {
    /// Addresses that were tried.
    pub count: u32,
    /// The one that was tried last: 1 is the provider's own, then come its fallbacks.
    pub address: u32,
    /// The answer's place on a connection that it shares with others.
    stream: Option<OpenStream>,
}

impl Upstream {
    /// A provider whose calls go to `first`, and to `fallbacks` if they fail.
    pub fn new(
        settings: Settings,
        first: At,
        fallbacks: Vec<At>,
    ) -> Result<Self, UpstreamSetupError> {
        let is_tls = first.base.is_tls() || fallbacks.iter().any(|at| at.base.is_tls());
        let all = std::iter::once(first).chain(fallbacks);
        let trust = if is_tls {
            Trust::of_system().map_err(UpstreamSetupError::Certificates)?
        } else {
            // No certificate is ever looked at: plain connections only.
            Trust::nobody()
        };
        let addresses: Result<_, _> = all.map(|at| Address::new(at, &settings, &trust)).collect();
        Ok(Self { settings, addresses: addresses? })
    }

    /// The key at the provider's own address.
    pub fn key(&self) -> Option<&[u8]> {
        self.addresses.first()?.key()
    }

    /// Sends a call and waits for the head of its answer; notes in `tries` how that went. Where all addresses fail, the
    /// last answer that came is passed on.
    pub async fn send(
        &self,
        mut call: Call<'_>,
        tries: &mut Tries,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let until = Instant::now() + self.settings.timeouts.header;
        // The bytes may be needed until there is an answer.
        let _budget = call.body.take_budget();
        let sorted;
        let order = if self.may_move(&call) {
            sorted = self.order();
            sorted.as_slice()
        } else {
            &[0]
        };
        let (place, query) = (call.place, call.query);
        let may_be_repeated = again::may_be_repeated(&call.method);
        let mut request = Some(Self::request(call));
        let mut answer = None;
        for (position, index) in order.iter().enumerate() {
            let is_last = position + 1 == order.len();
            let copied = request.as_ref().filter(|_| !is_last).and_then(address::copy);
            let Some(request) = copied.or_else(|| request.take()) else { break };
            let address = &self.addresses[*index];
            let limit = if is_last { None } else { self.settings.next_after };
            let attempt = Attempt { place, query, request, may_be_repeated, until, limit };
            tries.count += 1;
            let outcome = self.attempt(address, attempt).await;
            let is_last = is_last || Instant::now() >= until;
            let (provider, number, host) =
                (place.provider.as_str(), address.number, address.host());
            match outcome {
                Ok(answered) if is_last || !is_failure(answered.0.status()) => {
                    return Ok(tries.passed(number, answered));
                }
                Err(error) if is_last => {
                    tries.address = number;
                    return answer.map_or(Err(error), |(number, answered)| {
                        Ok(tries.passed(number, answered))
                    });
                }
                Ok(answered) => {
                    let status = answered.0.status().as_u16();
                    tracing::warn!(
                        provider,
                        address = number,
                        host,
                        status,
                        "a provider failed; its next address is tried"
                    );
                    answer = Some((number, answered));
                }
                Err(error) => {
                    let error = error.in_full();
                    tracing::warn!(
                        provider,
                        address = number,
                        host,
                        error,
                        "a provider failed; its next address is tried"
                    );
                }
            }
        }
        // Not reached: the last of at least one address returns.
        Err(UpstreamError::Slow(self.settings.timeouts.header))
    }

    /// A new connection to the provider's own address, on which HTTP/1.1 is spoken: for what is more than a request and
    /// an answer.
    async fn dial_http1(&self) -> Result<Stream, UpstreamError> {
        let limit = self.settings.timeouts.connect;
        match tokio::time::timeout(limit, self.addresses[0].dial_http1()).await {
            Ok(dialed) => dialed.map_err(UpstreamError::Away),
            Err(_) => Err(UpstreamError::Slow(limit)),
        }
    }

    /// Whether a call may go to another address than the first, if there is one.
    fn may_move(&self, call: &Call<'_>) -> bool {
        let body = if self.addresses.len() > 1 && call.metered { call.body.bytes() } else { None };
        body.is_some_and(|body| again::may_move(call.place.route.operation, &body))
    }

    /// The addresses by number, with those last that failed a moment ago.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.addresses.len()).collect();
        order.sort_by_cached_key(|index| self.addresses[*index].rests());
        order
    }

    /// The request as every address gets it; what is still missing differs.
    fn request(call: Call<'_>) -> Request<Outgoing> {
        let Call { method, mut headers, body, metered, .. } = call;
        hops::clean_request(&mut headers);
        if metered {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        request
    }

    async fn attempt(
        &self,
        address: &Address,
        attempt: Attempt<'_>,
    ) -> Result<Answered, UpstreamError> {
        let Attempt { place, query, mut request, may_be_repeated, until, limit } = attempt;
        let dialect = self.settings.dialect;
        let path = dialect.below(address.path(), &place.path);
        let target = target(path, query).map_err(UpstreamError::Target)?;
        address.write_key(dialect.credential(place.route.language), request.headers_mut());
        let until = limit.map_or(until, |limit| until.min(Instant::now() + limit));
        let sent = address.send(&target, request, may_be_repeated);
        match timeout_at(until, sent).await {
            Ok(Ok(answered)) => {
                let attempts = &address.attempts;
                let failed = is_failure(answered.0.status());
                if failed { &attempts.failed } else { &attempts.answered }.inc();
                address.gave(&answered.0);
                Ok(answered)
            }
            Ok(Err(error)) => {
                address.attempts.away.inc();
                address.gave_none();
                Err(UpstreamError::Away(error))
            }
            Err(_) => {
                address.attempts.slow.inc();
                address.gave_none();
                Err(UpstreamError::Slow(limit.unwrap_or(self.settings.timeouts.header)))
            }
        }
    }
}

/// One try of a call.
struct Attempt<'a> {
    place: &'a Place<'a>,
    query: Option<&'a str>,
    request: Request<Outgoing>,
    may_be_repeated: bool,
    /// The end of all tries together, and how long this one may take.
    until: Instant,
    limit: Option<Duration>,
}

impl Tries {
    fn passed(&mut self, number: u32, (mut response, stream): Answered) -> Response<Incoming> {
        (self.address, self.stream) = (number, stream);
        hops::clean_answer(response.headers_mut());
        response
    }
}

/// Whether an answer says that the work can't be done now, so that another address may do it.
fn is_failure(status: StatusCode) -> bool {
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::NOT_IMPLEMENTED => false,
        other => other.is_server_error(),
    }
}

fn target(path: String, query: Option<&str>) -> Result<PathAndQuery, http::uri::InvalidUri> {
    let mut target = path;
    if target.is_empty() {
        target.push('/');
    }
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        target.push('?');
        target.push_str(query);
    }
    PathAndQuery::from_maybe_shared(Bytes::from(target))
}
