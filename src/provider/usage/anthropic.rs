//! Messages: `usage.input_tokens`, in which no cached token is. A stream tells the request's at its start (below `message`)
//! and the answer's at its end; what it says of the answer at its start is not yet true.

use super::{Number, Shape};
use crate::credit::Unit;

pub(super) const SHAPE: Shape = Shape { number, is_output, ..super::OF_TOKENS };

fn number(path: &str, _: &str) -> Option<Number> {
    // A line of a batch's results tells one of its answers.
    let path = path.strip_prefix("result.message.").unwrap_or(path);
    let at_start = path.strip_prefix("message.");
    Some(match at_start.unwrap_or(path).strip_prefix("usage.")? {
        "input_tokens" => Number::AllInput,
        "cache_read_input_tokens" => Number::Beside(Unit::CachedInput),
        "cache_creation_input_tokens" => Number::Beside(Unit::CacheWrites),
        "server_tool_use.web_search_requests" => Number::Of(Unit::Search),
        "output_tokens" if at_start.is_none() => Number::AllOutput,
        "output_tokens_details.thinking_tokens" => Number::Of(Unit::Reasoning),
        _ => return None,
    })
}

/// The text of a block, or its pieces; for a tool its name and what it is given.
fn is_output(path: &str, _: &str) -> bool {
    match path {
        "delta.text" | "delta.thinking" | "delta.partial_json" | "content_block.name"
        | "content[].text" | "content[].thinking" | "content[].name" => true,
        _ => path.starts_with("content[].input"),
    }
}
