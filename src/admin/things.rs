//! Things at providers: what is given to an account that the gateway did not see made.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::Admin;
use super::input::{Body, Named};
use super::problem::Problem;
use crate::config::Name;
use crate::credit::AccountId;
use crate::ledger::owned::{Owned, Thing};

/// Longest id, in bytes.
const ID_BYTES_MAX: usize = 256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    /// The provider's name in the configuration.
    provider: String,
    /// What the provider calls it; at Google with its collection, as `files/abc`.
    id: String,
}

#[derive(Serialize)]
pub(super) struct Shown {
    account: AccountId,
    provider: String,
    id: String,
}

/// The account owns it from now on, until it deletes it.
pub(super) async fn own(
    State(admin): State<Arc<Admin>>,
    Named(account): Named<AccountId>,
    Body(Given { provider, id }): Body<Given>,
) -> Result<Json<Shown>, Problem> {
    admin.record(&account).await?;
    if !admin.config.providers.keys().any(|name| name.as_str() == provider) {
        let names: Vec<&str> = admin.config.providers.keys().map(Name::as_str).collect();
        return Err(Problem::malformed(format!(
            "there is no provider `{provider}` here; `provider` is one of {}",
            names.join(", ")
        )));
    }
    if id.is_empty() || id.len() > ID_BYTES_MAX {
        return Err(Problem::malformed(format!("`id` has 1 to {ID_BYTES_MAX} bytes")));
    }
    let owned = Owned { thing: Thing::of(&provider, &id), spell: None };
    admin.ledger.own(&account, &[owned]).await?;
    Ok(Json(Shown { account, provider, id }))
}
