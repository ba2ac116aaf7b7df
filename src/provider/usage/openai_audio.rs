//! Speech and transcriptions: tokens or seconds, as the model goes. Subtitles and plain sound report nothing.

use super::{Number, Shape};
use crate::credit::Unit;

pub(super) const TRANSCRIPTION: Shape = Shape { number, is_output, ..super::OF_TOKENS };

/// Speech answers in sound.
pub(super) const SPEECH: Shape = Shape { answers_in: Some(Unit::AudioOutput), ..TRANSCRIPTION };

fn number(path: &str, _: &str) -> Option<Number> {
    // The verbose form of a transcription told its length before there was any usage.
    if path == "duration" {
        return Some(Number::Of(Unit::AudioSecond));
    }
    Some(match path.strip_prefix("usage.")? {
        "seconds" => Number::Of(Unit::AudioSecond),
        "input_tokens" => Number::AllInput,
        "input_token_details.audio_tokens" => Number::Of(Unit::AudioInput),
        "output_tokens" => Number::AllOutput,
        _ => return None,
    })
}

/// The whole text, or its pieces.
fn is_output(path: &str, kind: &str) -> bool {
    match path {
        "text" => kind != "transcript.text.done",
        "delta" => true,
        _ => false,
    }
}
