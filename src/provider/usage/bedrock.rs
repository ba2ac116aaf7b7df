//! Converse: `usage.inputTokens`, in which no cached token is; in a stream in its last frame. A model that is called by its
//! name alone answers as its maker's own service does; the last event of its stream has Amazon's own count beside that.

use super::{Number, Shape, anthropic};
use crate::credit::Unit;

pub(super) const SHAPE: Shape = Shape { number, is_output, ..super::OF_TOKENS };

fn number(path: &str, modality: &str) -> Option<Number> {
    if let Some(name) = path.strip_prefix("amazon-bedrock-invocationMetrics.") {
        return invocation(name);
    }
    Some(match path.strip_prefix("usage.").unwrap_or_default() {
        "inputTokens" => Number::AllInput,
        "cacheReadInputTokens" => Number::Beside(Unit::CachedInput),
        "cacheWriteInputTokens" => Number::Beside(Unit::CacheWrites),
        "outputTokens" => Number::AllOutput,
        _ => return (anthropic::SHAPE.number)(path, modality),
    })
}

/// What Amazon counted of any maker's model.
fn invocation(name: &str) -> Option<Number> {
    Some(match name {
        "inputTokenCount" => Number::AllInput,
        "cacheReadInputTokenCount" => Number::Beside(Unit::CachedInput),
        "cacheWriteInputTokenCount" => Number::Beside(Unit::CacheWrites),
        "outputTokenCount" => Number::AllOutput,
        _ => return None,
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
