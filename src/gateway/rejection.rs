//! Every reason to say no, and how it is said: status, body in the dialect, retry headers, metric label.
//!
//! The rules of what makes a client library raise once and stop, or wait and try again, are those of providers.md
//! sections 0.1 to 0.3: 401, 402 and 403 carry `x-should-retry: false` and never a `Retry-After` (but for credits that
//! running calls hold, which come back by themselves); 429 and 503 carry a `Retry-After` of 1 to 30 seconds.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};

use super::peek::Malformed;
use super::upstream::UpstreamError;
use crate::coding::{Coding, Undecodable, Unsupported};
use crate::config::WhenExhausted;
use crate::credit::{Refusal as Hold, Repeated};
use crate::ledger::LedgerError;
use crate::policy::Denied;
use crate::provider::credentials::CredentialError;
use crate::provider::ids::{IDS_MAX, Unreadable};
use crate::provider::{Dialect, PathError, Refusal};

/// Why a request was not passed on, or its answer not passed back.
#[derive(Debug)]
pub enum Rejection {
    /// No key was presented.
    KeyMissing,
    /// The key can't be read.
    KeyUnreadable(CredentialError),
    /// The key is not known, was revoked, or has ended.
    KeyUnknown,
    /// A service key without an account.
    AccountMissing,
    /// `x-credits-account` holds no account's name.
    AccountUnreadable,
    /// The key belongs to another account than the one that is named.
    AccountForeign,
    /// There is no such account.
    AccountUnknown,
    /// The credits are used up.
    Exhausted { status: WhenExhausted },
    /// Running calls hold the credits.
    Held,
    /// The account owes credits.
    Owed { status: WhenExhausted },
    /// The subscription is not active.
    Inactive,
    /// Too many requests in a minute.
    TooFast { wait: Duration },
    /// Too many calls of the account run at once.
    TooManyRunning { limit: u32 },
    /// The path has no single reading.
    Path(PathError),
    /// The method is none of HTTP's usual ones.
    Method,
    /// The body can't be understood.
    Malformed(Malformed),
    /// The body is larger than allowed.
    BodyTooLarge { limit: usize },
    /// The body did not arrive.
    BodyBroken,
    /// All bodies together are larger than allowed.
    BodiesTooLarge,
    /// No rule has a price for the model.
    NoPrice { model: String },
    /// The route would hand out a credential of the provider.
    SessionGrant,
    /// The route administers the provider's organisation.
    Administration,
    /// The route is not known, and the configuration refuses such routes.
    UnknownRoute,
    /// A WebSocket was asked for that can't be metered.
    WebSocket,
    /// An event of a WebSocket hides what it is.
    ObscureEvent,
    /// What the request names is not there, or not the account's.
    NoSuchThing,
    /// It names more things than can be looked up.
    TooManyThings,
    /// The provider has no key here.
    NoProvider,
    /// `idempotency-key` can't be read.
    KeyOfCallUnreadable,
    /// The call repeats another one.
    Repeated(Repeated),
    /// `x-credits-task` can't be read.
    TaskUnreadable,
    /// `x-credits-task` came with an account's own key.
    TaskNotAllowed,
    /// `x-credits-feature` can't be read.
    FeatureUnreadable,
    /// The ledger gave no answer.
    LedgerAway,
    /// Too many calls wait for their settlement.
    Busy,
    /// The configuration does not fit the account.
    Misconfigured,
    /// The provider can't be reached, or its answer can't be read.
    UpstreamAway,
    /// The provider did not answer in time.
    UpstreamSlow,
    /// The gateway failed.
    Internal,
}

impl From<LedgerError> for Rejection {
    fn from(error: LedgerError) -> Self {
        tracing::error!(%error, "the ledger gave no answer");
        Self::LedgerAway
    }
}

impl Rejection {
    /// Why a hold was refused; `status` is the plan's word for credits that are gone.
    pub fn of_hold(refusal: &Hold, status: WhenExhausted) -> Self {
        match refusal {
            Hold::Exhausted => Self::Exhausted { status },
            Hold::Held => Self::Held,
            Hold::Owed => Self::Owed { status },
            Hold::Inactive => Self::Inactive,
            Hold::TooManyHolds => Self::Busy,
            Hold::Stale { .. }
            | Hold::AlreadyResolved
            | Hold::Conflict
            | Hold::TooOld
            | Hold::UnknownSource
            | Hold::Ended
            | Hold::TooMuch => {
                tracing::error!(%refusal, "a hold was refused for a reason that no hold has");
                Self::LedgerAway
            }
        }
    }

    /// Why a provider gave no answer.
    pub fn of_upstream(error: &UpstreamError) -> Self {
        match error {
            UpstreamError::Target(_) => Self::Internal,
            UpstreamError::Away(_) => Self::UpstreamAway,
            UpstreamError::Slow(_) => Self::UpstreamSlow,
        }
    }
}

