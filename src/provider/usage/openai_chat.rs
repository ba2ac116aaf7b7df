//! Chat, completions, embeddings, runs: `usage.prompt_tokens`; documents. Others that speak this shape say the same elsewhere or
//! with further names, which do no harm here.

use super::{Number, Shape};
use crate::credit::Unit;

pub(super) const SHAPE: Shape = Shape { number, is_output, ..super::OF_TOKENS };

/// Embeddings have no words.
pub(super) const EMBEDDINGS: Shape = Shape { is_output: |_, _| false, answers_in: None, ..SHAPE };

fn number(path: &str, _: &str) -> Option<Number> {
    // Mistral's, of documents.
    if path == "usage_info.pages_processed" {
        return Some(Number::Of(Unit::Page));
    }
    let path = path.strip_prefix("x_groq.").unwrap_or(path);
    Some(match path.strip_prefix("usage.")? {
        "prompt_tokens" => Number::AllInput,
        // The second is DeepSeek's.
        "prompt_tokens_details.cached_tokens" | "prompt_cache_hit_tokens" => {
            Number::Of(Unit::CachedInput)
        }
        // Mistral's.
        "prompt_audio_seconds" => Number::Of(Unit::AudioSecond),
        "connectors.web_search" => Number::Of(Unit::Search),
        "connectors.web_search_premium" => Number::Beside(Unit::Search),
        "prompt_tokens_details.cache_write_tokens" => Number::Of(Unit::CacheWrites),
        "prompt_tokens_details.audio_tokens" => Number::Of(Unit::AudioInput),
        "prompt_tokens_details.image_tokens" => Number::Of(Unit::ImageInput),
        "completion_tokens" => Number::AllOutput,
        "completion_tokens_details.reasoning_tokens" => Number::Of(Unit::Reasoning),
        "completion_tokens_details.audio_tokens" => Number::Of(Unit::AudioOutput),
        _ => return None,
    })
}

/// Not a list of names, since each vendor has its own for reasoning: all texts but those that say who speaks and which
/// call is meant, and sound.
fn is_output(path: &str, _: &str) -> bool {
    let Some(choice) = path.strip_prefix("choices[].") else {
        // A message of a run.
        return path == "delta.content[].text.value";
    };
    let text = choice.strip_prefix("delta.").or(choice.strip_prefix("message."));
    text.map_or(choice == "text", |text| {
        let last = text.rsplit('.').next().unwrap_or_default();
        !matches!(last, "role" | "id" | "type" | "data") && !text.starts_with("annotations")
    })
}
