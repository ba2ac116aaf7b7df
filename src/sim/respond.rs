//! The life of one request to the simulated provider.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, UPGRADE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::json;

use super::content::{Answer, CREATED};
use super::control::{Exchange, Log};
use super::files::{FileError, Files};
use super::request::Request;
use super::script::Script;
use super::switches::{Point, Switches};
use super::{audio, chat, responses, vectors};
use crate::provider::credentials::percent_decoded;
use crate::provider::{Class, Dialect, Path, Refusal};

/// Longest request body read.
const BODY_BYTES_MAX: usize = 64 << 20;

const MODELS: [&str; 4] = ["sim-small", "sim-large", "sim-embedding", "sim-audio"];

/// The simulated provider's state: what it was asked, and the files it keeps.
#[derive(Debug, Default)]
pub(super) struct Provider {
    log: Arc<Log>,
    files: Files,
    requests: AtomicU64,
}

impl Provider {
    pub(super) async fn respond(&self, request: http::Request<Incoming>) -> Response<Script> {
        let (head, body) = request.into_parts();
        if head.uri.path().starts_with("/_sim") {
            let found = self.log.control(head.method.as_str(), head.uri.path());
            let status = if found.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
            let body = found.unwrap_or_else(|| json!({ "error": "no such thing to ask for" }));
            let mut response = Response::new(Script::plain(body.to_string().into()));
            *response.status_mut() = status;
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            return response;
        }
        let exchange = self.log.begin(&head);
        let authorised = has_key(&head.headers);
        let normal = Switches::default();
        let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
            let message = "The request body could not be read, or is too large.";
            return self.refuse(StatusCode::PAYLOAD_TOO_LARGE, message, &normal, exchange);
        };
        let body = body.to_bytes();
        let body_bytes = body.len();
        let request = match Request::read(head, body).await {
            Ok(request) => request,
            Err(unknown) => {
                exchange.asked(body_bytes, None);
                let message = unknown.to_string();
                return self.refuse(StatusCode::BAD_REQUEST, &message, &normal, exchange);
            }
        };
        exchange.asked(request.body_bytes, request.model.as_deref());
        if !authorised {
            let message =
                "You didn't provide an API key. Send any, as `Authorization: Bearer <key>`.";
            return self.refuse(StatusCode::UNAUTHORIZED, message, &normal, exchange);
        }
        self.carry_out(&request, exchange).await
    }

    /// Answers as the switches of the request say.
    async fn carry_out(&self, request: &Request, exchange: Exchange) -> Response<Script> {
        let switches = &request.switches;
        if !switches.delay.is_zero() {
            tokio::time::sleep(switches.delay).await;
        }
        if switches.hold_at == Some(Point::BeforeHeaders) {
            Arc::clone(&self.log).held().await;
        }
        if switches.break_at == Some(Point::BeforeHeaders) {
            return Response::new(Script::cut(exchange));
        }
        if let Some(status) = switches.status {
            let message = "The simulated provider was told to fail.";
            return self.refuse(status, message, switches, exchange);
        }
        match self.answer(request) {
            Ok(answer) => self.send(StatusCode::OK, answer, switches, exchange),
            Err((status, message)) => self.refuse(status, &message, switches, exchange),
        }
    }

    fn answer(&self, request: &Request) -> Result<Answer, (StatusCode, String)> {
        let path = Path::normalise(&request.head.method, request.path())
            .map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
        let upgrade = request.head.headers.contains_key(UPGRADE);
        let route = Dialect::OpenAi.route(&request.head.method, upgrade, &path);
        let last = path.as_str().rsplit('/').next().unwrap_or_default();
        let file_error = |error: FileError| (StatusCode::BAD_REQUEST, error.to_string());
        let no_file = || (StatusCode::NOT_FOUND, "No such file.".to_owned());
        match (request.head.method.as_str(), route.pattern) {
            ("POST", "/v1/chat/completions") => Ok(chat::chat(request)),
            ("POST", "/v1/completions") => Ok(chat::completion(request)),
            ("POST", "/v1/responses") => Ok(responses::create(request)),
            ("GET", "/v1/responses/{response_id}") => Ok(responses::retrieve(request, last)),
            ("POST", "/v1/embeddings") => Ok(vectors::embeddings(request)),
            ("POST", "/v1/moderations") => Ok(vectors::moderations(request)),
            ("POST", "/v1/images/generations" | "/v1/images/edits" | "/v1/images/variations") => {
                Ok(vectors::image(request))
            }
            ("POST", "/v1/audio/speech") => Ok(audio::speech(request)),
            ("POST", "/v1/audio/transcriptions" | "/v1/audio/translations") => {
                Ok(audio::transcription(request))
            }
            ("GET" | "HEAD", "/v1/models") => {
                let models: Vec<_> = MODELS.into_iter().map(model).collect();
                Ok(Answer::Json(json!({ "object": "list", "data": models })))
            }
            ("GET" | "HEAD", "/v1/models/{model}") => {
                Ok(Answer::Json(model(&percent_decoded(last).unwrap_or_default())))
            }
            ("POST", "/v1/files") => self.files.add(request).map_err(file_error),
            ("GET", "/v1/files") => Ok(self.files.list()),
            ("GET", "/v1/files/{file_id}") => self.files.retrieve(last).ok_or_else(no_file),
            ("DELETE", "/v1/files/{file_id}") => self.files.delete(last).ok_or_else(no_file),
            ("GET", "/v1/files/{file_id}/content") => {
                let id = path.as_str().split('/').nth(3).unwrap_or_default();
                self.files.content(id).ok_or_else(no_file)
            }
            (_, pattern) => match route.class {
                Class::Unknown | Class::Realtime => {
                    Err((StatusCode::NOT_FOUND, format!("Invalid URL ({path}).")))
                }
                Class::Free | Class::Metered | Class::SessionGrant | Class::Administration => {
                    Ok(Answer::Json(json!({
                        "id": format!("sim_{}", request.id),
                        "object": "simulated",
                        "route": pattern,
                    })))
                }
            },
        }
    }

    fn refuse(
        &self,
        status: StatusCode,
        message: &str,
        switches: &Switches,
        exchange: Exchange,
    ) -> Response<Script> {
        let (kind, code) = match status {
            StatusCode::UNAUTHORIZED => ("invalid_request_error", "invalid_api_key"),
            StatusCode::TOO_MANY_REQUESTS => ("requests", "rate_limit_exceeded"),
            status if status.is_server_error() => ("server_error", "server_error"),
            _ => ("invalid_request_error", "invalid_request"),
        };
        let refusal = Refusal { status, kind, code, message, param: None };
        let body = Dialect::OpenAi.error_body(&refusal);
        self.respond_with(status, "application/json", whole(body, switches), switches, exchange)
    }

    fn send(
        &self,
        status: StatusCode,
        answer: Answer,
        switches: &Switches,
        exchange: Exchange,
    ) -> Response<Script> {
        let (content_type, pieces) = match answer {
            Answer::Json(_) if switches.silent => ("application/json", (0, Vec::new())),
            Answer::Json(json) => ("application/json", whole(json.to_string().into(), switches)),
            Answer::Events(events) => {
                let events = events.arrange(switches);
                ("text/event-stream; charset=utf-8", (usize::MAX, events))
            }
            Answer::Raw(content_type, _) if switches.silent => (content_type, (0, Vec::new())),
            Answer::Raw(content_type, mut pieces) if pieces.len() == 1 => {
                (content_type, whole(pieces.swap_remove(0), switches))
            }
            Answer::Raw(content_type, pieces) => (content_type, (usize::MAX, pieces)),
        };
        self.respond_with(status, content_type, pieces, switches, exchange)
    }

    /// `length` is the body's, or `usize::MAX` if it is not told beforehand.
    fn respond_with(
        &self,
        status: StatusCode,
        content_type: &'static str,
        (length, pieces): (usize, Vec<Bytes>),
        switches: &Switches,
        exchange: Exchange,
    ) -> Response<Script> {
        exchange.status(status);
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let mut response = Response::new(Script::of_pieces(pieces, switches, exchange));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if length != usize::MAX {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        if let Ok(id) = HeaderValue::from_str(&format!("req_sim{number}")) {
            headers.insert("x-request-id", id);
        }
        headers.insert("openai-processing-ms", HeaderValue::from_static("1"));
        headers.insert("openai-version", HeaderValue::from_static("2020-10-01"));
        response
    }
}

/// A body of known length: in two halves where it is to be held or cut between them.
fn whole(body: Bytes, switches: &Switches) -> (usize, Vec<Bytes>) {
    let halves = [switches.break_at, switches.hold_at]
        .iter()
        .any(|point| matches!(point, Some(Point::After(_))));
    let length = body.len();
    if halves {
        let half = length / 2;
        (length, vec![body.slice(..half), body.slice(half..)])
    } else {
        (length, vec![body])
    }
}

fn model(id: &str) -> serde_json::Value {
    json!({ "id": id, "object": "model", "created": CREATED, "owned_by": "creditgate" })
}

fn has_key(headers: &HeaderMap) -> bool {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.strip_prefix("Bearer ")).is_some_and(|key| !key.trim().is_empty())
}
