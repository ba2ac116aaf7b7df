//! The dialect of `api.openai.com`, also spoken by many other providers and most gateways.
//!
//! Routes, error bodies, and what the events of a stream mean. Reads only the fields that decide.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use bytes::Bytes;
use http::Method;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize as DeriveDeserialize, Serialize};

use super::routes::Table;
use super::sse::Event;
use super::{Class, EventKind, Path, Refusal, Route};

static ROUTES: LazyLock<Table> = LazyLock::new(|| Table::parse(include_str!("openai.routes")));

pub(super) fn route(method: &Method, upgrade: bool, path: &Path) -> Route {
    let route = ROUTES.find(method, upgrade, path);
    let unlisted = matches!(route.class, Class::Unknown);
    if unlisted && path.as_str().starts_with("/v1/organization/") {
        // All below it administers the organisation: what the table does not list yet must not pass as an unknown read.
        return Route { class: Class::Administration, pattern: "/v1/organization/…", ..route };
    }
    route
}

pub(super) fn error_body(refusal: &Refusal<'_>) -> Bytes {
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
    let Refusal { status: _, kind, code, message, param } = *refusal;
    let body = Body { error: Error { message, r#type: kind, param, code } };
    serde_json::to_vec(&body).expect("strings always serialise").into()
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
#[derive(DeriveDeserialize)]
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

/// Whether one choice does: its `text`, or anything in its `delta` beside the role. Not a list of fields, since
/// each vendor has its own for reasoning.
struct Choice(bool);

/// Whether a `delta` says more than who speaks.
struct Delta(bool);

/// Whether a value is more than null, or an empty string, list or object.
struct Substance(bool);

impl<'de> Deserialize<'de> for Choices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let choices = Vec::<Choice>::deserialize(deserializer)?;
        Ok(Self(choices.iter().any(|choice| choice.0)))
    }
}

impl<'de> Deserialize<'de> for Choice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(DeriveDeserialize)]
        struct Members {
            #[serde(default)]
            delta: Option<Delta>,
            #[serde(default)]
            message: Option<Delta>,
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

impl<'de> Deserialize<'de> for Delta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Delta;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the delta of a choice")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Delta, A::Error> {
                let mut says = false;
                while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                    let value = map.next_value::<Substance>()?;
                    says |= value.0 && !matches!(&*name, "role" | "name" | "obfuscation");
                }
                Ok(Delta(says))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl<'de> Deserialize<'de> for Substance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SubstanceVisitor)
    }
}

struct SubstanceVisitor;

impl<'de> Visitor<'de> for SubstanceVisitor {
    type Value = Substance;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Substance, E> {
        Ok(Substance(false))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Substance, E> {
        Ok(Substance(true))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Substance, E> {
        Ok(Substance(true))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Substance, E> {
        Ok(Substance(true))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Substance, E> {
        Ok(Substance(true))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Substance, E> {
        Ok(Substance(!text.is_empty()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Substance, A::Error> {
        let mut any = false;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            any = true;
        }
        Ok(Substance(any))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Substance, A::Error> {
        let mut any = false;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            any = true;
        }
        Ok(Substance(any))
    }
}

#[cfg(test)]
mod tests;
