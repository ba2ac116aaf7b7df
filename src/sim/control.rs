//! What the simulated provider remembers of its requests, and how tests ask for it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use super::content::hex;
use crate::provider::credentials;

/// Records kept; older ones are dropped and counted.
const RECORDS_MAX: usize = 100_000;

/// Different requests counted by their path; further ones are counted together.
const COUNTS_MAX: usize = 10_000;

/// All that was asked.
#[derive(Debug, Default)]
pub(super) struct Log {
    kept: Mutex<Kept>,
    release: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    records: VecDeque<Arc<Mutex<Record>>>,
    dropped: u64,
    counts: BTreeMap<String, Count>,
    held: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    total: u64,
    completed: u64,
}

#[derive(Debug)]
struct Record {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body_bytes: usize,
    model: Option<String>,
    status: Option<StatusCode>,
    state: State,
    sent_bytes: u64,
    sent: Sha256,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Answered,
    /// Cut by a switch.
    Broken,
    /// The caller left.
    Cancelled,
}

/// One request and its answer. Whichever way it ends, it ends here: dropped while open, it was cancelled.
#[derive(Debug)]
pub(super) struct Exchange {
    log: Arc<Log>,
    key: String,
    record: Arc<Mutex<Record>>,
}

impl Log {
    /// Remembers a request from the moment its head is here.
    pub(super) fn begin(self: &Arc<Self>, head: &Parts) -> Exchange {
        let path = head.uri.path_and_query().map_or("", |path| path.as_str());
        let record = Arc::new(Mutex::new(Record {
            method: head.method.to_string(),
            path: path.to_owned(),
            headers: visible(&head.headers),
            body_bytes: 0,
            model: None,
            status: None,
            state: State::Open,
            sent_bytes: 0,
            sent: Sha256::new(),
        }));
        let mut kept = lock(&self.kept);
        if kept.records.len() == RECORDS_MAX {
            kept.records.pop_front();
            kept.dropped += 1;
        }
        kept.records.push_back(Arc::clone(&record));
        let mut key = format!("{} {}", head.method, head.uri.path());
        if kept.counts.len() >= COUNTS_MAX && !kept.counts.contains_key(&key) {
            "other".clone_into(&mut key);
        }
        kept.counts.entry(key.clone()).or_default().total += 1;
        Exchange { log: Arc::clone(self), key, record }
    }

    /// Answers a request for what is remembered; `None` if it asks for something else.
    pub(super) fn control(&self, method: &str, path: &str) -> Option<Value> {
        match (method, path) {
            ("GET", "/_sim/requests") => Some(self.requests()),
            ("DELETE", "/_sim/requests") => {
                let mut kept = lock(&self.kept);
                let forgotten = kept.records.len();
                *kept = Kept { held: kept.held, ..Kept::default() };
                Some(json!({ "forgotten": forgotten }))
            }
            ("GET", "/_sim/counts") => Some(self.counts()),
            ("POST", "/_sim/release") => {
                let held = lock(&self.kept).held;
                self.release.notify_waiters();
                Some(json!({ "released": held }))
            }
            _ => None,
        }
    }

    /// Waits for the next release. It is counted as held once a release would reach it.
    pub(super) async fn held(self: Arc<Self>) {
        let mut released = std::pin::pin!(self.release.notified());
        released.as_mut().enable();
        let _counted = Held::new(&self);
        released.await;
    }

    fn requests(&self) -> Value {
        let kept = lock(&self.kept);
        let records: Vec<Value> =
            kept.records.iter().map(|record| lock(record).to_json()).collect();
        json!({ "dropped": kept.dropped, "requests": records })
    }

    fn counts(&self) -> Value {
        let kept = lock(&self.kept);
        let total: u64 = kept.counts.values().map(|count| count.total).sum();
        let completed: u64 = kept.counts.values().map(|count| count.completed).sum();
        let by: BTreeMap<&str, Value> = kept
            .counts
            .iter()
            .map(|(key, count)| {
                (key.as_str(), json!({ "total": count.total, "completed": count.completed }))
            })
            .collect();
        json!({ "total": total, "completed": completed, "held": kept.held, "by": by })
    }
}

impl Exchange {
    pub(super) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    pub(super) fn asked(&self, body_bytes: usize, model: Option<&str>) {
        let mut record = lock(&self.record);
        record.body_bytes = body_bytes;
        record.model = model.map(str::to_owned);
    }

    pub(super) fn status(&self, status: StatusCode) {
        lock(&self.record).status = Some(status);
    }

    pub(super) fn sent(&self, bytes: &[u8]) {
        let mut record = lock(&self.record);
        record.sent_bytes += bytes.len() as u64;
        record.sent.update(bytes);
    }

    /// The whole answer was handed to the connection.
    pub(super) fn answered(&self) {
        if self.end(State::Answered)
            && let Some(count) = lock(&self.log.kept).counts.get_mut(&self.key)
        {
            count.completed += 1;
        }
    }

    pub(super) fn broken(&self) {
        self.end(State::Broken);
    }

    fn end(&self, state: State) -> bool {
        let mut record = lock(&self.record);
        let first = record.state == State::Open;
        if first {
            record.state = state;
        }
        first
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end(State::Cancelled);
    }
}

impl Record {
    fn to_json(&self) -> Value {
        let hash = hex(&self.sent.clone().finalize());
        json!({
            "method": self.method,
            "path": self.path,
            "headers": self.headers,
            "body_bytes": self.body_bytes,
            "model": self.model,
            "status": self.status.map(|status| status.as_u16()),
            "state": self.state.as_str(),
            "answered": self.state == State::Answered,
            "sent_bytes": self.sent_bytes,
            "response_sha256": hash,
        })
    }
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Answered => "answered",
            Self::Broken => "broken",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Counts one held answer for as long as it lives.
struct Held<'a>(&'a Log);

impl<'a> Held<'a> {
    fn new(log: &'a Log) -> Self {
        lock(&log.kept).held += 1;
        Self(log)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        lock(&self.0.kept).held -= 1;
    }
}

/// All headers, keys masked except for their last four characters.
fn visible(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut visible = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let mut text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if credentials::HEADERS.contains(name) {
            let characters = text.chars().count();
            let shown = if characters > 8 { 4 } else { 0 };
            text = format!("...{}", text.chars().skip(characters - shown).collect::<String>());
        }
        let place = visible.entry(name.to_string()).or_default();
        if !place.is_empty() {
            place.push_str(", ");
        }
        place.push_str(&text);
    }
    visible
}

/// A record is whole between two statements, so one that panicked left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
