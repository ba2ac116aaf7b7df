//! `prompt_eval_count` and `eval_count`, in the last line of a stream. A prompt that was in the cache may not be counted.

use super::{Number, Shape};

pub(super) const SHAPE: Shape = Shape { number, is_output, ..super::OF_TOKENS };

/// Embeddings have no words.
pub(super) const EMBEDDINGS: Shape = Shape { is_output: |_, _| false, answers_in: None, ..SHAPE };

fn number(path: &str, _: &str) -> Option<Number> {
    match path {
        "prompt_eval_count" => Some(Number::AllInput),
        "eval_count" => Some(Number::AllOutput),
        _ => None,
    }
}

/// What is said and thought, and what a function is called with.
fn is_output(path: &str, _: &str) -> bool {
    matches!(path, "response" | "thinking" | "message.content" | "message.thinking")
        || path.starts_with("message.tool_calls[].function.")
}
