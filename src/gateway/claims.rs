//! What a metered call says of others to which it belongs: that it may repeat one (`Idempotency-Key`), that it is a part of
//! a task (`x-credits-task`), and what it is for (`x-credits-feature`). Headers in, names out; the ledger decides.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use super::auth::Caller;
use super::head::only;
use super::rejection::Rejection;
use crate::config::Tasks;
use crate::credit::{ClaimName, Claims, Feature, Task};
use crate::directory::Owner;
use crate::policy::Place;
use crate::provider::credentials::query_without_key;

static KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");
static TASK_HEADER: HeaderName = HeaderName::from_static("x-credits-task");
static FEATURE_HEADER: HeaderName = HeaderName::from_static("x-credits-feature");

/// The longest key of a call and the longest name of a task.
const NAME_BYTES: usize = 255;

/// The calls to which the call belongs; nothing for most calls. A call that is free (`is_free`) is no part of a task.
pub fn claims(
    head: &Parts,
    caller: &Caller,
    place: &Place<'_>,
    body: &[u8],
    is_free: bool,
    tasks: Tasks,
) -> Result<Option<Claims>, Rejection> {
    let key = only(&head.headers, &KEY_HEADER).map_err(|_| Rejection::KeyOfCallUnreadable)?;
    let task = only(&head.headers, &TASK_HEADER).map_err(|_| Rejection::TaskUnreadable)?;
    if key.is_none() && task.is_none() {
        return Ok(None);
    }
    let key = key.map(|key| name(key).ok_or(Rejection::KeyOfCallUnreadable)).transpose()?;
    let key = key.map(|key| {
        let query = head.uri.query().map(query_without_key).unwrap_or_default();
        let body = Sha256::digest(body);
        let (method, path) = (head.method.as_str(), place.path.as_str());
        claim_name(&[
            b"key",
            key,
            method.as_bytes(),
            place.provider.as_str().as_bytes(),
            path.as_bytes(),
            query.as_bytes(),
            &body,
        ])
    });
    let task = task.map(|task| name(task).ok_or(Rejection::TaskUnreadable)).transpose()?;
    if task.is_some() && !is_service(caller) {
        return Err(Rejection::TaskNotAllowed);
    }
    let task = task.filter(|_| !is_free).map(|task| Task {
        name: claim_name(&[b"task", task]),
        calls: tasks.calls.get(),
        millis: u64::try_from(tasks.time.as_millis()).unwrap_or(u64::MAX),
    });
    Ok(Some(Claims { key, task }))
}

/// What the call is for.
pub fn feature(headers: &HeaderMap) -> Result<Option<Feature>, Rejection> {
    let Some(value) = only(headers, &FEATURE_HEADER).map_err(|_| Rejection::FeatureUnreadable)?
    else {
        return Ok(None);
    };
    let feature = value.to_str().ok().and_then(|text| text.parse().ok());
    feature.map(Some).ok_or(Rejection::FeatureUnreadable)
}

/// Whether the caller speaks for the operator: then what it says of a call decides what that costs.
pub fn is_service(caller: &Caller) -> bool {
    matches!(caller.key.key.owner, Owner::Service)
}

fn name(value: &HeaderValue) -> Option<&[u8]> {
    let name = value.as_bytes().trim_ascii();
    let readable = name.iter().all(|byte| (b' '..=b'~').contains(byte));
    (readable && (1..=NAME_BYTES).contains(&name.len())).then_some(name)
}

/// Every part with its length, so that no two lists have the same hash.
fn claim_name(parts: &[&[u8]]) -> ClaimName {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    ClaimName(hash.finalize().into())
}
