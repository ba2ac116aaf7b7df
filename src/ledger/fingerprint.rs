//! Tells whether a repeated step brings the same arguments.

use std::hash::Hasher as _;

use serde::Serialize;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::credit::AccountId;

/// 128 bits of what is asked of `account`. They keep mistakes apart, not enemies: whoever could make two steps look alike
/// would have to be a gateway. The same on every machine, since they are stored.
pub(super) fn fingerprint(account: &AccountId, asked: &impl Serialize) -> [u8; 16] {
    let mut hash = SipHasher13::new();
    hash.write(account.as_str().as_bytes());
    // Arguments of our own types: writing them as JSON can't fail, and to an empty text it would be refused below.
    hash.write(&serde_json::to_vec(asked).unwrap_or_default());
    hash.finish128().as_bytes()
}
