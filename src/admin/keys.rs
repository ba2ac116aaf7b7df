//! Keys: issuing, listing, revoking. A secret is shown once, when it is issued.

use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::input::{Body, Instant, Named};
use super::problem::{Kind, Problem};
use super::{Admin, fresh_id};
use crate::credit::{AccountId, Timestamp};
use crate::directory::{Key, KeyHash, NewSecret, Owner, random_hex};
use crate::ledger::{Change, Changed};
use crate::statement::rfc3339;

/// Characters of a key's name.
const NAME_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    name: String,
    /// Never, if it isn't said.
    ends: Option<Instant>,
}

/// A key, in words. It has no secret: that is stored nowhere.
#[derive(Serialize)]
pub(super) struct KeyShown {
    id: String,
    name: String,
    /// Nothing for a service key.
    account: Option<AccountId>,
    prefix: String,
    state: KeyState,
    created: Option<String>,
    ends: Option<String>,
    revoked: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum KeyState {
    Valid,
    Ended,
    Revoked,
}

#[derive(Serialize)]
pub(super) struct Issued {
    key: KeyShown,
    secret: String,
}

#[derive(Serialize)]
pub(super) struct Listed {
    keys: Vec<KeyShown>,
}

#[derive(Serialize)]
pub(super) struct Revoked {
    revoked: String,
}

/// The public name of a key, as it stands in a path. Any text: one that names no key is not found.
pub(super) struct KeyId(String);

impl FromStr for KeyId {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl KeyShown {
    pub(super) fn new(key: Key, now: Timestamp) -> Self {
        let state = match (key.revoked, key.is_valid(now)) {
            (Some(_), _) => KeyState::Revoked,
            (None, true) => KeyState::Valid,
            (None, false) => KeyState::Ended,
        };
        let account = match key.owner {
            Owner::Account(account) => Some(account),
            Owner::Service => None,
        };
        Self {
            id: key.id,
            name: key.name,
            account,
            prefix: key.prefix,
            state,
            created: rfc3339(key.created),
            ends: key.ends.and_then(rfc3339),
            revoked: key.revoked.and_then(rfc3339),
        }
    }
}

pub(super) async fn issue(
    State(admin): State<Arc<Admin>>,
    Named(account): Named<AccountId>,
    Body(new): Body<New>,
) -> Result<(StatusCode, Json<Issued>), Problem> {
    admin.issue(new, Owner::Account(account)).await
}

pub(super) async fn issue_service(
    State(admin): State<Arc<Admin>>,
    Body(new): Body<New>,
) -> Result<(StatusCode, Json<Issued>), Problem> {
    admin.issue(new, Owner::Service).await
}

pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Named(account): Named<AccountId>,
) -> Result<Json<Listed>, Problem> {
    admin.record(&account).await?;
    admin.keys(Some(&account)).await
}

pub(super) async fn list_service(State(admin): State<Arc<Admin>>) -> Result<Json<Listed>, Problem> {
    admin.keys(None).await
}

pub(super) async fn revoke(
    State(admin): State<Arc<Admin>>,
    Named(KeyId(key)): Named<KeyId>,
) -> Result<Json<Revoked>, Problem> {
    let changed = admin.ledger.change(fresh_id(), Change::RevokeKey { id: key.clone() }).await?;
    match changed {
        Changed::Done { record, key: hash } => {
            admin.directory.forget(record.as_ref().map(|record| &record.account), hash);
            Ok(Json(Revoked { revoked: key }))
        }
        Changed::NoSuchKey | Changed::NoSuchAccount | Changed::AccountExists => {
            Err(Problem::new(Kind::NoSuchKey, format!("there is no key `{key}`")))
        }
        Changed::Refused(refusal) => Err(Problem::of_refusal(&refusal)),
    }
}

impl Admin {
    async fn issue(&self, new: New, owner: Owner) -> Result<(StatusCode, Json<Issued>), Problem> {
        let (name, now) = (new.name.trim(), self.now());
        if name.is_empty() || name.chars().count() > NAME_MAX || name.contains(char::is_control) {
            return Err(Problem::malformed(format!(
                "`name` is what people call the key: 1 to {NAME_MAX} characters, without line breaks"
            )));
        }
        let ends = new.ends.map(|Instant(ends)| ends);
        if ends.is_some_and(|ends| ends <= now) {
            return Err(Problem::malformed(
                "`ends` lies in the past: the key would never be valid",
            ));
        }
        let secret = NewSecret::random().map_err(|error| Problem::internal(&error))?;
        let id = random_hex::<8>().map_err(|error| Problem::internal(&error))?;
        let key = Key {
            id: format!("key_{id}"),
            name: name.to_owned(),
            owner,
            prefix: secret.prefix(),
            created: self.this_second(),
            ends,
            revoked: None,
        };
        let change = Change::IssueKey { key: key.clone(), hash: KeyHash::of(secret.expose()) };
        let changed = self.ledger.change(fresh_id(), change).await?;
        match (&key.owner, changed) {
            (Owner::Account(account), changed) => drop(self.changed(account, changed)?),
            (Owner::Service, Changed::Done { key, .. }) => self.directory.forget(None, key),
            (Owner::Service, other) => {
                return Err(Problem::internal(&format_args!("a service key came to {other:?}")));
            }
        }
        let issued = Issued { key: KeyShown::new(key, now), secret: secret.expose().to_owned() };
        Ok((StatusCode::CREATED, Json(issued)))
    }

    async fn keys(&self, account: Option<&AccountId>) -> Result<Json<Listed>, Problem> {
        let (keys, now) = (self.ledger.keys(account).await?, self.now());
        Ok(Json(Listed { keys: keys.into_iter().map(|key| KeyShown::new(key, now)).collect() }))
    }
}
