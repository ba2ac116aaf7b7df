//! Names of accounts, operations and holds.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Timestamp;

/// The name of an account: 1 to 64 of `A-Z a-z 0-9 . _ : -`, chosen by the `SaaS`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId {
    name: Arc<str>,
    /// Computed once: every step needs it.
    spread: u8,
}

/// Why a text is not an account's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an account's name is 1 to 64 letters, digits or `.` `_` `:` `-`")]
pub struct BadAccountId;

impl AccountId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The first byte of the SHA-256 of the name: spreads accounts evenly, and is the same for ever.
    pub fn spread(&self) -> u8 {
        self.spread
    }
}

impl FromStr for AccountId {
    type Err = BadAccountId;

    fn from_str(text: &str) -> Result<Self, BadAccountId> {
        if !is_name(text) {
            return Err(BadAccountId);
        }
        Ok(Self { name: text.into(), spread: Sha256::digest(text)[0] })
    }
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

impl TryFrom<String> for AccountId {
    type Error = BadAccountId;

    fn try_from(text: String) -> Result<Self, BadAccountId> {
        text.parse()
    }
}

impl From<AccountId> for String {
    fn from(id: AccountId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The name of an operation, and of the hold and the request that it belongs to: a UUID of version 7, so that
/// it carries the instant at which it was made (RFC 9562 section 5.7). Made by the gateway, never by a client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(u128);

const HEXADECIMAL: &[u8; 16] = b"0123456789abcdef";

/// Why a text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is `req_` and 32 hexadecimal digits, as in the `x-credits-request-id` of an answer")]
pub struct BadId;

impl Id {
    /// The id with these 128 bits.
    pub const fn from_u128(bits: u128) -> Self {
        Self(bits)
    }

    /// The 128 bits.
    pub const fn as_u128(self) -> u128 {
        self.0
    }

    /// The 128 bits as lower-case hexadecimal digits. Written often enough not to go by way of a formatter.
    pub fn digits(self) -> [u8; 32] {
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0.to_be_bytes()) {
            pair[0] = HEXADECIMAL[usize::from(byte >> 4)];
            pair[1] = HEXADECIMAL[usize::from(byte & 15)];
        }
        digits
    }

    /// The instant that the id carries.
    pub fn made_at(self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.0 >> 80).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("req_")?;
        f.write_str(std::str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Id {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let digits = text.strip_prefix("req_").unwrap_or(text);
        let hexadecimal = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        if !hexadecimal {
            return Err(BadId);
        }
        u128::from_str_radix(digits, 16).map(Self).map_err(|_| BadId)
    }
}

impl TryFrom<String> for Id {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.to_string()
    }
}

/// What a call is for, as its caller says: 1 to 64 of `A-Z a-z 0-9 . _ : -`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Feature(Arc<str>);

/// Why a text names no feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a feature's name is 1 to 64 letters, digits or `.` `_` `:` `-`")]
pub struct BadFeature;

impl Feature {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Feature {
    type Err = BadFeature;

    fn from_str(text: &str) -> Result<Self, BadFeature> {
        // `-` alone stands for none where a word is wanted.
        if is_name(text) && text != "-" { Ok(Self(text.into())) } else { Err(BadFeature) }
    }
}

impl TryFrom<String> for Feature {
    type Error = BadFeature;

    fn try_from(text: String) -> Result<Self, BadFeature> {
        text.parse()
    }
}

impl From<Feature> for String {
    fn from(feature: Feature) -> Self {
        feature.as_str().to_owned()
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a grant comes from: an invoice, a checkout, an administrator's operation. 1 to 128 printable ASCII
/// characters without spaces. A source grants once, for ever.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SourceId(String);

/// Why a text is not a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a source is 1 to 128 printable ASCII characters without spaces, such as `in_123` or `admin:42`"
)]
pub struct BadSourceId;

impl SourceId {
    /// The source as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SourceId {
    type Err = BadSourceId;

    fn from_str(text: &str) -> Result<Self, BadSourceId> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for SourceId {
    type Error = BadSourceId;

    fn try_from(text: String) -> Result<Self, BadSourceId> {
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        if (1..=128).contains(&text.len()) && printable { Ok(Self(text)) } else { Err(BadSourceId) }
    }
}

impl From<SourceId> for String {
    fn from(source: SourceId) -> Self {
        source.0
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
