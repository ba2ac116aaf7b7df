//! Tickets: what an upload's address carries in place of the key, which Google's libraries don't send there.
//!
//! A ticket is sealed (AES-256-GCM), holds the hash of the caller's key and its account, and opens for one upload at one
//! provider, for a week. The key is looked up again each time, so that a revoked key's tickets are worth nothing, and so
//! that whoever could make one would still need the hash of a key. Gateways with the same provider's key open each other's
//! tickets: they are sealed with what is derived from it.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::{Digest as _, Sha256};

use super::Upstream;
use crate::config::Name;
use crate::credit::{AccountId, Timestamp};
use crate::directory::KeyHash;
use crate::provider::credentials::TICKET;

/// As long as an upload can take: Google forgets one after a week.
const LIFE: Duration = Duration::from_hours(7 * 24);

/// Longest ticket that is looked at.
const TICKET_BYTES_MAX: usize = 1_024;

const HASH_LEN: usize = 32;
const TIME_LEN: usize = 8;

/// Seals and opens.
pub struct Tickets(BTreeMap<Name, LessSafeKey>);

/// Who holds a ticket.
#[derive(Debug, PartialEq, Eq)]
pub struct Holder {
    pub key: KeyHash,
    pub account: AccountId,
}

impl Tickets {
    /// Tickets for each provider.
    pub fn new(upstreams: &BTreeMap<Name, Upstream>) -> Self {
        let keys = upstreams.iter().map(|(name, upstream)| (name, upstream.key()));
        Self::sealed_with(keys)
    }

    /// Tickets for each provider, by its key. Without one they are good at this gateway until it ends; where no random
    /// number can be had, there are none.
    fn sealed_with<'k>(providers: impl Iterator<Item = (&'k Name, Option<&'k [u8]>)>) -> Self {
        let key = |(name, key): (&Name, Option<&[u8]>)| {
            let mut random = [0; 32];
            if key.is_none() {
                getrandom::fill(&mut random).ok()?;
            }
            let secret = key.unwrap_or(&random);
            let hash = Sha256::new().chain_update(b"creditgate ticket\0").chain_update(secret);
            // A SHA-256 is as long as such a key.
            let key = UnboundKey::new(&AES_256_GCM, &hash.finalize()).ok()?;
            Some((name.clone(), LessSafeKey::new(key)))
        };
        Self(providers.filter_map(key).collect())
    }

    /// A ticket for `holder` to go on with `upload`; nothing if none can be made.
    pub fn seal(
        &self,
        provider: &Name,
        upload: &str,
        holder: &Holder,
        now: Timestamp,
    ) -> Option<String> {
        let end = now.after_millis(u64::try_from(LIFE.as_millis()).ok()?);
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).ok()?;
        let Holder { key, account } = holder;
        let mut sealed =
            [&end.millis().to_be_bytes()[..], &key.0, account.as_str().as_bytes()].concat();
        let bound = Aad::from(bound_to(provider, upload));
        let once = Nonce::assume_unique_for_key(nonce);
        self.0.get(provider)?.seal_in_place_append_tag(once, bound, &mut sealed).ok()?;
        Some(URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()))
    }

    /// Whose the ticket in `query` is, if it is for `upload`.
    pub fn open(
        &self,
        provider: &Name,
        upload: &str,
        query: &str,
        now: Timestamp,
    ) -> Option<Holder> {
        let ticket = ticket_in(query).filter(|text| text.len() <= TICKET_BYTES_MAX)?;
        let ticket = URL_SAFE_NO_PAD.decode(ticket).ok()?;
        let (nonce, sealed) = ticket.split_first_chunk::<NONCE_LEN>()?;
        let (once, mut sealed) = (Nonce::assume_unique_for_key(*nonce), sealed.to_vec());
        let bound = Aad::from(bound_to(provider, upload));
        let text = self.0.get(provider)?.open_in_place(once, bound, &mut sealed).ok()?;
        let (end, text) = text.split_first_chunk::<TIME_LEN>()?;
        let (hash, account) = text.split_first_chunk::<HASH_LEN>()?;
        let account = std::str::from_utf8(account).ok()?.parse().ok()?;
        let is_good = now.millis() < i64::from_be_bytes(*end);
        is_good.then_some(Holder { key: KeyHash(*hash), account })
    }
}

fn bound_to(provider: &Name, upload: &str) -> Vec<u8> {
    [provider.as_str().as_bytes(), b"\0", upload.as_bytes()].concat()
}

/// The ticket in a query that has one.
fn ticket_in(query: &str) -> Option<&str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == TICKET).map(|(_, ticket)| ticket)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn name(text: &str) -> Name {
        serde_json::from_value(text.into()).unwrap()
    }

    fn tickets(key: Option<&[u8]>) -> Tickets {
        let (one, two) = (name("one"), name("two"));
        Tickets::sealed_with([(&one, key), (&two, key)].into_iter())
    }

    fn holder() -> Holder {
        Holder { key: KeyHash::of("secret"), account: "a".parse().unwrap() }
    }

    #[test]
    fn a_ticket_opens_for_its_upload_only() {
        let now = Timestamp::from_millis(NOW);
        let (one, two) = (name("one"), name("two"));
        let gateway = tickets(Some(b"k"));
        let ticket = gateway.seal(&one, "A-1", &holder(), now).unwrap();
        let query = format!("upload_id=A-1&{TICKET}={ticket}&x=y");
        assert_eq!(tickets(Some(b"k")).open(&one, "A-1", &query, now), Some(holder()));
        // Another upload, provider, gateway or time; none, and a changed ticket.
        assert_eq!(gateway.open(&one, "A-2", &query, now), None);
        assert_eq!(gateway.open(&two, "A-1", &query, now), None);
        assert_eq!(tickets(Some(b"l")).open(&one, "A-1", &query, now), None);
        assert_eq!(tickets(None).open(&one, "A-1", &query, now), None);
        let week = now.after_millis(7 * 24 * 3_600_000);
        assert_eq!(gateway.open(&one, "A-1", &query, week), None);
        assert_eq!(gateway.open(&one, "A-1", "upload_id=A-1", now), None);
        for at in 0..ticket.len() - 1 {
            let mut changed = ticket.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            let query = query.replace(&ticket, &changed);
            assert_eq!(gateway.open(&one, "A-1", &query, now), None, "{at}");
        }
    }

    #[test]
    fn a_ticket_tells_nothing() {
        let now = Timestamp::from_millis(NOW);
        let gateway = tickets(None);
        let ticket = gateway.seal(&name("one"), "A", &holder(), now).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&ticket).unwrap();
        let has = |part: &[u8]| memchr::memmem::find(&bytes, part).is_some();
        assert!(!has(&holder().key.0) && !has(&now.millis().to_be_bytes()[..6]));
        assert_ne!(gateway.seal(&name("one"), "A", &holder(), now).unwrap(), ticket);
    }
}
