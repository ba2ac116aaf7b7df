//! Every way to say no here, in one form: RFC 9457.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use serde::Serialize;

use crate::credit::Refusal;
use crate::ledger::{HistoryError, LedgerError};

/// What went wrong, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unauthorized,
    Malformed,
    TooLarge,
    NoSuchRoute,
    OtherMethod,
    NoSuchAccount,
    NoSuchKey,
    NoSuchSource,
    NoSuchCall,
    AccountExists,
    SourceUsed,
    Refused,
    Frozen,
    Archived,
    LedgerAway,
    OutcomeUnknown,
    Internal,
}

/// A refusal, with a sentence for a person: what happened, and what to do.
#[derive(Debug)]
pub(super) struct Problem {
    kind: Kind,
    detail: String,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// A request that can't be understood.
    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Kind::Malformed, detail)
    }

    pub(super) fn no_such_account(account: &crate::credit::AccountId) -> Self {
        Self::new(Kind::NoSuchAccount, format!("there is no account `{account}`: create it first"))
    }

    /// Why the rules of money forbid it.
    pub(super) fn of_refusal(refusal: &Refusal) -> Self {
        let kind = match refusal {
            Refusal::Conflict => Kind::SourceUsed,
            Refusal::UnknownSource => Kind::NoSuchSource,
            Refusal::Ended => Kind::Malformed,
            Refusal::TooMuch
            | Refusal::Exhausted
            | Refusal::Held
            | Refusal::Owed
            | Refusal::Inactive
            | Refusal::Stale { .. }
            | Refusal::TooManyHolds
            | Refusal::AlreadyResolved
            | Refusal::TooOld => Kind::Refused,
        };
        Self::new(kind, format!("nothing was changed: {refusal}"))
    }

    /// A defect of the gateway; what it was stands in the log.
    pub(super) fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "an admin operation failed");
        Self::new(Kind::Internal, "the gateway failed; its log says why")
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        match &error {
            LedgerError::Unavailable(_) => {
                Self::new(Kind::LedgerAway, format!("nothing was changed: {error}; try again"))
            }
            LedgerError::Unknown(_) => Self::new(
                Kind::OutcomeUnknown,
                format!("{error}; look whether it happened, or repeat it: a source counts once"),
            ),
            LedgerError::Frozen { .. } => Self::new(
                Kind::Frozen,
                format!("nothing was changed: {error}; `verify` says which entry is wrong"),
            ),
        }
    }
}

impl From<HistoryError> for Problem {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Ledger(error) => error.into(),
            HistoryError::Archived(_) => Self::new(Kind::Archived, error.to_string()),
        }
    }
}

impl Kind {
    const fn words(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::Unauthorized => {
                (S::UNAUTHORIZED, "unauthorized", "The admin token is missing or wrong")
            }
            Self::Malformed => (S::BAD_REQUEST, "malformed", "The request can't be understood"),
            Self::TooLarge => {
                (S::PAYLOAD_TOO_LARGE, "too_large", "The request's body is too large")
            }
            Self::NoSuchRoute => (S::NOT_FOUND, "no_such_route", "There is no such route"),
            Self::OtherMethod => {
                (S::METHOD_NOT_ALLOWED, "other_method", "The route has other methods")
            }
            Self::NoSuchAccount => (S::NOT_FOUND, "no_such_account", "There is no such account"),
            Self::NoSuchKey => (S::NOT_FOUND, "no_such_key", "There is no such key"),
            Self::NoSuchSource => {
                (S::NOT_FOUND, "no_such_source", "Nothing was granted from this source")
            }
            Self::NoSuchCall => (S::NOT_FOUND, "no_such_call", "The ledger has no such call"),
            Self::AccountExists => (S::CONFLICT, "account_exists", "The account exists"),
            Self::SourceUsed => {
                (S::CONFLICT, "source_used", "The source has granted something else")
            }
            Self::Refused => (S::CONFLICT, "refused", "The ledger refused"),
            Self::Frozen => (S::CONFLICT, "frozen", "The account is frozen"),
            Self::Archived => {
                (S::CONFLICT, "archived", "Another gateway has the archive with these entries")
            }
            Self::LedgerAway => {
                (S::SERVICE_UNAVAILABLE, "ledger_unavailable", "The ledger is not available")
            }
            Self::OutcomeUnknown => {
                (S::SERVICE_UNAVAILABLE, "outcome_unknown", "The ledger could not confirm")
            }
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internal", "The gateway failed"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, name, title) = self.kind.words();
        let r#type = format!("urn:creditgate:problem:{name}");
        let body = Body { r#type, title, status: status.as_u16(), detail: &self.detail };
        let mut response = (status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
