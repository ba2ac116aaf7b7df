//! The words of each rejection: its status, its names in the dialect, what a client library should do, and the sentence that
//! a person reads.

use http::StatusCode;

use super::Rejection;
use crate::config::WhenExhausted;
use crate::credit::Repeated;
use crate::gateway::peek::Malformed;

/// What a client library should do about it.
pub(super) enum Retry {
    /// Give up: the same call would be refused again.
    Never,
    /// The library's own rules: an ordinary bad request.
    Unsaid,
    /// Come back after so many seconds, 1 to 30.
    After(u64),
}

/// Status, the dialect's `type` and `code`, and what to do.
pub(super) type Words = (StatusCode, &'static str, &'static str, Retry);

const BAD_REQUEST: &str = "invalid_request_error";

impl Rejection {
    pub(super) fn words(&self) -> Words {
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
            Self::Malformed(_) | Self::TooManyThings { .. } | Self::ObscureEvent => {
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
    pub(super) fn message(&self, top_up: &str) -> String {
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
            Self::TooManyThings { limit } => format!("The request names more than {limit} things by their ids; name fewer at once."),
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
