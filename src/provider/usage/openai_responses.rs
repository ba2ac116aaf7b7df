//! The Responses API: `usage.input_tokens`, in a stream below `response` of the last event.

use super::{Number, Shape};
use crate::credit::Unit;

pub(super) const SHAPE: Shape =
    Shape { number, is_output, image: |_, _| false, answers_in: Some(Unit::Output) };

fn number(path: &str, _: &str) -> Option<Number> {
    let path = path.strip_prefix("response.").unwrap_or(path);
    Some(match path.strip_prefix("usage.")? {
        "input_tokens" => Number::AllInput,
        "input_tokens_details.cached_tokens" => Number::Of(Unit::CachedInput),
        "input_tokens_details.cache_write_tokens" => Number::Of(Unit::CacheWrites),
        "output_tokens" => Number::AllOutput,
        "output_tokens_details.reasoning_tokens" => Number::Of(Unit::Reasoning),
        _ => return None,
    })
}

/// A stream says each text piece by piece (`delta`) and then whole, where it is not counted again. Sound is no text.
fn is_output(path: &str, kind: &str) -> bool {
    match path {
        "delta" => !kind.contains("audio.delta"),
        "output[].content[].text"
        | "output[].content[].refusal"
        | "output[].summary[].text"
        | "output[].arguments"
        | "output[].name"
        | "output[].input" => true,
        _ => false,
    }
}
