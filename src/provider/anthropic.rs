//! The dialect of `api.anthropic.com`.
//!
//! Its streams name each event twice, in `event:` and in `type`; what has begun to be generated comes as the delta of a
//! block, or whole at the block's start.

use std::borrow::Cow;
use std::sync::LazyLock;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::frames::{Event, Framing};
use super::substance::Content;
use super::table::Table;
use super::{Credential, Dialect, EventKind, PathError, Refusal, Root, Rules, Worded};

pub(super) static RULES: Rules = Rules {
    word: "anthropic",
    table: include_str!("anthropic.routes"),
    routes: LazyLock::new(|| {
        Table::parse(Dialect::Anthropic, RULES.table).with_administration(&["/v1/organizations"])
    }),
    base: "",
    root,
    slashes: |_, _| None,
    credential: |_| Credential::Header("x-api-key"),
    refusal,
    framing: Framing::usual,
    event,
};

fn root(segments: &[&str]) -> Result<Root, PathError> {
    Root::after_versions(segments, |segment| segment == "v1", "/v1")
}

pub(super) fn refusal(refusal: &Refusal<'_>) -> Worded {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        error: Error<'a>,
        request_id: &'a str,
    }
    #[derive(Serialize)]
    struct Error<'a> {
        r#type: &'static str,
        message: &'a str,
        details: Details<'a>,
    }
    #[derive(Serialize)]
    struct Details<'a> {
        error_code: &'a str,
    }
    let Refusal { code, message, request, .. } = *refusal;
    let details = Details { error_code: code };
    let error = Error { r#type: kind(refusal.status), message, details };
    let body = Body { r#type: "error", error, request_id: request };
    Worded::plain(refusal, &body).with("request-id", request)
}

/// The provider's word for a status, which its libraries go by.
fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

pub(super) fn event(event: Event<'_>) -> EventKind {
    let name = std::str::from_utf8(event.name).unwrap_or_default();
    if !event.whole {
        // Of this size is only what was generated.
        return if name == "error" { EventKind::Error } else { EventKind::Output };
    }
    let Ok(probe) = serde_json::from_slice::<Probe<'_>>(event.data) else {
        return EventKind::Other;
    };
    match probe.r#type.as_deref().unwrap_or(name) {
        "content_block_delta" if probe.delta.is_some_and(|delta| delta.0) => EventKind::Output,
        "content_block_start" if probe.content_block.is_some_and(|block| block.says_anything()) => {
            EventKind::Output
        }
        "completion" if !probe.completion.unwrap_or_default().is_empty() => EventKind::Output,
        "completion" if probe.stop_reason.is_some() => EventKind::Done,
        "message_stop" => EventKind::Done,
        "error" => EventKind::Error,
        _ => EventKind::Other,
    }
}

/// The members of an event that decide what it is.
#[derive(Deserialize)]
struct Probe<'a> {
    #[serde(borrow, default)]
    r#type: Option<Cow<'a, str>>,
    #[serde(default)]
    delta: Option<Content>,
    #[serde(borrow, default)]
    content_block: Option<Block<'a>>,
    /// Of the text completions that were before messages.
    #[serde(borrow, default)]
    completion: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    stop_reason: Option<Cow<'a, str>>,
}

/// A block at its start: text and thinking are empty there, all else has come whole.
#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow, default)]
    r#type: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Cow<'a, str>,
    #[serde(borrow, default)]
    thinking: Cow<'a, str>,
}

impl Block<'_> {
    fn says_anything(&self) -> bool {
        !matches!(&*self.r#type, "text" | "thinking")
            || !self.text.is_empty()
            || !self.thinking.is_empty()
    }
}
