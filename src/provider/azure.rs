//! The dialect of Azure `OpenAI` and Foundry: `OpenAI`'s bodies, and Anthropic's, below paths of its own.
//!
//! What a caller names as its model there is a deployment, which stands in the path. The parameter `api-version` is the
//! caller's and passes on.

use std::sync::LazyLock;

use http::Method;

use super::frames::Framing;
use super::path::SURPLUS_MAX;
use super::table::Table;
use super::{Credential, Dialect, PathError, Root, Rules, openai};

pub(super) static RULES: Rules = Rules {
    word: "azure",
    table: include_str!("azure.routes"),
    routes: LazyLock::new(|| Table::parse(Dialect::OpenAi, RULES.table)),
    base: "",
    root,
    slashes: model_to_read,
    credential,
    refusal: openai::refusal,
    framing: Framing::usual,
    event: openai::event,
};

/// `/openai/deployments/…`, `/openai/…` and `/anthropic/…` as they are; all else below `/openai/v1`, where Azure takes
/// what `OpenAI`'s own libraries send.
fn root(segments: &[&str]) -> Result<Root, PathError> {
    let dropped = segments.iter().take_while(|segment| **segment == "v1").count();
    if dropped > 1 + SURPLUS_MAX {
        return Err(PathError::TooManyVersions);
    }
    let put = match segments.get(dropped) {
        Some(&"openai" | &"anthropic") => "",
        Some(&"deployments") => "/openai",
        Some(_) | None => "/openai/v1",
    };
    Ok(Root { dropped, put })
}

fn model_to_read<'p>(method: &Method, path: &'p str) -> Option<&'p str> {
    let reads = *method == Method::GET || *method == Method::HEAD;
    let beginnings = ["/openai/models/", "/openai/v1/models/"];
    beginnings.iter().find_map(|start| path.strip_prefix(start)).filter(|_| reads)
}

fn credential(language: Dialect) -> Credential {
    if language == Dialect::Anthropic {
        Credential::Headers(["api-key", "x-api-key"])
    } else {
        Credential::Header("api-key")
    }
}
