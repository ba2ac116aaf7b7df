//! Ids of things that every account may use, as patterns.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use wildmatch::WildMatchPattern;

/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 256;

/// Patterns of ids; `*` stands for any text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SharedIds(Vec<(String, Pattern)>);

/// Nothing stands for a single character: no id has that one.
type Pattern = WildMatchPattern<'*', '\0'>;

impl SharedIds {
    /// Whether the thing called `id` is for all.
    pub fn have(&self, id: &str) -> bool {
        self.0.iter().any(|(_, pattern)| pattern.matches(id))
    }

    /// The patterns as they are written.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(text, _)| text.as_str())
    }
}

impl<'de> Deserialize<'de> for SharedIds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let patterns = Vec::<String>::deserialize(deserializer)?;
        if patterns.iter().any(|text| text.is_empty() || text.len() > PATTERN_BYTES_MAX) {
            return Err(D::Error::custom(format_args!(
                "a pattern of ids has 1 to {PATTERN_BYTES_MAX} bytes"
            )));
        }
        let pattern = |text: String| {
            let pattern = Pattern::new(&text);
            (text, pattern)
        };
        Ok(Self(patterns.into_iter().map(pattern).collect()))
    }
}
