//! A request to the simulated provider, read whole.

use bytes::Bytes;
use http::request::Parts;
use http_body_util::{BodyDataStream, Full};
use multer::Multipart;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::content::hex;
use super::switches::{Switches, UnknownSwitch};

pub(super) const SWITCHES_HEADER: &str = "x-sim";

/// What was asked, in the words of the dialect.
pub(super) struct Request {
    pub(super) head: Parts,
    pub(super) body_bytes: usize,
    /// The body, or `null` if it is not JSON.
    pub(super) json: Value,
    /// The parts of a form.
    pub(super) form: Vec<Part>,
    /// The name of the model without its switches, if there is one.
    pub(super) model: Option<String>,
    pub(super) switches: Switches,
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
        let form = form(content_type, &body).await;
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let mut switches = Switches::default();
        if let Some(list) = head.headers.get(SWITCHES_HEADER) {
            switches.apply(&String::from_utf8_lossy(list.as_bytes()))?;
        }
        let named = json["model"].as_str().or_else(|| text(&form, "model"));
        let model = match named.map(|model| model.split_once('+').unwrap_or((model, ""))) {
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
        Ok(Self { head, body_bytes: body.len(), json, form, model, switches, id })
    }

    pub(super) fn path(&self) -> &str {
        self.head.uri.path()
    }

    pub(super) fn model(&self) -> &str {
        self.model.as_deref().unwrap_or("sim-small")
    }

    /// Whether the answer is to be a stream of events.
    pub(super) fn streams(&self) -> bool {
        self.json["stream"] == true || self.form_text("stream") == Some("true")
    }

    pub(super) fn form_text(&self, name: &str) -> Option<&str> {
        text(&self.form, name)
    }
}

fn text<'a>(form: &'a [Part], name: &str) -> Option<&'a str> {
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
