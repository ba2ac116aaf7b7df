//! Ollama's own dialect: a JSON document on each line, the last of which says `done`. Below `/v1` it speaks those of
//! `OpenAI` and Anthropic.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::frames::{Event, Framing};
use super::path::model_to_read;
use super::substance::{Content, Substance};
use super::table::Table;
use super::{Credential, Dialect, EventKind, PathError, Refusal, Root, Rules, Worded};

pub(super) static RULES: Rules = Rules {
    word: "ollama",
    table: include_str!("ollama.routes"),
    routes: LazyLock::new(|| Table::parse(Dialect::Ollama, RULES.table)),
    base: "",
    root,
    slashes: model_to_read,
    credential: |_| Credential::Bearer,
    refusal,
    framing,
    event,
};

fn root(segments: &[&str]) -> Result<Root, PathError> {
    let is_version = |segment: &str| segment == "v1";
    let begins = |rest: &[&str]| rest.first().is_some_and(|first| matches!(*first, "v1" | "api"));
    // The bare address, which is asked for whether the server lives, is a path of its own.
    if segments.is_empty() {
        return Ok(Root { dropped: 0, put: "" });
    }
    Root::before(segments, is_version, begins, "/v1")
}

fn refusal(refusal: &Refusal<'_>) -> Worded {
    #[derive(Serialize)]
    struct Body<'a> {
        error: &'a str,
    }
    Worded::plain(refusal, &Body { error: refusal.message })
}

fn framing(content_type: &str) -> Framing {
    match content_type {
        "application/x-ndjson" => Framing::Lines,
        other => Framing::usual(other),
    }
}

fn event(event: Event<'_>) -> EventKind {
    if !event.whole {
        return EventKind::Output;
    }
    let Ok(probe) = serde_json::from_slice::<Probe>(event.data) else {
        return EventKind::Other;
    };
    let says = probe.response.is_some_and(|text| text.0)
        || probe.thinking.is_some_and(|text| text.0)
        || probe.image.is_some_and(|image| image.0)
        || probe.message.is_some_and(|message| message.0);
    match probe {
        Probe { error: Some(Substance(true)), .. } => EventKind::Error,
        _ if says => EventKind::Output,
        Probe { done: true, .. } => EventKind::Done,
        Probe { .. } => EventKind::Other,
    }
}

/// The members of a line that decide what it is.
#[derive(Deserialize)]
struct Probe {
    #[serde(default)]
    message: Option<Content>,
    #[serde(default)]
    response: Option<Substance>,
    #[serde(default)]
    thinking: Option<Substance>,
    #[serde(default)]
    image: Option<Substance>,
    #[serde(default)]
    error: Option<Substance>,
    #[serde(default)]
    done: bool,
}
