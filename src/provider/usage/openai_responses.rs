//! The Responses API: `usage.input_tokens`, in a stream below `response` of the last event. Searches of the web are items of
//! the output, each told when it is done and once more by the last event. To open a page or to look for a word on it is
//! such an item too, and not billed (OpenAI's guide to web search).

use super::{Mention, Number, Shape};
use crate::credit::Unit;

pub(super) const SHAPE: Shape = Shape { number, is_output, search, ..super::OF_TOKENS };

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

/// What an item is, and what it does. An item of the older tool doesn't say what it does, and searches.
fn search(path: &str, word: Option<&str>) -> Option<Mention> {
    let (is_told, member) = match path.strip_prefix("item.") {
        Some(member) => (true, member),
        None => (false, path.strip_prefix("response.").unwrap_or(path).strip_prefix("output[].")?),
    };
    let is_search = match (member, word?) {
        ("type", "web_search_call") => true,
        ("action.type", "open_page" | "find_in_page" | "find") => false,
        _ => return None,
    };
    Some(match (is_told, is_search) {
        (true, true) => Mention::Told,
        (true, false) => Mention::NotTold,
        (false, true) => Mention::Listed,
        (false, false) => Mention::NotListed,
    })
}
