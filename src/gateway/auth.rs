//! Who calls: from the key in a request to the account that pays.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use super::head::only;
use super::rejection::Rejection;
use super::ticket::Holder;
use crate::credit::{AccountId, Timestamp};
use crate::directory::{Check, Directory, KeyHash, KnownKey, Owner, Record};
use crate::provider::credentials::credentials;

/// The header in which a service key names the account.
pub static ACCOUNT_HEADER: HeaderName = HeaderName::from_static("x-credits-account");

/// An identified caller.
#[derive(Clone)]
pub struct Caller {
    /// The key that was presented.
    pub key: Arc<KnownKey>,
    /// The account that pays.
    pub record: Arc<Record>,
    hash: KeyHash,
}

impl Caller {
    /// The version of the account's record that this caller was identified with: a hold brings it along, so that the
    /// ledger can tell if anything has changed since. The older of what key and record were read with.
    pub fn version(&self) -> u64 {
        match self.key.key.owner {
            Owner::Account(_) => self.key.version.min(self.record.version),
            Owner::Service => self.record.version,
        }
    }

    /// The hash of the key.
    pub fn hash(&self) -> KeyHash {
        self.hash
    }

    /// Forgets what is cached of this caller, for a second look.
    pub fn forget(&self, directory: &Directory) {
        directory.forget(Some(&self.record.account), Some(self.hash));
    }
}

/// Identifies the caller by the key in `headers` or `query`. `check`: what makes sure that the key is still good.
pub async fn identify(
    directory: &Directory,
    headers: &HeaderMap,
    query: Option<&str>,
    check: Check,
    now: Timestamp,
) -> Result<Caller, Rejection> {
    let presented: Cow<'_, str> = match credentials(headers, query) {
        Ok(Some(key)) => key,
        Ok(None) => return Err(Rejection::KeyMissing),
        Err(error) => return Err(Rejection::KeyUnreadable(error)),
    };
    let account = |owner: &Owner| account_of(owner, headers);
    known(directory, KeyHash::of(&presented), account, check, now).await
}

/// Identifies the holder of a ticket, whose key must still be good.
pub async fn identify_holder(
    directory: &Directory,
    Holder { key, account }: &Holder,
    check: Check,
    now: Timestamp,
) -> Result<Caller, Rejection> {
    known(directory, *key, |_| Ok(account.clone()), check, now).await
}

async fn known(
    directory: &Directory,
    hash: KeyHash,
    account: impl FnOnce(&Owner) -> Result<AccountId, Rejection>,
    check: Check,
    now: Timestamp,
) -> Result<Caller, Rejection> {
    let key = directory.key(hash, check).await?.ok_or(Rejection::KeyUnknown)?;
    if !key.key.is_valid(now) {
        return Err(Rejection::KeyUnknown);
    }
    let account = account(&key.key.owner)?;
    let record = directory.record(&account, check).await?.ok_or(Rejection::AccountUnknown)?;
    Ok(Caller { key, record, hash })
}

fn account_of(owner: &Owner, headers: &HeaderMap) -> Result<AccountId, Rejection> {
    let named = only(headers, &ACCOUNT_HEADER).map_err(|_| Rejection::AccountUnreadable)?;
    let named: Option<AccountId> = named
        .map(|value| value.to_str().ok().and_then(|text| text.parse().ok()))
        .map(|account| account.ok_or(Rejection::AccountUnreadable))
        .transpose()?;
    match (owner, named) {
        (Owner::Account(own), Some(named)) if *own != named => Err(Rejection::AccountForeign),
        (Owner::Account(own), _) => Ok(own.clone()),
        (Owner::Service, Some(named)) => Ok(named),
        (Owner::Service, None) => Err(Rejection::AccountMissing),
    }
}
