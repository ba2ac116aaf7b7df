//! Pictures: counted one by one, and, from the models that work in tokens, `usage`.

use super::{Number, Shape};
use crate::credit::Unit;

pub(super) const SHAPE: Shape =
    Shape { number, image, answers_in: Some(Unit::ImageOutput), ..super::OF_TOKENS };

fn number(path: &str, _: &str) -> Option<Number> {
    Some(match path.strip_prefix("usage.")? {
        "input_tokens" => Number::AllInput,
        "input_tokens_details.image_tokens" => Number::Of(Unit::ImageInput),
        "output_tokens" => Number::AllOutput,
        "output_tokens_details.text_tokens" => Number::Of(Unit::Output),
        _ => return None,
    })
}

/// Each of a list, or the last event of each picture in a stream.
fn image(path: &str, kind: &str) -> bool {
    match path {
        "data[]" => true,
        "" => matches!(kind, "image_generation.completed" | "image_edit.completed"),
        _ => false,
    }
}
