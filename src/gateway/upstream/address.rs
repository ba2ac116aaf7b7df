//! One address of a provider with one key: sends a request there on an open connection or a new one, and remembers for a
//! while that it failed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, HOST, HeaderValue, RETRY_AFTER};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;

use super::connect::{ConnectError, Dialer, Protocol, Stream, Trust};
use super::connection::{Lost, OpenStream};
use super::pool::Pool;
use super::{At, Settings, UpstreamSetupError};
use crate::config::{BaseUrl, Secret};
use crate::gateway::body::Outgoing;
use crate::metrics::Attempts;
use crate::provider::Credential;

/// How long an address is tried last that gave no answer.
const NO_ANSWER_REST: Duration = Duration::from_secs(10);
/// The longest that its own `Retry-After` is heeded.
const LONGEST_REST: Duration = Duration::from_mins(1);

/// One address of a provider, and its key there.
pub struct Address {
    pub number: u32,
    base: BaseUrl,
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
    key: Option<Key>,
    pool: Pool,
    /// When it was made; the clock of `rests_until`.
    made: Instant,
    /// Milliseconds since then, until which it is tried last.
    rests_until: AtomicU64,
    pub attempts: Attempts,
}

/// An answer whose head has come.
pub type Answered = (Response<Incoming>, Option<OpenStream>);

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

impl Address {
    /// The address `at`.
    pub fn new(at: At, settings: &Settings, trust: &Trust) -> Result<Self, UpstreamSetupError> {
        let At { number, base, key, attempts } = at;
        let (scheme, port) =
            if base.is_tls() { (Scheme::HTTPS, ":443") } else { (Scheme::HTTP, ":80") };
        // As every client says it: without the port that goes without saying.
        let name = base.authority().strip_suffix(port).unwrap_or(base.authority());
        let authority = Authority::try_from(name).map_err(|_| UpstreamSetupError::Host)?;
        let host = HeaderValue::try_from(name).map_err(|_| UpstreamSetupError::Host)?;
        let dialer = Dialer::new(&base, settings.http2, trust);
        Ok(Self {
            number,
            pool: Pool::new(dialer, settings.timeouts.connect),
            key: key.as_ref().map(Key::new).transpose()?,
            made: Instant::now(),
            rests_until: AtomicU64::new(0),
            base,
            scheme,
            authority,
            host,
            attempts,
        })
    }

    /// Host and port.
    pub fn host(&self) -> &str {
        self.authority.as_str()
    }

    /// The path before every path.
    pub fn path(&self) -> &str {
        self.base.path()
    }

    /// The key, if it needs one.
    pub fn key(&self) -> Option<&[u8]> {
        self.key.as_ref().map(|key| key.plain.as_bytes())
    }

    /// Puts the key where `credential` says, if the address needs one.
    pub fn write_key(&self, credential: Credential, headers: &mut HeaderMap) {
        if let Some(key) = &self.key {
            key.write(credential, headers);
        }
    }

    /// A connection of one's own, on which HTTP/1.1 is spoken.
    pub async fn dial_http1(&self) -> Result<Stream, ConnectError> {
        self.pool.dialer().dial_http1().await
    }

    /// Sends `request` and waits for the head of its answer. A connection may turn out to have been closed; then the
    /// request is sent once more, on a new one, if the provider surely did not work on it or `may_be_repeated`.
    pub async fn send(
        &self,
        target: &PathAndQuery,
        mut request: Request<Outgoing>,
        may_be_repeated: bool,
    ) -> Result<Answered, ConnectError> {
        let mut again = false;
        loop {
            let mut connection = self.pool.take(again).await?;
            self.address(&mut request, target, connection.protocol());
            let copy = if connection.may_be_stale() { copy(&request) } else { None };
            let Lost { error, unsent } = match connection.send(request).await {
                Ok(response) => return Ok((response, connection.answered())),
                Err(lost) => lost,
            };
            let is_untouched = is_untouched(&error);
            if !is_refused(&error) {
                self.pool.forget(&connection);
            }
            let copy = copy.filter(|_| is_untouched || may_be_repeated);
            // What a new connection loses is lost for another reason than its age.
            let may_go_on = !again && (is_untouched || !connection.is_new());
            match unsent.or(copy).filter(|_| may_go_on) {
                Some(whole) => request = whole,
                None => return Err(error.into()),
            }
            again = true;
        }
    }

    /// Whether it failed a moment ago.
    pub fn rests(&self) -> bool {
        let until = self.rests_until.load(Ordering::Relaxed);
        until != 0 && millis(self.made.elapsed()) < until
    }

    /// It gave no answer.
    pub fn gave_none(&self) {
        self.rest(NO_ANSWER_REST);
    }

    /// It answered `response`. Whoever asks to be left alone is left alone; whoever works need not rest.
    pub fn gave(&self, response: &Response<Incoming>) {
        let asks = matches!(
            response.status(),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        if asks && let Some(pause) = retry_after(response.headers()) {
            self.rest(pause.min(LONGEST_REST));
        } else if response.status().is_success() && self.rests_until.load(Ordering::Relaxed) != 0 {
            self.rests_until.store(0, Ordering::Relaxed);
        }
    }

    fn rest(&self, pause: Duration) {
        self.rests_until.store(millis(self.made.elapsed() + pause), Ordering::Relaxed);
    }

    /// HTTP/1.1 has the path in its first line and the host in a header; HTTP/2 has the whole address (RFC 9112 section
    /// 3.2.1, RFC 9113 section 8.3.1).
    pub fn address<B>(&self, request: &mut Request<B>, target: &PathAndQuery, to: Protocol) {
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = Some(target.clone());
        if to == Protocol::Http2 {
            parts.scheme = Some(self.scheme.clone());
            parts.authority = Some(self.authority.clone());
            request.headers_mut().remove(HOST);
        } else {
            request.headers_mut().insert(HOST, self.host.clone());
        }
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    }
}

/// The same request once more, if its body can be had twice.
pub fn copy(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    let mut copy = Request::new(request.body().again()?);
    request.method().clone_into(copy.method_mut());
    request.uri().clone_into(copy.uri_mut());
    request.headers().clone_into(copy.headers_mut());
    Some(copy)
}

/// Whether the provider says that it did not begin: a stream that it refused, or one beyond the last that it took before
/// it closed the connection in good order (RFC 9113 sections 6.8 and 8.7).
fn is_untouched(error: &hyper::Error) -> bool {
    let h2 = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    is_refused(error)
        || h2.is_some_and(|h2| {
            h2.is_go_away() && h2.is_remote() && h2.reason() == Some(h2::Reason::NO_ERROR)
        })
}

/// Whether one stream was refused, and the connection goes on.
fn is_refused(error: &hyper::Error) -> bool {
    let h2 = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    h2.is_some_and(|h2| h2.is_reset() && h2.reason() == Some(h2::Reason::REFUSED_STREAM))
}

/// What `Retry-After` asks for in seconds. A date is not looked at: clocks differ.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
