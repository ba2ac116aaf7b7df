//! The dialect of `api.openai.com`, also spoken by many other providers and most gateways.
//!
//! Reads only the fields that decide.

use std::borrow::Cow;
use std::sync::LazyLock;

use serde::de::{Deserializer, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::frames::{Event, Framing};
use super::path::model_to_read;
use super::substance::{Content, Substance};
use super::table::Table;
use super::{Credential, Dialect, EventKind, PathError, Refusal, Root, Rules, Worded};

pub(super) static RULES: Rules = Rules {
    word: "openai",
    table: include_str!("openai.routes"),
    routes: LazyLock::new(|| {
        Table::parse(Dialect::OpenAi, RULES.table)
            .with_administration(&["/v1/organization", "/v1/projects"])
    }),
    base: "/v1",
    root,
    slashes: model_to_read,
    credential: |_| Credential::Bearer,
    refusal,
    framing: Framing::usual,
    event,
};

/// `/v1`, or what stands before the path of those who keep this dialect apart from their own.
fn root(segments: &[&str]) -> Result<Root, PathError> {
    Root::after_versions(segments, |segment| matches!(segment, "v1" | "openai"), "/v1")
}

pub(super) fn refusal(refusal: &Refusal<'_>) -> Worded {
    #[derive(Serialize)]
    struct Body<'a> {
        error: Error<'a>,
    }
    #[derive(Serialize)]
    struct Error<'a> {
        message: &'a str,
        r#type: &'a str,
        param: Option<&'a str>,
        code: &'a str,
    }
    let Refusal { kind, code, message, param, .. } = *refusal;
    let body = Body { error: Error { message, r#type: kind, param, code } };
    Worded::plain(refusal, &body)
}

pub(super) fn event(event: Event<'_>) -> EventKind {
    let name = std::str::from_utf8(event.name).unwrap_or_default();
    if !event.whole {
        return long_event(name, event.data);
    }
    if event.data.trim_ascii() == b"[DONE]" {
        return EventKind::Done;
    }
    if name == "error" {
        return EventKind::Error;
    }
    let Ok(probe) = serde_json::from_slice::<Probe<'_>>(event.data) else {
        return EventKind::Other;
    };
    if probe.error.is_some() {
        return EventKind::Error;
    }
    // Responses, images and audio say it in `type`, assistants in the event's name, chat in neither.
    match probe.r#type.as_deref().unwrap_or(name) {
        "" | "message" => from_condition(probe.choices.is_some_and(|choices| choices.0)),
        word if last_part(word) == "delta" => {
            from_condition(probe.delta.is_none_or(|delta| delta.0))
        }
        word => named(word),
    }
}

/// An event of more than a mebibyte: its name or its first `"type"` decides. Without either it is a chat chunk,
/// and one of that size carries content.
fn long_event(name: &str, head: &[u8]) -> EventKind {
    const TYPE: &[u8] = br#""type":""#;
    let stated = memchr::memmem::find(head, TYPE).and_then(|at| {
        let word = &head[at + TYPE.len()..];
        std::str::from_utf8(&word[..memchr::memchr(b'"', word)?]).ok()
    });
    match (name, stated) {
        ("", Some(word)) | (word, _) if !word.is_empty() => named(word),
        (_, _) => EventKind::Output,
    }
}

fn named(word: &str) -> EventKind {
    match word {
        "error" | "response.failed" | "thread.run.failed" | "thread.run.expired" => {
            EventKind::Error
        }
        "response.completed"
        | "response.incomplete"
        | "response.cancelled"
        | "response.done"
        | "speech.audio.done"
        | "thread.run.completed"
        | "thread.run.incomplete"
        | "thread.run.cancelled" => EventKind::Done,
        "image_generation.completed"
        | "image_edit.completed"
        | "thread.message.completed"
        | "thread.message.incomplete"
        | "thread.run.step.completed"
        | "thread.run.requires_action" => EventKind::Output,
        _ => from_condition(matches!(last_part(word), "delta" | "done" | "partial_image")),
    }
}

/// `delta` of `response.output_text.delta`.
fn last_part(word: &str) -> &str {
    word.rsplit_once('.').map_or("", |(_, last)| last)
}

fn from_condition(output: bool) -> EventKind {
    if output { EventKind::Output } else { EventKind::Other }
}

/// The members of an event that decide what it is.
#[derive(Deserialize)]
struct Probe<'a> {
    #[serde(borrow, default)]
    r#type: Option<Cow<'a, str>>,
    #[serde(default)]
    error: Option<IgnoredAny>,
    #[serde(default)]
    choices: Option<Choices>,
    #[serde(default)]
    delta: Option<Substance>,
}

/// Whether any choice of a chunk carries content.
struct Choices(bool);

/// Whether one choice does: its `text`, or anything in its `delta` beside the role.
struct Choice(bool);

impl<'de> Deserialize<'de> for Choices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let choices = Vec::<Choice>::deserialize(deserializer)?;
        Ok(Self(choices.iter().any(|choice| choice.0)))
    }
}

impl<'de> Deserialize<'de> for Choice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Members {
            #[serde(default)]
            delta: Option<Content>,
            #[serde(default)]
            message: Option<Content>,
            #[serde(default)]
            text: Option<Substance>,
        }
        let members = Members::deserialize(deserializer)?;
        Ok(Self(
            members.delta.is_some_and(|delta| delta.0)
                || members.message.is_some_and(|message| message.0)
                || members.text.is_some_and(|text| text.0),
        ))
    }
}

#[cfg(test)]
mod tests;
