//! `usageMetadata`, which each piece of a stream repeats and counts from the start: what came last holds also where the
//! stream breaks off. Thoughts and the words of tools are counted beside the rest.

use super::{Mention, Number, Shape};
use crate::credit::Unit;

pub(super) const SHAPE: Shape =
    Shape { number, is_output, search, id: &["id", "name"], ..super::OF_TOKENS };

/// Embeddings have no words.
pub(super) const EMBEDDINGS: Shape = Shape { is_output: |_, _| false, answers_in: None, ..SHAPE };

/// The Live API: the answer is a turn of the model, and other words name its tokens.
pub(super) const LIVE: Shape =
    Shape { number: live_number, is_output: live_output, ..super::OF_TOKENS };

fn live_number(path: &str, modality: &str) -> Option<Number> {
    Some(match path.strip_prefix("usageMetadata.")? {
        "responseTokenCount" => Number::AllOutput,
        "responseTokensDetails[].tokenCount" => {
            Number::Of(special(modality, Unit::AudioOutput, Unit::ImageOutput)?)
        }
        "cacheTokensDetails[].tokenCount" => {
            Number::AlsoIn(special(modality, Unit::AudioInput, Unit::ImageInput)?)
        }
        _ => return number(path, modality),
    })
}

fn live_output(path: &str, _: &str) -> bool {
    path == "serverContent.modelTurn.parts[].text"
        || path == "serverContent.outputTranscription.text"
        || path.starts_with("toolCall.functionCalls[].")
}

fn number(path: &str, modality: &str) -> Option<Number> {
    // A stream without `alt=sse` is one long list.
    let path = path.strip_prefix("[].").unwrap_or(path);
    if let Some(name) = path.strip_prefix("usage.").or(path.strip_prefix("interaction.usage.")) {
        return interaction(name);
    }
    Some(match path.strip_prefix("usageMetadata.")? {
        "promptTokenCount" => Number::AllInput,
        "cachedContentTokenCount" => Number::Of(Unit::CachedInput),
        "toolUsePromptTokenCount" => Number::Beside(Unit::Input),
        "candidatesTokenCount" => Number::AllOutput,
        "thoughtsTokenCount" => Number::Beside(Unit::Reasoning),
        "promptTokensDetails[].tokenCount" => {
            Number::Of(special(modality, Unit::AudioInput, Unit::ImageInput)?)
        }
        "candidatesTokensDetails[].tokenCount" => {
            Number::Of(special(modality, Unit::AudioOutput, Unit::ImageOutput)?)
        }
        _ => return None,
    })
}

fn special(modality: &str, audio: Unit, image: Unit) -> Option<Unit> {
    match modality {
        "AUDIO" => Some(audio),
        "IMAGE" => Some(image),
        _ => None,
    }
}

/// What the interactions API calls the same things.
fn interaction(name: &str) -> Option<Number> {
    Some(match name {
        "total_input_tokens" => Number::AllInput,
        "total_cached_tokens" => Number::Of(Unit::CachedInput),
        "total_tool_use_tokens" => Number::Beside(Unit::Input),
        "total_output_tokens" => Number::AllOutput,
        "total_thought_tokens" => Number::Beside(Unit::Reasoning),
        // Of the web, of maps, of documents; which of them follows behind the number.
        "grounding_tool_count[].count" => Number::SearchesOfAKind,
        _ => return None,
    })
}

/// Text, and what a function is called with.
fn is_output(path: &str, _: &str) -> bool {
    let path = path.strip_prefix("[].").unwrap_or(path);
    path.strip_prefix("candidates[].content.parts[].")
        .is_some_and(|part| part == "text" || part.starts_with("functionCall."))
}

/// Each query that was not empty; of those Google bills each. A stream lists them again.
fn search(path: &str, word: Option<&str>) -> Option<Mention> {
    let path = path.strip_prefix("[].").unwrap_or(path);
    let is_query = path == "candidates[].groundingMetadata.webSearchQueries[]";
    (is_query && word != Some("")).then_some(Mention::Listed)
}
