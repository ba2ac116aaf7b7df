//! Converse: `usage.inputTokens`, in which no cached token is; in a stream in its last frame. A model that is called by its
//! name alone answers as its maker's own service does.

use super::{Number, Shape, anthropic};
use crate::credit::Unit;

pub(super) const SHAPE: Shape =
    Shape { number, is_output, image: |_, _| false, answers_in: Some(Unit::Output) };

fn number(path: &str, modality: &str) -> Option<Number> {
    Some(match path.strip_prefix("usage.")? {
        "inputTokens" => Number::AllInput,
        "cacheReadInputTokens" => Number::Beside(Unit::CachedInput),
        "cacheWriteInputTokens" => Number::Beside(Unit::CacheWrites),
        "outputTokens" => Number::AllOutput,
        _ => return (anthropic::SHAPE.number)(path, modality),
    })
}

/// The text of a block, or its pieces; for a tool its name and what it is given.
fn is_output(path: &str, kind: &str) -> bool {
    let block = path.strip_prefix("output.message.content[].").or(path.strip_prefix("delta."));
    let said = block.is_some_and(|text| {
        text == "text" || text.starts_with("toolUse.input") || text.starts_with("reasoningContent.")
    });
    said && !path.ends_with(".signature") || (anthropic::SHAPE.is_output)(path, kind)
}
