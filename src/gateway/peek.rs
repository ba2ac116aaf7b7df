//! Reads the model's name, and whether a stream is asked for, from a whole request body.
//!
//! What is read is the decoded text of a compressed one. The body itself goes to the provider unchanged, so what is read here must be what the provider will read:
//! where two parsers may differ (a field given twice, bytes that are no text, something after the object), the
//! request is refused. Pure functions: no HTTP types, no prices. Nested values are skipped without recursion, so
//! depth costs nothing.

use bytes::Bytes;

use crate::coding::{Coding, Undecodable, Unsupported};
use crate::provider::ModelAt;
use crate::provider::credentials::percent_decoded;

mod form;
mod json;
mod list;

/// Longest model name taken, in bytes.
pub const MODEL_BYTES_MAX: usize = 256;

/// Most different models that a request may name.
pub const MODELS_MAX: usize = 32;

/// Deepest nesting of a JSON body. No provider takes more, and many parsers behind them fail on it.
pub const NESTING_MAX: usize = 512;

/// What a request says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peek {
    /// `None` where the route allows that: never empty.
    pub model: Option<String>,
    /// Other models: those of which the provider may take one instead, or those of a batch.
    pub others: Vec<String>,
    /// The client asks for the answer as a stream of events.
    pub stream: bool,
}

/// Why a body can't be read. Each is answered with 400, with this sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("The request body is empty; send a JSON object with the field `model`.")]
    EmptyBody,
    #[error("The request body is not valid UTF-8 from byte {at} on; JSON is always UTF-8.")]
    InvalidUtf8 { at: usize },
    #[error("The request body is not valid JSON: the fault is at line {line}, column {column}.")]
    NotJson { line: usize, column: usize },
    #[error("The request body is nested deeper than {NESTING_MAX} levels; flatten it.")]
    TooDeep,
    #[error("The request body is not a JSON object; send an object with the field `model`.")]
    NotAnObject,
    #[error("The request names no model; set the field `model`.")]
    NoModel,
    #[error(
        "The name of the model is longer than {MODEL_BYTES_MAX} bytes; no model has such a name."
    )]
    ModelTooLong,
    #[error(
        "The field `{field}` has the wrong type; `model` is a string, `stream` true or false, `models` a list of at most \
         {MODELS_MAX} names, `requests` a list of objects with `params`."
    )]
    WrongType { field: &'static str },
    #[error("The field `{field}` is given twice; give it once.")]
    DuplicateField { field: &'static str },
    #[error("A field is named like `{field}` in another letter case; write it `{field}`, once.")]
    OtherCase { field: &'static str },
    #[error("The header `{header}` is given twice or is not text; give it once.")]
    DoubtfulHeader { header: &'static str },
    #[error(
        "The content-encoding of the request body ({encoding}) can't be read here; send it plain, or in one of {}.",
        Coding::ALL
    )]
    UnsupportedEncoding { encoding: String },
    #[error("The compressed request body can't be read: {0}. Send it plain.")]
    Undecodable(#[from] Undecodable),
    #[error("The content type of this request must be {expected}.")]
    WrongContentType { expected: &'static str },
    #[error(
        "The request body is not a valid multipart form; check its boundary and its last line."
    )]
    NotAForm,
}

/// Reads what `at` tells to read from `body`.
///
/// [`ModelAt::Query`], [`ModelAt::Path`] and [`ModelAt::Absent`] leave the body alone; see [`model_in_query`] and
/// [`model_in_path`] for the first two.
pub fn peek(at: ModelAt, content_type: Option<&str>, body: &Bytes) -> Result<Peek, Malformed> {
    let is_form = content_type.is_some_and(is_multipart);
    let (form, required) = match at {
        ModelAt::Query(_) | ModelAt::Path | ModelAt::Absent => return Ok(Peek::default()),
        ModelAt::Json => (false, true),
        ModelAt::JsonOptional | ModelAt::JsonSeveral | ModelAt::Batch => (false, false),
        ModelAt::Multipart => (true, true),
        ModelAt::JsonOrMultipart => (is_form, false),
    };
    if body.is_empty() {
        return if required { Err(Malformed::EmptyBody) } else { Ok(Peek::default()) };
    }
    let peek = match (form, content_type) {
        (true, Some(content_type)) if is_form => form::peek(content_type, body)?,
        (true, _) => return Err(Malformed::WrongContentType { expected: "multipart/form-data" }),
        (false, _) if is_form => {
            return Err(Malformed::WrongContentType { expected: "application/json" });
        }
        (false, _) => peek_json(at, json::text(body)?)?,
    };
    if required && peek.model.is_none() { Err(Malformed::NoModel) } else { Ok(peek) }
}

fn peek_json(at: ModelAt, text: &str) -> Result<Peek, Malformed> {
    let peek = json::peek(text)?;
    let others = match at {
        ModelAt::JsonSeveral => list::alternatives(text)?,
        ModelAt::Batch => list::of_batch(text)?,
        ModelAt::Json
        | ModelAt::JsonOptional
        | ModelAt::Multipart
        | ModelAt::JsonOrMultipart
        | ModelAt::Query(_)
        | ModelAt::Path
        | ModelAt::Absent => Vec::new(),
    };
    Ok(Peek { others, ..peek })
}

/// The model that is the parameter `field` of a query, decoded.
pub fn model_in_query(query: &str, field: &'static str) -> Result<Option<String>, Malformed> {
    let mut model = None;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if percent_decoded(name).as_deref() != Some(field) {
            continue;
        }
        let value = percent_decoded(value).ok_or(Malformed::WrongType { field })?;
        if model.replace(value).is_some() {
            return Err(Malformed::DuplicateField { field });
        }
    }
    model.map_or(Ok(None), |model| checked_model(&model).map(Some))
}

/// The model of a path, decoded from its escapes.
pub fn model_in_path(escaped: &str) -> Result<String, Malformed> {
    let model = percent_decoded(escaped).ok_or(Malformed::WrongType { field: "model" })?;
    checked_model(&model)
}

/// A name that was given must be a name: an empty one is refused even where none is needed.
fn checked_model(model: &str) -> Result<String, Malformed> {
    match model.len() {
        0 => Err(Malformed::NoModel),
        1..=MODEL_BYTES_MAX => Ok(model.to_owned()),
        _ => Err(Malformed::ModelTooLong),
    }
}

impl From<Unsupported> for Malformed {
    fn from(Unsupported(encoding): Unsupported) -> Self {
        Self::UnsupportedEncoding { encoding }
    }
}

fn is_multipart(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("multipart/form-data")
}

#[cfg(test)]
mod tests;
