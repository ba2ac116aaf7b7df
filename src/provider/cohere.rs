//! Cohere's dialect. Version 2 streams server-sent events, version 1 a JSON document on each line.

use std::borrow::Cow;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::frames::{Event, Framing};
use super::substance::Substance;
use super::table::Table;
use super::{Credential, Dialect, EventKind, PathError, Refusal, Root, Rules, Worded};

pub(super) static RULES: Rules = Rules {
    word: "cohere",
    table: include_str!("cohere.routes"),
    routes: LazyLock::new(|| Table::parse(Dialect::Cohere, RULES.table)),
    base: "",
    root,
    slashes: |_, _| None,
    credential: |_| Credential::Bearer,
    refusal,
    framing,
    event,
};

fn root(segments: &[&str]) -> Result<Root, PathError> {
    let is_version = |segment: &str| matches!(segment, "v1" | "v2");
    let begins = |rest: &[&str]| {
        rest.first().is_some_and(|first| is_version(first) || *first == "compatibility")
    };
    Root::before(segments, is_version, begins, "/v2")
}

fn refusal(refusal: &Refusal<'_>) -> Worded {
    #[derive(Serialize)]
    struct Body<'a> {
        message: &'a str,
        code: &'a str,
        id: &'a str,
    }
    let Refusal { code, message, request, .. } = *refusal;
    Worded::plain(refusal, &Body { message, code, id: request })
}

fn framing(content_type: &str) -> Framing {
    match content_type {
        "application/stream+json" | "application/x-ndjson" => Framing::Lines,
        other => Framing::usual(other),
    }
}

fn event(event: Event<'_>) -> EventKind {
    if !event.whole {
        return EventKind::Output;
    }
    let Ok(probe) = serde_json::from_slice::<Probe<'_>>(event.data) else {
        return EventKind::Other;
    };
    let failed =
        probe.finish_reason.as_deref().or(probe.delta.finish_reason.as_deref()) == Some("ERROR");
    match probe.r#type.as_deref().or(probe.event_type.as_deref()).unwrap_or_default() {
        "message-end" | "stream-end" if failed => EventKind::Error,
        "message-end" | "stream-end" => EventKind::Done,
        "stream-error" | "error" => EventKind::Error,
        "content-delta" => says(probe.delta.message.content),
        "tool-plan-delta" => says(probe.delta.message.tool_plan),
        "tool-call-start"
        | "tool-call-delta"
        | "citation-start"
        | "tool-calls-chunk"
        | "tool-calls-generation"
        | "citation-generation" => EventKind::Output,
        // Texts that were generated without a conversation have no kind.
        "" if probe.is_finished => EventKind::Done,
        "text-generation" | "" => says(probe.text),
        _ => EventKind::Other,
    }
}

fn says(value: Option<Substance>) -> EventKind {
    if value.is_some_and(|value| value.0) { EventKind::Output } else { EventKind::Other }
}

/// The members of an event that decide what it is: `type` in version 2, `event_type` in version 1.
#[derive(Deserialize)]
struct Probe<'a> {
    #[serde(borrow, default)]
    r#type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    event_type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    delta: Delta<'a>,
    #[serde(default)]
    text: Option<Substance>,
    #[serde(default)]
    is_finished: bool,
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
struct Delta<'a> {
    #[serde(default)]
    message: Message,
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<Substance>,
    #[serde(default)]
    tool_plan: Option<Substance>,
}