impl From<Repeated> for Rejection {
    fn from(repeated: Repeated) -> Self {
        Self::Repeated(repeated)
    }
}

impl From<Malformed> for Rejection {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<Unreadable> for Rejection {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::NotJson { line, column } => Malformed::NotJson { line, column }.into(),
            Unreadable::TooMany => Self::TooManyThings,
        }
    }
}

impl From<Undecodable> for Rejection {
    fn from(undecodable: Undecodable) -> Self {
        Self::Malformed(undecodable.into())
    }
}

impl From<Unsupported> for Rejection {
    fn from(unsupported: Unsupported) -> Self {
        Self::Malformed(unsupported.into())
    }
}

impl From<PathError> for Rejection {
    fn from(error: PathError) -> Self {
        Self::Path(error)
    }
}

impl From<Denied> for Rejection {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::SessionGrant => Self::SessionGrant,
            Denied::Administration => Self::Administration,
            Denied::UnknownRoute => Self::UnknownRoute,
            Denied::Method => Self::Method,
            Denied::WebSocket => Self::WebSocket,
        }
    }
}

/// What a client library should do about it.
enum Retry {
    /// Give up: the same call would be refused again.
    Never,
    /// The library's own rules: an ordinary bad request.
    Unsaid,
    /// Come back after so many seconds, 1 to 30.
    After(u64),
}

/// Status, the dialect's `type` and `code`, and what to do.
type Words = (StatusCode, &'static str, &'static str, Retry);

const BAD_REQUEST: &str = "invalid_request_error";

