//! A request to the simulated provider, read whole.

use bytes::Bytes;
use http::header::{HOST, UPGRADE};
use http::request::Parts;
use http_body_util::{BodyDataStream, Full};
use multer::Multipart;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::content::hex;
use super::switches::{Switches, UnknownSwitch};
use crate::coding::{Coding, Decoder, Undecodable};
use crate::provider::credentials::percent_decoded;
use crate::provider::{self, Dialect, PathError, Placed, Spelled};

pub(super) const SWITCHES_HEADER: &str = "x-sim";

/// The dialects that the simulated provider speaks.
const SPOKEN: [Dialect; 3] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini];

/// What was asked, in the words of the dialect.
pub(super) struct Request {
    pub(super) head: Parts,
    /// The body as it came.
    pub(super) body: Bytes,
    /// The body, or `null` if it is not JSON.
    pub(super) json: Value,
    /// The parts of a form.
    pub(super) form: Vec<Part>,
    /// The name of the model without its switches, if there is one.
    pub(super) model: Option<String>,
    pub(super) switches: Switches,
    /// Whose library asks.
    pub(super) dialect: Dialect,
    /// The path in the spelling of the dialect, and what it is there.
    pub(super) placed: Result<Placed, PathError>,
    /// The same for the same request, so that the same answer follows.
    pub(super) id: String,
}

pub(super) struct Part {
    pub(super) name: String,
    pub(super) file_name: Option<String>,
    pub(super) value: Bytes,
}

impl Request {
    pub(super) async fn read(head: Parts, body: Bytes) -> Result<Self, UnknownSwitch> {
        let content_type = head.headers.get(http::header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let text = decoded(&head, &body);
        let form = form(content_type, &text).await;
        let json = serde_json::from_slice(&text).unwrap_or(Value::Null);
        let mut switches = Switches::default();
        if let Some(list) = head.headers.get(SWITCHES_HEADER) {
            switches.apply(&String::from_utf8_lossy(list.as_bytes()))?;
        }
        let (dialect, placed) = place(&head);
        let in_path = placed.as_ref().ok().and_then(|placed| placed.route.model_in(&placed.path));
        let in_path = in_path.and_then(percent_decoded);
        let named = json["model"].as_str().or_else(|| part_text(&form, "model"));
        let model = match in_path
            .as_deref()
            .or(named)
            .map(|model| model.split_once('+').unwrap_or((model, "")))
        {
            Some((name, list)) => {
                switches.apply(list)?;
                Some(name.to_owned())
            }
            None => None,
        };
        let mut hash = Sha256::new();
        hash.update(head.uri.path().as_bytes());
        hash.update(&body);
        let id = hex(&hash.finalize()[..8]);
        Ok(Self { head, body, json, form, model, switches, dialect, placed, id })
    }

    pub(super) fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// The host and port by which the provider was found.
    pub(super) fn host(&self) -> &str {
        let host = || self.head.headers.get(HOST)?.to_str().ok();
        let authority = self.head.uri.authority().map(http::uri::Authority::as_str);
        authority.or_else(host).unwrap_or_default()
    }

    pub(super) fn model(&self) -> &str {
        self.model.as_deref().unwrap_or("sim-small")
    }

    /// Whether the answer is to be a stream of events.
    pub(super) fn streams(&self) -> bool {
        self.json["stream"] == true || self.form_text("stream") == Some("true")
    }

    /// Whether the query says `name=value`.
    pub(super) fn asks(&self, name: &str, value: &str) -> bool {
        let pairs = self.head.uri.query().unwrap_or_default().split('&');
        pairs.filter_map(|pair| pair.split_once('=')).any(|pair| pair == (name, value))
    }

    pub(super) fn form_text(&self, name: &str) -> Option<&str> {
        part_text(&self.form, name)
    }
}

/// Whose library asks: told by the path, or else by the headers.
pub(super) fn dialect(head: &Parts) -> Dialect {
    place(head).0
}

fn place(head: &Parts) -> (Dialect, Result<Placed, PathError>) {
    let spelled = match Spelled::read(head.uri.path()) {
        Ok(spelled) => spelled,
        Err(error) => return (Dialect::OpenAi, Err(error)),
    };
    let segments = match spelled.segments() {
        Ok(segments) => segments,
        Err(error) => return (Dialect::OpenAi, Err(error)),
    };
    let upgrade = head.headers.contains_key(UPGRADE);
    let hint = provider::hint(&head.headers, head.uri.query());
    let chosen = provider::choose(&SPOKEN.into_iter(), hint, &head.method, upgrade, &segments);
    let (at, placed) = chosen.unwrap_or((0, Err(PathError::NotAbsolute)));
    (SPOKEN[at], placed)
}

/// What the body says; nothing if it is compressed and can't be read.
fn decoded(head: &Parts, body: &Bytes) -> Bytes {
    let Ok(Some(coding)) = Coding::of(&head.headers) else { return body.clone() };
    let mut text = Vec::new();
    let read = Decoder::new(coding).feed::<Undecodable>(body, |more| {
        text.extend_from_slice(more);
        Ok(())
    });
    read.map_or_else(|_| Bytes::new(), |()| text.into())
}

fn part_text<'a>(form: &'a [Part], name: &str) -> Option<&'a str> {
    let part = form.iter().find(|part| part.name == name)?;
    std::str::from_utf8(&part.value).ok()
}

/// The parts of a form; those before the fault if it has one.
async fn form(content_type: &str, body: &Bytes) -> Vec<Part> {
    let mut parts = Vec::new();
    let Ok(boundary) = multer::parse_boundary(content_type) else { return parts };
    let stream = BodyDataStream::new(Full::<Bytes>::new(body.clone()));
    let mut form = Multipart::new(stream, boundary);
    while let Ok(Some(field)) = form.next_field().await {
        let name = field.name().unwrap_or_default().to_owned();
        let file_name = field.file_name().map(str::to_owned);
        let Ok(value) = field.bytes().await else { break };
        parts.push(Part { name, file_name, value });
    }
    parts
}
