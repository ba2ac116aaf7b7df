//! Anthropic's batches, kept in memory: each has ended when it is asked for.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::{Value, json};

use super::content::{Answer, pieces, text_tokens};
use super::request::Request;
use super::switches::Switches;

/// Batches kept at once.
const BATCHES_MAX: usize = 1_000;

const CREATED: &str = "2026-01-01T00:00:00Z";
const ENDED: &str = "2026-01-01T00:01:00Z";
const EXPIRES: &str = "2026-01-02T00:00:00Z";

#[derive(Debug, Default)]
pub(super) struct Batches {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The requests of each.
    batches: BTreeMap<u64, Vec<Value>>,
    last: u64,
}

impl Batches {
    /// Takes a batch; nothing if there are too many.
    pub(super) fn create(&self, request: &Request) -> Option<Answer> {
        let requests = request.json["requests"].as_array().cloned().unwrap_or_default();
        let mut kept = self.lock();
        if kept.batches.len() == BATCHES_MAX {
            return None;
        }
        kept.last += 1;
        let number = kept.last;
        let answer = batch(number, requests.len(), "in_progress", &Value::Null);
        kept.batches.insert(number, requests);
        Some(Answer::Json(answer))
    }

    pub(super) fn list(&self, request: &Request) -> Answer {
        let kept = self.lock();
        let ended = |(number, requests): (&u64, &Vec<Value>)| ended(request, *number, requests);
        let data: Vec<Value> = kept.batches.iter().map(ended).collect();
        let id = |batch: Option<&Value>| batch.map_or(Value::Null, |batch| batch["id"].clone());
        let (first_id, last_id) = (id(data.first()), id(data.last()));
        Answer::Json(json!({
            "data": data,
            "has_more": false,
            "first_id": first_id,
            "last_id": last_id,
        }))
    }

    pub(super) fn retrieve(&self, request: &Request, id: &str) -> Option<Answer> {
        let number = number(id)?;
        let kept = self.lock();
        kept.batches.get(&number).map(|requests| Answer::Json(ended(request, number, requests)))
    }

    pub(super) fn cancel(&self, id: &str) -> Option<Answer> {
        let number = number(id)?;
        let count = self.lock().batches.get(&number)?.len();
        Some(Answer::Json(batch(number, count, "canceling", &Value::Null)))
    }

    pub(super) fn delete(&self, id: &str) -> Option<Answer> {
        self.lock().batches.remove(&number(id)?)?;
        Some(Answer::Json(json!({ "id": id, "type": "message_batch_deleted" })))
    }

    /// A line for each request.
    pub(super) fn results(&self, id: &str) -> Option<Answer> {
        let kept = self.lock();
        let lines = kept.batches.get(&number(id)?)?.iter().map(|one| format!("{}\n", result(one)));
        Some(Answer::Raw("application/x-jsonl", vec![Bytes::from(lines.collect::<String>())]))
    }

    /// Each change is complete before the lock is given back, so a panic leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number(id: &str) -> Option<u64> {
    id.strip_prefix("msgbatch_sim")?.parse().ok()
}

fn ended(request: &Request, number: u64, requests: &[Value]) -> Value {
    let path = format!("/v1/messages/batches/msgbatch_sim{number}/results");
    let results = format!("http://{}{path}", request.host());
    batch(number, requests.len(), "ended", &results.into())
}

fn batch(number: u64, requests: usize, status: &str, results_url: &Value) -> Value {
    let has_ended = status == "ended";
    let (processing, succeeded) = if has_ended { (0, requests) } else { (requests, 0) };
    json!({
        "id": format!("msgbatch_sim{number}"),
        "type": "message_batch",
        "processing_status": status,
        "request_counts": {
            "processing": processing,
            "succeeded": succeeded,
            "errored": 0,
            "canceled": 0,
            "expired": 0,
        },
        "created_at": CREATED,
        "ended_at": has_ended.then_some(ENDED),
        "expires_at": EXPIRES,
        "archived_at": null,
        "cancel_initiated_at": (status == "canceling").then_some(ENDED),
        "results_url": results_url,
    })
}

fn result(request: &Value) -> Value {
    let text = pieces(&Switches::default()).concat();
    let params = &request["params"];
    json!({
        "custom_id": request["custom_id"],
        "result": {
            "type": "succeeded",
            "message": {
                "id": "msg_sim",
                "type": "message",
                "role": "assistant",
                "model": params["model"],
                "content": [{ "type": "text", "text": text }],
                "stop_reason": "end_turn",
                "stop_sequence": null,
                "usage": {
                    "input_tokens": text_tokens(&params["messages"]),
                    "output_tokens": text_tokens(&text.into()),
                },
            },
        },
    })
}
