//! Google's files, kept in memory, and its resumable uploads: what begins one is answered with an address that has the
//! upload's id, and the bytes go there in pieces. Whoever has the address needs no key.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::content::Answer;
use super::request::Request;

/// What all files and uploads together may take.
const TOTAL_BYTES_MAX: usize = 64 << 20;

/// Files and uploads kept at once: an empty one takes memory too.
const KEPT_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Uploads {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    begun: BTreeMap<u64, File<BytesMut>>,
    files: BTreeMap<u64, File<Bytes>>,
    last: u64,
    bytes: usize,
}

#[derive(Debug)]
struct File<B> {
    name: Value,
    kind: String,
    content: B,
}

type Fault = (StatusCode, String);

/// Whether a request comes to the address of an upload.
pub(super) fn is_upload(head: &Parts) -> bool {
    head.uri.path().contains("/upload/") && upload_in(head.uri.query()).is_some()
}

impl Uploads {
    /// Begins an upload, or goes on with one; nothing if the request is neither.
    pub(super) fn upload(&self, request: &Request) -> Result<Option<Answer>, Fault> {
        let header = |name: &str| request.head.headers.get(name)?.to_str().ok();
        let Some(command) = header("x-goog-upload-command") else { return Ok(None) };
        let has = |word: &str| command.split(',').any(|one| one.trim() == word);
        let mut kept = self.lock();
        if has("start") {
            let kind = header("x-goog-upload-header-content-type").unwrap_or("text/plain");
            let name = request.json["file"]["displayName"].clone();
            let file = File { name, kind: kind.to_owned(), content: BytesMut::new() };
            return kept.begin(file, request).map(Some);
        }
        let unknown = || (StatusCode::NOT_FOUND, "There is no such upload.".to_owned());
        let id = upload_in(request.head.uri.query()).ok_or_else(unknown)?;
        if has("cancel") {
            let file = kept.begun.remove(&id).ok_or_else(unknown)?;
            kept.bytes -= file.content.len();
            return Ok(Some(told("cancelled", None, Answer::empty())));
        }
        let offset = header("x-goog-upload-offset").and_then(|offset| offset.parse().ok());
        let has_room = kept.bytes + request.body.len() <= TOTAL_BYTES_MAX;
        let file = kept.begun.get_mut(&id).ok_or_else(unknown)?;
        if has("query") {
            return Ok(Some(told("active", Some(file.content.len()), Answer::empty())));
        }
        if offset != Some(file.content.len()) || !has_room {
            let message = "The offset is not where the upload ended, or there is no room.";
            return Err((StatusCode::BAD_REQUEST, message.to_owned()));
        }
        file.content.extend_from_slice(&request.body);
        kept.bytes += request.body.len();
        if !has("finalize") {
            return Ok(Some(told("active", None, Answer::empty())));
        }
        let File { name, kind, content } = kept.begun.remove(&id).ok_or_else(unknown)?;
        let file = File { name, kind, content: content.freeze() };
        let answer = json!({ "file": file.to_json(id, request) });
        kept.files.insert(id, file);
        Ok(Some(told("final", None, Answer::Json(answer))))
    }

    pub(super) fn list(&self, request: &Request) -> Answer {
        let kept = self.lock();
        let files = kept.files.iter().map(|(number, file)| file.to_json(*number, request));
        Answer::Json(json!({ "files": files.collect::<Vec<_>>() }))
    }

    pub(super) fn retrieve(&self, request: &Request, name: &str) -> Option<Answer> {
        let number = number(name)?;
        let kept = self.lock();
        kept.files.get(&number).map(|file| Answer::Json(file.to_json(number, request)))
    }

    pub(super) fn content(&self, name: &str) -> Option<Answer> {
        let content = self.lock().files.get(&number(name)?)?.content.clone();
        Some(Answer::Raw("application/octet-stream", vec![content]))
    }

    pub(super) fn delete(&self, name: &str) -> Option<Answer> {
        let mut kept = self.lock();
        let file = kept.files.remove(&number(name)?)?;
        kept.bytes -= file.content.len();
        Some(Answer::Json(json!({})))
    }

    /// Each change is complete before the lock is given back, so a panic leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn begin(&mut self, file: File<BytesMut>, request: &Request) -> Result<Answer, Fault> {
        if self.begun.len() + self.files.len() >= KEPT_MAX {
            let message = "The simulated provider keeps too many files; delete some.";
            return Err((StatusCode::BAD_REQUEST, message.to_owned()));
        }
        self.last += 1;
        self.begun.insert(self.last, file);
        let (host, path) = (request.host(), request.path());
        let query = format!("upload_id=sim{}&upload_protocol=resumable", self.last);
        let address = HeaderValue::try_from(format!("http://{host}{path}?{query}"));
        let address = address.map_err(|_| (StatusCode::BAD_REQUEST, "No host.".to_owned()))?;
        let name = HeaderName::from_static("x-goog-upload-url");
        let answer = told("active", None, Answer::empty());
        Ok(Answer::Headed(vec![(name, address)], Box::new(answer)))
    }
}

impl File<Bytes> {
    fn to_json(&self, number: u64, request: &Request) -> Value {
        let name = format!("files/sim{number}");
        json!({
            "uri": format!("http://{}/v1beta/{name}", request.host()),
            "name": name,
            "displayName": self.name,
            "mimeType": self.kind,
            "sizeBytes": self.content.len().to_string(),
            "createTime": "2026-01-01T00:00:00Z",
            "sha256Hash": STANDARD.encode(Sha256::digest(&self.content)),
            "state": "ACTIVE",
            "source": "UPLOADED",
        })
    }
}

/// An answer that tells how the upload is, and how much of it is there.
fn told(status: &'static str, received: Option<usize>, answer: Answer) -> Answer {
    let status =
        (HeaderName::from_static("x-goog-upload-status"), HeaderValue::from_static(status));
    let received = received
        .map(|bytes| (HeaderName::from_static("x-goog-upload-size-received"), bytes.into()));
    Answer::Headed(std::iter::once(status).chain(received).collect(), Box::new(answer))
}

/// `sim1` of `files/sim1`.
fn number(name: &str) -> Option<u64> {
    name.strip_prefix("sim")?.parse().ok()
}

fn upload_in(query: Option<&str>) -> Option<u64> {
    let pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, id) = pairs.into_iter().find(|(name, _)| *name == "upload_id")?;
    number(id)
}
