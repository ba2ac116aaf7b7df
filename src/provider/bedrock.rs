//! The dialect of Amazon Bedrock's runtime, as far as it takes a bearer key: a signature is over the host, and would
//! have to be made anew with a secret that no gateway should have.
//!
//! `Converse` says by an event's name what it is. `InvokeModel` wraps each vendor's own events as base64 in `chunk`s.

use std::borrow::Cow;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::frames::{EXCEPTION, Event, Framing};
use super::substance::{Content, Substance};
use super::table::Table;
use super::{Credential, Dialect, EventKind, PathError, Refusal, Root, Rules, Worded, anthropic};

pub(super) static RULES: Rules = Rules {
    word: "bedrock",
    table: include_str!("bedrock.routes"),
    routes: LazyLock::new(|| Table::parse(Dialect::Bedrock, RULES.table)),
    base: "",
    root,
    slashes: model,
    credential: |_| Credential::Bearer,
    refusal,
    framing,
    event,
};

fn root(segments: &[&str]) -> Result<Root, PathError> {
    Root::after_versions(segments, |segment| segment == "v1", "")
}

/// A model's name may be a resource name of AWS, and that of a job is one.
fn model<'p>(_: &Method, path: &'p str) -> Option<&'p str> {
    let rest = path.strip_prefix("/model/").or_else(|| path.strip_prefix("/async-invoke/"))?;
    rest.split('/').next()
}

fn refusal(refusal: &Refusal<'_>) -> Worded {
    #[derive(Serialize)]
    struct Body<'a> {
        message: &'a str,
    }
    // Its model of errors has no 402.
    let status = match refusal.status {
        StatusCode::PAYMENT_REQUIRED => StatusCode::FORBIDDEN,
        other => other,
    };
    let kind = match status.as_u16() {
        401 | 403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        429 => "ThrottlingException",
        503 => "ServiceUnavailableException",
        504 => "ModelTimeoutException",
        500.. => "InternalServerException",
        _ => "ValidationException",
    };
    let worded = Worded::plain(refusal, &Body { message: refusal.message });
    Worded { status, ..worded }.with("x-amzn-errortype", kind)
}

fn framing(content_type: &str) -> Framing {
    match content_type {
        "application/vnd.amazon.eventstream" => Framing::Binary,
        other => Framing::usual(other),
    }
}

fn event(event: Event<'_>) -> EventKind {
    match event.name {
        EXCEPTION => EventKind::Error,
        b"chunk" => chunk(event),
        b"contentBlockStart" | b"contentBlockDelta" if !event.whole => EventKind::Output,
        b"contentBlockStart" => block(event.data, |block| block.start),
        b"contentBlockDelta" => block(event.data, |block| block.delta),
        b"messageStop" | b"flowCompletionEvent" => EventKind::Done,
        // Of agents and flows.
        b"output" | b"flowOutputEvent" | b"returnControl" | b"files" => EventKind::Output,
        _ => EventKind::Other,
    }
}

#[derive(Deserialize)]
struct Block {
    #[serde(default)]
    start: Option<Content>,
    #[serde(default)]
    delta: Option<Content>,
}

fn block(data: &[u8], part: impl Fn(Block) -> Option<Content>) -> EventKind {
    let block = serde_json::from_slice::<Block>(data).ok();
    says(block.and_then(part).is_some_and(|content| content.0))
}

fn says(output: bool) -> EventKind {
    if output { EventKind::Output } else { EventKind::Other }
}

/// What the payload of a `chunk` wraps: a vendor's own event.
pub(super) fn unwrapped(data: &[u8]) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Chunk<'a> {
        #[serde(borrow)]
        bytes: Cow<'a, str>,
    }
    let chunk = serde_json::from_slice::<Chunk<'_>>(data).ok()?;
    STANDARD.decode(chunk.bytes.as_bytes()).ok()
}

/// A vendor's own event.
fn chunk(event: Event<'_>) -> EventKind {
    if !event.whole {
        return EventKind::Output;
    }
    let Some(data) = unwrapped(event.data) else { return EventKind::Other };
    let Ok(probe) = serde_json::from_slice::<Probe<'_>>(&data) else {
        // An agent's text, as it is.
        return says(!data.is_empty());
    };
    if probe.r#type.is_some() {
        return anthropic::event(Event { name: b"", data: &data, whole: true });
    }
    let texts = [probe.generation, probe.output_text, probe.completion, probe.text];
    let lists = [probe.outputs, probe.choices, probe.images];
    let output: Vec<bool> = texts.into_iter().chain(lists).flatten().map(|value| value.0).collect();
    let ends = [probe.stop_reason, probe.completion_reason, probe.finish_reason];
    let ended = ends.into_iter().flatten().any(|end| end.0) || probe.message_stop.is_some();
    let quiet = [probe.message_start, probe.content_block_stop, probe.metadata];
    if output.contains(&true) {
        EventKind::Output
    } else if ended {
        EventKind::Done
    } else {
        // What a vendor calls otherwise is content too.
        says(output.is_empty() && quiet.into_iter().flatten().next().is_none())
    }
}

/// What vendors call their texts, their lists and their ends.
#[derive(Deserialize)]
struct Probe<'a> {
    #[serde(borrow, default)]
    r#type: Option<Cow<'a, str>>,
    #[serde(default)]
    generation: Option<Substance>,
    #[serde(default, rename = "outputText")]
    output_text: Option<Substance>,
    #[serde(default)]
    completion: Option<Substance>,
    #[serde(default)]
    text: Option<Substance>,
    #[serde(default)]
    outputs: Option<Substance>,
    #[serde(default)]
    choices: Option<Substance>,
    #[serde(default)]
    images: Option<Substance>,
    #[serde(default)]
    stop_reason: Option<Substance>,
    #[serde(default, rename = "completionReason")]
    completion_reason: Option<Substance>,
    #[serde(default)]
    finish_reason: Option<Substance>,
    #[serde(default, rename = "messageStop")]
    message_stop: Option<Substance>,
    #[serde(default, rename = "messageStart")]
    message_start: Option<Substance>,
    #[serde(default, rename = "contentBlockStop")]
    content_block_stop: Option<Substance>,
    #[serde(default)]
    metadata: Option<Substance>,
}
