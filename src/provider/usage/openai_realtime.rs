//! The Realtime API: `response.usage` of the event that ends a response, and `usage` of a transcription. Cached sound is
//! among the cached tokens and among those of sound; it counts as cached.

use super::{Number, Shape};
use crate::credit::Unit;

pub(super) const SHAPE: Shape = Shape { number, is_output, ..super::OF_TOKENS };

fn number(path: &str, _: &str) -> Option<Number> {
    let path = path.strip_prefix("response.").unwrap_or(path);
    Some(match path.strip_prefix("usage.")? {
        "seconds" => Number::Of(Unit::AudioSecond),
        "input_tokens" => Number::AllInput,
        "input_token_details.cached_tokens" => Number::Of(Unit::CachedInput),
        "input_token_details.audio_tokens" => Number::Of(Unit::AudioInput),
        "input_token_details.image_tokens" => Number::Of(Unit::ImageInput),
        "input_token_details.cached_tokens_details.audio_tokens" => {
            Number::AlsoIn(Unit::AudioInput)
        }
        "input_token_details.cached_tokens_details.image_tokens" => {
            Number::AlsoIn(Unit::ImageInput)
        }
        "output_tokens" => Number::AllOutput,
        "output_token_details.audio_tokens" => Number::Of(Unit::AudioOutput),
        "output_token_details.reasoning_tokens" => Number::Of(Unit::Reasoning),
        _ => return None,
    })
}

/// The pieces of what is said or called; sound comes with its transcript, whose words are counted.
fn is_output(path: &str, kind: &str) -> bool {
    path == "delta" && !kind.contains("audio.delta")
}
