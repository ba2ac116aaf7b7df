//! `billed_units`: what is charged, which is less than what was read. In `usage` since version 2, in `meta` before it and
//! where there are no words; in a stream below the last event's `delta` or `response`.

use super::{Number, Shape};
use crate::credit::Unit;

pub(super) const SHAPE: Shape = Shape { number, is_output, ..super::OF_TOKENS };

/// Embeddings have no words.
pub(super) const EMBEDDINGS: Shape = Shape { is_output: |_, _| false, answers_in: None, ..SHAPE };

fn number(path: &str, _: &str) -> Option<Number> {
    let path = path.strip_prefix("delta.").or(path.strip_prefix("response.")).unwrap_or(path);
    Some(match path.strip_prefix("usage.").or(path.strip_prefix("meta."))? {
        "billed_units.input_tokens" => Number::AllInput,
        "billed_units.output_tokens" => Number::AllOutput,
        "billed_units.search_units" => Number::Of(Unit::Search),
        "cached_tokens" => Number::Of(Unit::CachedInput),
        _ => return None,
    })
}

/// Text, plans, and what a tool is called with; the whole of it, or its pieces.
fn is_output(path: &str, kind: &str) -> bool {
    let Some(message) = path.strip_prefix("delta.message.").or(path.strip_prefix("message."))
    else {
        // The first version: its last event repeats the text below `response`.
        return path == "text" && kind != "stream-end";
    };
    let last = message.rsplit('.').next().unwrap_or_default();
    matches!(last, "text" | "thinking" | "tool_plan" | "name" | "arguments")
}
