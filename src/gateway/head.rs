//! What is read off the head of a message: names and texts. What they mean is not decided here.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, UPGRADE};
use http::{HeaderMap, Method, Uri, request};

use super::peek::{self, Malformed, Peek};
use crate::policy::Place;
use crate::provider::ModelAt;
use crate::{policy, provider};

/// A header came several times, of which another reader might take another one.
#[derive(Debug)]
pub struct Several;

/// The header's value, if it came once.
pub fn only<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h HeaderValue>, Several> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() { Err(Several) } else { Ok(value) }
}

/// The header's text, the first if it came several times; nothing for bytes that are no text.
pub fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a header lists `token`, alone or before a parameter.
pub fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        let mut listed = value.as_bytes().split(|byte| matches!(byte, b',' | b';'));
        listed.any(|listed| listed.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    })
}

/// What is looked at to find a request's place.
pub fn asked<'r>(method: &'r Method, uri: &'r Uri, headers: &HeaderMap) -> policy::Asked<'r> {
    policy::Asked {
        method,
        upgrade: has_token(headers, &UPGRADE, "websocket"),
        hint: provider::hint(headers, uri.query()),
        path: uri.path(),
    }
}

/// What a request says about itself: where its place has the model, and in `body`, which is not compressed.
pub fn peeked(head: &request::Parts, place: &Place<'_>, body: &Bytes) -> Result<Peek, Malformed> {
    let at = place.route.model;
    let model = match at {
        ModelAt::Query(name) => peek::model_in_query(head.uri.query().unwrap_or_default(), name)?,
        ModelAt::Path => place.route.model_in(&place.path).map(peek::model_in_path).transpose()?,
        ModelAt::Json
        | ModelAt::JsonOptional
        | ModelAt::JsonSeveral
        | ModelAt::Batch
        | ModelAt::Multipart
        | ModelAt::JsonOrMultipart
        | ModelAt::Absent => {
            let doubtful = Malformed::DoubtfulHeader { header: "content-type" };
            let kind = only(&head.headers, &CONTENT_TYPE).map_err(|_| doubtful.clone())?;
            let kind = kind.map(HeaderValue::to_str).transpose().map_err(|_| doubtful)?;
            return peek::peek(at, kind, body);
        }
    };
    Ok(Peek { model, ..Peek::default() })
}
