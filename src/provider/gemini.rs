//! The dialect of Google's Gemini API, at `generativelanguage.googleapis.com`.
//!
//! The model is in the path, before a verb; a stream is one list of JSON objects unless server-sent events are asked
//! for. Below `/v1beta/openai/` the same provider speaks `OpenAI`'s dialect.

use std::borrow::Cow;
use std::sync::LazyLock;

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::frames::{Event, Framing};
use super::substance::{Content, Substance};
use super::table::Table;
use super::{Credential, Dialect, EventKind, PathError, Refusal, Root, Rules, Worded};

pub(super) static RULES: Rules = Rules {
    word: "gemini",
    table: include_str!("gemini.routes"),
    routes: LazyLock::new(|| Table::parse(Dialect::Gemini, RULES.table)),
    base: "",
    root,
    slashes: model_to_read,
    credential,
    refusal,
    framing,
    event,
};

fn root(segments: &[&str]) -> Result<Root, PathError> {
    let is_version = |segment: &str| matches!(segment, "v1" | "v1beta" | "v1alpha");
    let begins = |rest: &[&str]| {
        rest.first().is_some_and(|first| {
            is_version(first) || matches!(*first, "upload" | "download" | "ws")
        })
    };
    Root::before(segments, is_version, begins, "/v1beta")
}

/// The name of a model of `OpenAI`'s surface.
fn model_to_read<'p>(method: &Method, path: &'p str) -> Option<&'p str> {
    let reads = *method == Method::GET || *method == Method::HEAD;
    path.strip_prefix("/v1beta/openai/models/").filter(|_| reads)
}

fn credential(language: Dialect) -> Credential {
    if language == Dialect::OpenAi {
        Credential::Bearer
    } else {
        Credential::Header("x-goog-api-key")
    }
}

pub(super) fn refusal(refusal: &Refusal<'_>) -> Worded {
    #[derive(Serialize)]
    struct Body<'a> {
        error: Error<'a>,
    }
    #[derive(Serialize)]
    struct Error<'a> {
        code: u16,
        message: &'a str,
        status: &'static str,
        details: Vec<Detail>,
    }
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Detail {
        Info {
            #[serde(rename = "@type")]
            kind: &'static str,
            reason: String,
            domain: &'static str,
        },
        Retry {
            #[serde(rename = "@type")]
            kind: &'static str,
            #[serde(rename = "retryDelay")]
            delay: String,
        },
    }
    let Refusal { status, code, message, .. } = *refusal;
    // Its libraries know a wrong key by this sentence.
    let message = match code {
        "invalid_api_key" => Cow::Owned(format!("API key not valid. {message}")),
        _ => Cow::Borrowed(message),
    };
    let info = Detail::Info {
        kind: "type.googleapis.com/google.rpc.ErrorInfo",
        reason: reason(code),
        domain: "creditgate",
    };
    let retry = refusal.retry_after.map(|seconds| Detail::Retry {
        kind: "type.googleapis.com/google.rpc.RetryInfo",
        delay: format!("{seconds}s"),
    });
    let details = std::iter::once(info).chain(retry).collect();
    let error = Error { code: status.as_u16(), message: &message, status: word(status), details };
    Worded::plain(refusal, &Body { error })
}

/// Google's word for a status.
fn word(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHENTICATED",
        402 | 429 => "RESOURCE_EXHAUSTED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        502 | 503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    }
}

/// The gateway's word in the manner of Google's.
fn reason(code: &str) -> String {
    match code {
        "insufficient_quota" => "INSUFFICIENT_CREDITS".to_owned(),
        "billing_not_active" => "SUBSCRIPTION_INACTIVE".to_owned(),
        "invalid_api_key" => "API_KEY_INVALID".to_owned(),
        other => other.to_ascii_uppercase(),
    }
}

pub(super) fn framing(content_type: &str) -> Framing {
    match content_type {
        "application/json" => Framing::Array,
        other => Framing::usual(other),
    }
}

pub(super) fn event(event: Event<'_>) -> EventKind {
    if !event.whole {
        // Of this size is only what was generated.
        return EventKind::Output;
    }
    let Ok(probe) = serde_json::from_slice::<Probe<'_>>(event.data) else {
        return EventKind::Other;
    };
    if probe.error.is_some_and(|error| error.0) {
        return EventKind::Error;
    }
    if let Some(word) = probe.event_type {
        return interaction(&word);
    }
    if probe.candidates.iter().any(Candidate::says_anything) {
        return EventKind::Output;
    }
    let ended = probe.candidates.iter().any(|candidate| candidate.finish_reason.is_some());
    let blocked = probe.prompt_feedback.is_some_and(|feedback| feedback.block_reason.is_some());
    if ended || blocked { EventKind::Done } else { EventKind::Other }
}

/// What an event of the Interactions API is.
fn interaction(word: &str) -> EventKind {
    match word {
        "error" | "interaction.failed" => EventKind::Error,
        "interaction.complete"
        | "interaction.completed"
        | "interaction.incomplete"
        | "interaction.cancelled"
        | "interaction.canceled"
        | "interaction.requires_action" => EventKind::Done,
        word if word.rsplit('.').next() == Some("delta") => EventKind::Output,
        _ => EventKind::Other,
    }
}

/// The members of an event that decide what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe<'a> {
    #[serde(borrow, rename = "event_type", default)]
    event_type: Option<Cow<'a, str>>,
    #[serde(default)]
    error: Option<Substance>,
    #[serde(borrow, default)]
    candidates: Vec<Candidate<'a>>,
    #[serde(borrow, default)]
    prompt_feedback: Option<Feedback<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(default)]
    content: Option<Parts>,
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    parts: Vec<Content>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback<'a> {
    #[serde(borrow, default)]
    block_reason: Option<Cow<'a, str>>,
}

impl Candidate<'_> {
    fn says_anything(&self) -> bool {
        let parts = self.content.iter().flat_map(|content| &content.parts);
        parts.into_iter().any(|part| part.0)
    }
}
