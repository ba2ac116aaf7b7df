//! Mistral's dialect: `OpenAI`'s bodies for the most part, with errors that are flat and routes that mean something else
//! (to add to a conversation is AI work here).

use std::sync::LazyLock;

use serde::Serialize;

use super::frames::{Event, Framing};
use super::path::model_to_read;
use super::table::Table;
use super::{Credential, Dialect, EventKind, PathError, Refusal, Root, Rules, Worded, openai};

pub(super) static RULES: Rules = Rules {
    word: "mistral",
    table: include_str!("mistral.routes"),
    routes: LazyLock::new(|| Table::parse(Dialect::Mistral, RULES.table)),
    base: "",
    root,
    slashes: model_to_read,
    credential: |_| Credential::Bearer,
    refusal,
    framing: Framing::usual,
    event,
};

fn root(segments: &[&str]) -> Result<Root, PathError> {
    let is_version = |segment: &str| matches!(segment, "v1" | "v2");
    let begins = |rest: &[&str]| rest.first().is_some_and(|first| is_version(first));
    Root::before(segments, is_version, begins, "/v1")
}

fn refusal(refusal: &Refusal<'_>) -> Worded {
    #[derive(Serialize)]
    struct Body<'a> {
        object: &'static str,
        message: &'a str,
        r#type: &'a str,
        param: Option<&'a str>,
        code: &'a str,
    }
    let Refusal { kind, code, message, param, .. } = *refusal;
    Worded::plain(refusal, &Body { object: "error", message, r#type: kind, param, code })
}

fn event(event: Event<'_>) -> EventKind {
    match event.name {
        b"conversation.response.done" => EventKind::Done,
        b"conversation.response.error" => EventKind::Error,
        _ => openai::event(event),
    }
}