impl Rejection {
    /// The rejection's name, for logs and metrics; also the `code` of the body.
    pub fn code(&self) -> &'static str {
        self.words().2
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.words().0
    }

    /// Whether the same is refused again until somebody has done something about the account.
    pub fn lasts(&self) -> bool {
        match self {
            Self::KeyMissing
            | Self::KeyUnreadable(_)
            | Self::KeyUnknown
            | Self::AccountMissing
            | Self::AccountUnreadable
            | Self::AccountForeign
            | Self::AccountUnknown
            | Self::Exhausted { .. }
            | Self::Owed { .. }
            | Self::Inactive => true,
            Self::Held
            | Self::TooFast { .. }
            | Self::TooManyRunning { .. }
            | Self::Path(_)
            | Self::Method
            | Self::Malformed(_)
            | Self::BodyTooLarge { .. }
            | Self::BodyBroken
            | Self::BodiesTooLarge
            | Self::NoPrice { .. }
            | Self::SessionGrant
            | Self::Administration
            | Self::UnknownRoute
            | Self::WebSocket
            | Self::ObscureEvent
            | Self::NoSuchThing
            | Self::TooManyThings
            | Self::NoProvider
            | Self::KeyOfCallUnreadable
            | Self::Repeated(_)
            | Self::TaskUnreadable
            | Self::TaskNotAllowed
            | Self::FeatureUnreadable
            | Self::LedgerAway
            | Self::Busy
            | Self::Misconfigured
            | Self::UpstreamAway
            | Self::UpstreamSlow
            | Self::Internal => false,
        }
    }

    /// What `say` makes of it. `top_up` is where a person buys credits; `request` is the request's id.
    pub fn said<T>(&self, top_up: &str, request: &str, say: impl FnOnce(&Refusal<'_>) -> T) -> T {
        let (status, kind, code, retry) = self.words();
        let message = self.message(top_up);
        let param = match self {
            Self::Malformed(Malformed::NoModel | Malformed::ModelTooLong) => Some("model"),
            Self::Malformed(
                Malformed::WrongType { field } | Malformed::DuplicateField { field },
            ) => Some(*field),
            _ => None,
        };
        let retry_after = match retry {
            Retry::After(seconds) => Some(seconds.clamp(1, 30)),
            Retry::Never | Retry::Unsaid => None,
        };
        let message = message.as_str();
        say(&Refusal { status, kind, code, message, param, retry_after, request })
    }

    /// The answer. `top_up` is where a person buys credits; `request` is the request's id.
    pub fn response(&self, dialect: Dialect, top_up: &str, request: &str) -> Response<Bytes> {
        let (status, _, _, retry) = self.words();
        let (worded, retry_after) =
            self.said(top_up, request, |refusal| (dialect.refusal(refusal), refusal.retry_after));
        let mut response = Response::new(worded.body);
        *response.status_mut() = worded.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Ok(id) = HeaderValue::from_str(request) {
            headers.insert("x-request-id", id);
        }
        if let Some((name, value)) = worded.header {
            headers.insert(name, value);
        }
        if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(Coding::ALL));
        }
        if matches!(retry, Retry::Never) {
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn words(&self) -> Words {
        use Retry::{After, Never, Unsaid};
        use StatusCode as S;
        match self {
            Self::KeyMissing | Self::KeyUnreadable(_) | Self::KeyUnknown => {
                (S::UNAUTHORIZED, BAD_REQUEST, "invalid_api_key", Never)
            }
            Self::AccountMissing | Self::AccountUnreadable => {
                (S::BAD_REQUEST, BAD_REQUEST, "account_required", Never)
            }
            Self::AccountForeign | Self::AccountUnknown => {
                (S::FORBIDDEN, BAD_REQUEST, "account_not_allowed", Never)
            }
            Self::Exhausted { status } => {
                (credit_status(*status), "insufficient_quota", "insufficient_quota", Never)
            }
            // The one 402 that passes by itself: running calls give back what they don't use.
            Self::Held => (S::PAYMENT_REQUIRED, "insufficient_quota", "credits_held", After(2)),
            Self::Owed { status } => {
                (credit_status(*status), "insufficient_quota", "credits_owed", Never)
            }
            Self::Inactive => (S::FORBIDDEN, "billing_not_active", "billing_not_active", Never),
            Self::TooFast { wait } => {
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                (S::TOO_MANY_REQUESTS, "requests", "rate_limit_exceeded", After(seconds))
            }
            Self::TooManyRunning { .. } => {
                (S::TOO_MANY_REQUESTS, "requests", "too_many_running", After(1))
            }
            Self::Path(_) => (S::BAD_REQUEST, BAD_REQUEST, "invalid_path", Never),
            Self::Method => (S::METHOD_NOT_ALLOWED, BAD_REQUEST, "method_not_allowed", Never),
            Self::Malformed(Malformed::UnsupportedEncoding { .. }) => {
                (S::UNSUPPORTED_MEDIA_TYPE, BAD_REQUEST, "unsupported_encoding", Never)
            }
            Self::Malformed(_) | Self::TooManyThings | Self::ObscureEvent => {
                (S::BAD_REQUEST, BAD_REQUEST, "invalid_request", Unsaid)
            }
            Self::BodyTooLarge { .. } => {
                (S::PAYLOAD_TOO_LARGE, BAD_REQUEST, "request_too_large", Unsaid)
            }
            Self::BodyBroken => (S::BAD_REQUEST, BAD_REQUEST, "incomplete_body", Unsaid),
            Self::NoPrice { .. } => (S::BAD_REQUEST, BAD_REQUEST, "model_not_priced", Never),
            Self::SessionGrant | Self::Administration | Self::UnknownRoute => {
                (S::FORBIDDEN, BAD_REQUEST, "route_not_allowed", Never)
            }
            Self::NoSuchThing => (S::NOT_FOUND, BAD_REQUEST, "not_found", Never),
            Self::NoProvider => (S::FORBIDDEN, BAD_REQUEST, "provider_not_available", Never),
            Self::WebSocket => (S::BAD_REQUEST, BAD_REQUEST, "websocket_not_supported", Never),
            Self::KeyOfCallUnreadable | Self::TaskUnreadable | Self::FeatureUnreadable => {
                (S::BAD_REQUEST, BAD_REQUEST, "invalid_header", Never)
            }
            Self::TaskNotAllowed => (S::FORBIDDEN, BAD_REQUEST, "task_not_allowed", Never),
            Self::Repeated(Repeated::Running) => {
                (S::CONFLICT, BAD_REQUEST, "idempotent_call_running", After(5))
            }
            Self::Repeated(Repeated::Delivered | Repeated::SentOften) => {
                (S::UNPROCESSABLE_ENTITY, BAD_REQUEST, "idempotency_key_used", Never)
            }
            Self::LedgerAway => {
                (S::SERVICE_UNAVAILABLE, "server_error", "credit_store_unavailable", After(1))
            }
            Self::Busy | Self::BodiesTooLarge => {
                (S::SERVICE_UNAVAILABLE, "server_error", "gateway_busy", After(1))
            }
            Self::Misconfigured => {
                (S::SERVICE_UNAVAILABLE, "server_error", "gateway_misconfigured", After(30))
            }
            Self::UpstreamAway => (S::BAD_GATEWAY, "server_error", "provider_unreachable", Unsaid),
            Self::UpstreamSlow => (S::GATEWAY_TIMEOUT, "server_error", "provider_timeout", Unsaid),
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "server_error", "internal_error", Unsaid),
        }
    }

    /// One full sentence for a person: what happened, and what to do. No amounts: a shared key's caller need not know
    /// them (`GET /credits` tells those who may).
    fn message(&self, top_up: &str) -> String {
        match self {
            Self::KeyMissing => "No API key was sent; send your credits key as `Authorization: Bearer cg_…`.".into(),
            Self::KeyUnreadable(error) => error.to_string(),
            Self::KeyUnknown => "The API key is not known, was revoked, or has ended; issue a new one in your settings.".into(),
            Self::AccountMissing => "A service key must name the account that pays in the header `x-credits-account`.".into(),
            Self::AccountUnreadable => "The header `x-credits-account` must hold one account's name.".into(),
            Self::AccountForeign => "The API key belongs to another account than the one in `x-credits-account`.".into(),
            Self::AccountUnknown => "The account does not exist here; create it before its first call.".into(),
            Self::Exhausted { .. } => format!("You have used all your AI credits. Buy more credits or upgrade your plan at {top_up}."),
            Self::Held => "Your remaining AI credits are held by calls that are still running; try again when they have finished.".into(),
            Self::Owed { .. } => format!("Your account owes AI credits for work that cost more than was left. Buy credits at {top_up} to go on."),
            Self::Inactive => format!("Your subscription is not active, so AI calls are paused; your purchased credits are kept. Renew it at {top_up}."),
            Self::TooFast { .. } => "Requests are coming too fast for your plan; slow down and try again in a moment.".into(),
            Self::TooManyRunning { limit } => format!("Your plan runs at most {limit} AI calls at once; try again when one has finished."),
            Self::Path(error) => error.to_string(),
            Self::Method => "This method is not supported here; use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.".into(),
            Self::Malformed(malformed) => malformed.to_string(),
            Self::BodyTooLarge { limit } => format!("The request body is larger than the {limit} bytes that this gateway takes; send less at once."),
            Self::BodyBroken => "The request body did not arrive whole; send the request again.".into(),
            Self::NoPrice { model } => format!("There is no price for the model `{model}` here, so it can't be used; choose another model."),
            Self::SessionGrant => "This route hands out direct access to the provider, which is not available through this gateway.".into(),
            Self::Administration => "This route administers the provider's organisation, which is not available through this gateway.".into(),
            Self::UnknownRoute => "This route is not known to the gateway and not available through it.".into(),
            Self::WebSocket => "This WebSocket is not available through this gateway, or not in this way; open those of Realtime, Responses or Gemini Live with GET over HTTP/1.1, or use HTTP requests.".into(),
            Self::ObscureEvent => "The event has a field whose name is written with escapes or is too long, or a value too long to be one; write it plainly.".into(),
            Self::NoSuchThing => "An id in this request names nothing here: it was never made through your account, or has been deleted.".into(),
            Self::TooManyThings => format!("The request names more than {IDS_MAX} things by their ids; name fewer at once."),
            Self::NoProvider => "The AI provider of this call has no key on this gateway; ask its operator to set one.".into(),
            Self::KeyOfCallUnreadable => "The header `Idempotency-Key` must hold one key of 1 to 255 printable ASCII characters.".into(),
            Self::TaskUnreadable => "The header `x-credits-task` must hold one name of 1 to 255 printable ASCII characters.".into(),
            Self::TaskNotAllowed => "The header `x-credits-task` is for service keys only; leave it out.".into(),
            Self::FeatureUnreadable => "The header `x-credits-feature` must hold one name of 1 to 64 letters, digits or `.` `_` `:` `-`.".into(),
            Self::Repeated(Repeated::Running) => "The call with this `Idempotency-Key` is still running; nothing was charged for this one. Try again in a moment.".into(),
            Self::Repeated(Repeated::Delivered) => "The call with this `Idempotency-Key` was answered already; nothing was charged for this one. Use a new key for a new call.".into(),
            Self::Repeated(Repeated::SentOften) => "The answer to the call with this `Idempotency-Key` was sent again as often as possible; nothing was charged for this one. Use a new key for a new call.".into(),
            Self::LedgerAway => "Your AI credits can't be checked at the moment; nothing was charged. Try again in a moment.".into(),
            Self::Busy | Self::BodiesTooLarge => "The gateway is busy; nothing was charged. Try again in a moment.".into(),
            Self::Misconfigured => "The gateway's configuration does not fit your account; nothing was charged. Please tell its operator.".into(),
            Self::UpstreamAway => "The AI provider can't be reached; nothing was charged. Try again in a moment.".into(),
            Self::UpstreamSlow => "The AI provider did not answer in time; nothing was charged. Try again.".into(),
            Self::Internal => "The gateway failed; nothing was charged. Try again.".into(),
        }
    }
}

fn credit_status(status: WhenExhausted) -> StatusCode {
    match status {
        WhenExhausted::PaymentRequired => StatusCode::PAYMENT_REQUIRED,
        WhenExhausted::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
    }
}
