//! Tells whether a repeated step brings the same arguments.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::credit::AccountId;

/// 128 bits of what is asked of `account`.
pub(super) fn fingerprint(account: &AccountId, asked: &impl Serialize) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(account.as_str());
    // Arguments of our own types: writing them as JSON can't fail, and to an empty text it would be refused below.
    hash.update(serde_json::to_vec(asked).unwrap_or_default());
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    half
}
