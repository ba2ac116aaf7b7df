//! Files, kept in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::{Value, json};

use super::content::{Answer, CREATED};
use super::request::Request;

/// What all files together may take.
const TOTAL_BYTES_MAX: usize = 64 << 20;

/// Files kept at once: an empty one takes memory too.
const FILES_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Files {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    files: BTreeMap<u64, File>,
    last: u64,
    bytes: usize,
}

#[derive(Debug)]
struct File {
    name: String,
    purpose: String,
    content: Bytes,
}

/// Why a file can't be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FileError {
    #[error("The form has no part `file`.")]
    NoFile,
    #[error(
        "The simulated provider keeps {FILES_MAX} files of {TOTAL_BYTES_MAX} bytes in all; delete some."
    )]
    Full,
}

impl Files {
    pub(super) fn add(&self, request: &Request) -> Result<Answer, FileError> {
        let part = request.form.iter().find(|part| part.name == "file").ok_or(FileError::NoFile)?;
        let mut kept = self.lock();
        let bytes = kept.bytes + part.value.len();
        if bytes > TOTAL_BYTES_MAX || kept.files.len() == FILES_MAX {
            return Err(FileError::Full);
        }
        let file = File {
            name: part.file_name.clone().unwrap_or_else(|| "file".to_owned()),
            purpose: request.form_text("purpose").unwrap_or("user_data").to_owned(),
            content: part.value.clone(),
        };
        kept.bytes = bytes;
        kept.last += 1;
        let number = kept.last;
        let answer = file.to_json(number);
        kept.files.insert(number, file);
        Ok(Answer::Json(answer))
    }

    pub(super) fn list(&self) -> Answer {
        let kept = self.lock();
        let data: Vec<Value> =
            kept.files.iter().map(|(number, file)| file.to_json(*number)).collect();
        let id = |file: Option<&Value>| file.map_or(Value::Null, |file| file["id"].clone());
        let (first_id, last_id) = (id(data.first()), id(data.last()));
        Answer::Json(json!({
            "object": "list",
            "data": data,
            "first_id": first_id,
            "last_id": last_id,
            "has_more": false,
        }))
    }

    pub(super) fn retrieve(&self, id: &str) -> Option<Answer> {
        let number = number(id)?;
        self.lock().files.get(&number).map(|file| Answer::Json(file.to_json(number)))
    }

    pub(super) fn content(&self, id: &str) -> Option<Answer> {
        let content = self.lock().files.get(&number(id)?)?.content.clone();
        Some(Answer::Raw("application/octet-stream", vec![content]))
    }

    pub(super) fn delete(&self, id: &str) -> Option<Answer> {
        let mut kept = self.lock();
        let file = kept.files.remove(&number(id)?)?;
        kept.bytes -= file.content.len();
        Some(Answer::Json(json!({ "id": id, "object": "file", "deleted": true })))
    }

    /// Each change is complete before the lock is given back, so a panic leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File {
    fn to_json(&self, number: u64) -> Value {
        json!({
            "id": format!("file-{number}"),
            "object": "file",
            "bytes": self.content.len(),
            "created_at": CREATED,
            "filename": self.name,
            "purpose": self.purpose,
            "status": "processed",
        })
    }
}

fn number(id: &str) -> Option<u64> {
    id.strip_prefix("file-")?.parse().ok()
}
