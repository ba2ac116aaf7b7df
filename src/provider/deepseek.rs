//! `DeepSeek`'s dialect: `OpenAI`'s bodies without a version in the path, and Anthropic's below `/anthropic`.

use std::sync::LazyLock;

use super::frames::Framing;
use super::table::Table;
use super::{Credential, Dialect, PathError, Root, Rules, openai};

pub(super) static RULES: Rules = Rules {
    word: "deepseek",
    table: include_str!("deepseek.routes"),
    routes: LazyLock::new(|| Table::parse(Dialect::OpenAi, RULES.table)),
    base: "",
    root,
    slashes: |_, _| None,
    credential,
    refusal: openai::refusal,
    framing: Framing::usual,
    event: openai::event,
};

fn root(segments: &[&str]) -> Result<Root, PathError> {
    Root::after_versions(segments, |segment| segment == "v1", "")
}

fn credential(language: Dialect) -> Credential {
    if language == Dialect::Anthropic {
        Credential::Header("x-api-key")
    } else {
        Credential::Bearer
    }
}
