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

mod words;

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
use words::Retry;

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
    TooManyThings { limit: usize },
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
            Unreadable::TooMany => Self::TooManyThings { limit: IDS_MAX },
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
            | Self::TooManyThings { .. }
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
}
