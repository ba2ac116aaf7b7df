//! The dialect of Google's Vertex AI: Gemini's, Anthropic's and `OpenAI`'s bodies below the paths of a Google Cloud
//! project.
//!
//! It wants an access token of Google Cloud, which ends after an hour: whoever runs the gateway renews it.

use std::sync::LazyLock;

use super::table::Table;
use super::{Credential, Dialect, PathError, Root, Rules, gemini};

pub(super) static RULES: Rules = Rules {
    word: "vertex",
    table: include_str!("vertex.routes"),
    routes: LazyLock::new(|| Table::parse(Dialect::Gemini, RULES.table)),
    base: "",
    root,
    slashes: |_, _| None,
    credential: |_| Credential::Bearer,
    refusal: gemini::refusal,
    framing: gemini::framing,
    event: gemini::event,
};

fn root(segments: &[&str]) -> Result<Root, PathError> {
    let is_version = |segment: &str| matches!(segment, "v1" | "v1beta1");
    let begins = |rest: &[&str]| rest.first().is_some_and(|first| is_version(first));
    Root::before(segments, is_version, begins, "/v1")
}
