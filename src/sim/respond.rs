//! The life of one request to the simulated provider.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::json;

use super::batches::Batches;
use super::coded::{self, encoded};
use super::content::Answer;
use super::control::{Exchange, Log};
use super::files::Files;
use super::request::{self, Request};
use super::script::Script;
use super::switches::{Point, Switches};
use super::uploads::{Uploads, is_upload};
use super::{anthropic, gemini, openai, socket};
use crate::provider::{Class, Dialect, Placed, Refusal};

/// Longest request body read.
const BODY_BYTES_MAX: usize = 64 << 20;

/// The simulated provider's state: what it was asked, and what it keeps.
#[derive(Debug, Default)]
pub(super) struct Provider {
    log: Arc<Log>,
    files: Files,
    uploads: Uploads,
    batches: Batches,
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
        let dialect = request::dialect(&head);
        let authorised = has_key(dialect, &head) || is_upload(&head);
        let normal = Switches::default();
        let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
            let message = "The request body could not be read, or is too large.";
            return self.refuse(dialect, StatusCode::PAYLOAD_TOO_LARGE, message, &normal, exchange);
        };
        let body = body.to_bytes();
        let body_bytes = body.len();
        let request = match Request::read(head, body).await {
            Ok(request) => request,
            Err(unknown) => {
                exchange.asked(body_bytes, None);
                let message = unknown.to_string();
                return self.refuse(dialect, StatusCode::BAD_REQUEST, &message, &normal, exchange);
            }
        };
        exchange.asked(request.body.len(), request.model.as_deref());
        if !authorised {
            let message = "You didn't provide an API key. Send any, where the API wants it.";
            return self.refuse(dialect, StatusCode::UNAUTHORIZED, message, &normal, exchange);
        }
        self.carry_out(&request, exchange).await
    }

    /// Answers as the switches of the request say.
    async fn carry_out(&self, request: &Request, exchange: Exchange) -> Response<Script> {
        let (switches, dialect) = (&request.switches, request.dialect);
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
            return self.refuse(dialect, status, message, switches, exchange);
        }
        let exchange = match socket::protocol(request) {
            Some(protocol) => match socket::open(request, protocol, exchange) {
                Ok(accepted) => return accepted,
                Err(exchange) => exchange,
            },
            None => exchange,
        };
        match self.answer(request) {
            Ok(answer) => self.send(dialect, answer, switches, exchange),
            Err((status, message)) => self.refuse(dialect, status, &message, switches, exchange),
        }
    }

    fn answer(&self, request: &Request) -> Result<Answer, (StatusCode, String)> {
        let Placed { path, route } = request
            .placed
            .as_ref()
            .map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
        let found = if route.language == Dialect::Anthropic {
            anthropic::answer(request, route.pattern, &self.batches)?
        } else if route.language == Dialect::Gemini {
            gemini::answer(request, route, &self.uploads)?
        } else {
            openai::answer(request, path, route.pattern, &self.files)?
        };
        if let Some(answer) = found {
            return Ok(answer);
        }
        match route.class {
            Class::Unknown | Class::Realtime => {
                Err((StatusCode::NOT_FOUND, format!("Invalid URL ({path}).")))
            }
            Class::Free | Class::Metered | Class::SessionGrant | Class::Administration => {
                Ok(Answer::Json(json!({
                    "id": format!("sim_{}", request.id),
                    "object": "simulated",
                    "route": route.pattern,
                })))
            }
        }
    }

    fn refuse(
        &self,
        dialect: Dialect,
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
        let (param, retry_after, request) = (None, None, "req_sim");
        let refusal = Refusal { status, kind, code, message, param, retry_after, request };
        let body = whole(dialect.refusal(&refusal).body, switches);
        self.respond_with(dialect, status, "application/json", body, switches, exchange)
    }

    fn send(
        &self,
        dialect: Dialect,
        answer: Answer,
        switches: &Switches,
        exchange: Exchange,
    ) -> Response<Script> {
        let (content_type, pieces) = match answer {
            Answer::Headed(headers, answer) => {
                let mut response = self.send(dialect, *answer, switches, exchange);
                response.headers_mut().extend(headers);
                return response;
            }
            Answer::Json(_) if switches.silent => ("application/json", (0, Vec::new())),
            Answer::Json(json) => ("application/json", whole(json.to_string().into(), switches)),
            Answer::Events(events) => {
                let events = events.arrange(switches);
                ("text/event-stream; charset=utf-8", (usize::MAX, events))
            }
            Answer::List(events) => {
                ("application/json; charset=UTF-8", (usize::MAX, events.arrange(switches)))
            }
            Answer::Raw(content_type, _) if switches.silent => (content_type, (0, Vec::new())),
            Answer::Raw(content_type, mut pieces) if pieces.len() == 1 => {
                (content_type, whole(pieces.swap_remove(0), switches))
            }
            Answer::Raw(content_type, pieces) => (content_type, (usize::MAX, pieces)),
        };
        self.respond_with(dialect, StatusCode::OK, content_type, pieces, switches, exchange)
    }

    /// `length` is the body's, or `usize::MAX` if it is not told beforehand.
    fn respond_with(
        &self,
        dialect: Dialect,
        status: StatusCode,
        content_type: &'static str,
        (length, pieces): (usize, Vec<Bytes>),
        switches: &Switches,
        exchange: Exchange,
    ) -> Response<Script> {
        exchange.status(status);
        let coding = switches.coding.filter(|_| status.is_success());
        let coded = coding.and_then(|coding| Some((coding, encoded(coding, &pieces).ok()?)));
        let (coding, length, pieces) = match coded {
            Some((coding, pieces)) if length != usize::MAX => {
                (Some(coding), pieces.iter().map(Bytes::len).sum(), pieces)
            }
            Some((coding, pieces)) => (Some(coding), length, pieces),
            None => (None, length, pieces),
        };
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let mut response = Response::new(Script::of_pieces(pieces, switches, exchange));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(coding) = coding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coded::name(coding)));
        }
        if length != usize::MAX {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        let id = HeaderValue::from_str(&format!("req_sim{number}"));
        let Ok(id) = id else { return response };
        if dialect == Dialect::Anthropic {
            headers.insert("request-id", id);
        } else if dialect == Dialect::Gemini {
            headers.insert("server-timing", HeaderValue::from_static("gfet4t7; dur=1"));
        } else {
            headers.insert("x-request-id", id);
            headers.insert("openai-processing-ms", HeaderValue::from_static("1"));
            headers.insert("openai-version", HeaderValue::from_static("2020-10-01"));
        }
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

/// Whether there is a key where the dialect wants it.
fn has_key(dialect: Dialect, head: &Parts) -> bool {
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = || text("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let own = match dialect {
        Dialect::Anthropic => text("x-api-key"),
        Dialect::Gemini => text("x-goog-api-key"),
        Dialect::OpenAi
        | Dialect::Vertex
        | Dialect::Azure
        | Dialect::OpenRouter
        | Dialect::Mistral
        | Dialect::DeepSeek
        | Dialect::Cohere
        | Dialect::Ollama
        | Dialect::Bedrock => None,
    };
    let key = own.or_else(bearer);
    key.is_some_and(|key| !key.trim().is_empty())
}
