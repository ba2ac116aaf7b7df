//! What `OpenAI` would be asked for.

use http::StatusCode;
use serde_json::{Value, json};

use super::content::{Answer, CREATED, MODELS};
use super::files::{FileError, Files};
use super::request::Request;
use super::{audio, chat, responses, vectors};
use crate::provider::Path;
use crate::provider::credentials::percent_decoded;

/// Answers a request to the route `pattern`; nothing if it is none of those that have an answer of their own.
pub(super) fn answer(
    request: &Request,
    path: &Path,
    pattern: &str,
    files: &Files,
) -> Result<Option<Answer>, (StatusCode, String)> {
    let last = path.as_str().rsplit('/').next().unwrap_or_default();
    let file_error = |error: FileError| (StatusCode::BAD_REQUEST, error.to_string());
    let no_file = || (StatusCode::NOT_FOUND, "No such file.".to_owned());
    // The same below another provider's beginning.
    let pattern = pattern.replace("/v1beta/openai/", "/v1/");
    Ok(Some(match (request.head.method.as_str(), pattern.as_str()) {
        ("POST", "/v1/chat/completions") => chat::chat(request),
        ("POST", "/v1/completions") => chat::completion(request),
        ("POST", "/v1/responses") => responses::create(request),
        ("GET", "/v1/responses/{response_id}") => responses::retrieve(request, last),
        ("POST", "/v1/embeddings") => vectors::embeddings(request),
        ("POST", "/v1/moderations") => vectors::moderations(request),
        ("POST", "/v1/images/generations" | "/v1/images/edits" | "/v1/images/variations") => {
            vectors::image(request)
        }
        ("POST", "/v1/audio/speech") => audio::speech(request),
        ("POST", "/v1/audio/transcriptions" | "/v1/audio/translations") => {
            audio::transcription(request)
        }
        ("GET" | "HEAD", "/v1/models") => {
            let models: Vec<_> = MODELS.into_iter().map(model).collect();
            Answer::Json(json!({ "object": "list", "data": models }))
        }
        ("GET" | "HEAD", "/v1/models/{model}") => {
            Answer::Json(model(&percent_decoded(last).unwrap_or_default()))
        }
        ("POST", "/v1/files") => files.add(request).map_err(file_error)?,
        ("GET", "/v1/files") => files.list(),
        ("GET", "/v1/files/{file_id}") => files.retrieve(last).ok_or_else(no_file)?,
        ("DELETE", "/v1/files/{file_id}") => files.delete(last).ok_or_else(no_file)?,
        ("GET", "/v1/files/{file_id}/content") => {
            let id = path.as_str().rsplit('/').nth(1).unwrap_or_default();
            files.content(id).ok_or_else(no_file)?
        }
        (_, _) => return Ok(None),
    }))
}

fn model(id: &str) -> Value {
    json!({ "id": id, "object": "model", "created": CREATED, "owned_by": "creditgate" })
}
