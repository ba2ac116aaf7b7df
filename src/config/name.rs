//! What the operator calls a provider or a plan.

use std::borrow::Borrow;
use std::fmt;

use serde::de::{Deserialize, Deserializer};

use super::scalar::{Scalar, scalar};

/// The name of a provider or a plan: a-z, 0-9, `_` and `-`, 1 to 32 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Scalar for Name {
    const EXPECTED: &'static str = "a name of a-z, 0-9, `_` and `-`, at most 32 characters";

    fn from_text(text: &str) -> Option<Self> {
        let letters =
            text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
        ((1..=32).contains(&text.len()) && letters).then(|| Self(text.to_owned()))
    }
}

/// A name is the key of a map, for which `deserialize_with` is not offered.
impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        scalar(from)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
