//! `OpenRouter`'s dialect: `OpenAI`'s and Anthropic's bodies below `/api/v1`, and routes of its own.
//!
//! A request may name several models, of which one answers: the dearest of them sets the price.

use std::sync::LazyLock;

use super::frames::Framing;
use super::table::Table;
use super::{Credential, Dialect, PathError, Root, Rules, openai};

pub(super) static RULES: Rules = Rules {
    word: "openrouter",
    table: include_str!("openrouter.routes"),
    routes: LazyLock::new(|| Table::parse(Dialect::OpenAi, RULES.table)),
    base: "",
    root,
    slashes: |_, _| None,
    credential: |_| Credential::Bearer,
    refusal: openai::refusal,
    framing: Framing::usual,
    event: openai::event,
};

fn root(segments: &[&str]) -> Result<Root, PathError> {
    let begins = |rest: &[&str]| matches!(rest, ["api", "v1" | "alpha", ..]);
    let before = Root::before(segments, |segment| segment == "v1", begins, "/api/v1")?;
    if before.put.is_empty() {
        return Ok(before);
    }
    Root::after_versions(segments, |segment| segment == "v1", "/api/v1")
}
