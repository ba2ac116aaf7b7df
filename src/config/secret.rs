//! Secrets: named in the configuration, read when they are needed, shown never.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::{Environment, FallbackKey};

/// The longest secret that a file may hold, in bytes: a wrong path must not fill the memory.
const LONGEST: u64 = 64 * 1024;

/// A text that no log and no error shows.
#[derive(Clone)]
pub struct Secret(String);

/// Where a secret is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// In the environment variable of this name.
    Env(String),
    /// In this file.
    File(PathBuf),
}

/// Why a secret can't be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not there, or empty.
    #[error("the environment variable {0} is not set, or empty; it must hold the secret")]
    Unset(String),
    /// The file can't be read.
    #[error("the secret in {} can't be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What was found can't be sent in a header.
    #[error("the secret in {0} must be one line of visible ASCII characters, at most 64 KiB")]
    Malformed(String),
}

impl Secret {
    /// A secret that was had in another way.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the one place that sends or compares it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl SecretSource {
    /// The secret itself: visible ASCII, at least one character. A line break at its end is left out.
    pub fn resolve(&self, env: Environment<'_>) -> Result<Secret, SecretError> {
        let text = match self {
            Self::Env(name) => env(name).unwrap_or_default(),
            Self::File(path) => read(path)
                .map_err(|source| SecretError::Unreadable { path: path.clone(), source })?,
        };
        let text = text.trim_end_matches(['\r', '\n']);
        match self {
            Self::Env(name) if text.is_empty() => Err(SecretError::Unset(name.clone())),
            _ if text.is_empty() || text.bytes().any(|byte| !byte.is_ascii_graphic()) => {
                Err(SecretError::Malformed(self.to_string()))
            }
            _ => Ok(Secret(text.to_owned())),
        }
    }
}

/// Where the secret is, in words.
impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "the environment variable {name}"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// For `deserialize_with`.
pub(super) fn source<'de, D: Deserializer<'de>>(from: D) -> Result<SecretSource, D::Error> {
    let source = from.deserialize_any(SourceVisitor { or_none: false })?;
    source.ok_or_else(|| D::Error::custom("a secret is needed here"))
}

/// For `deserialize_with` of a secret that may be `"none"`.
pub(super) fn source_or_none<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<SecretSource>, D::Error> {
    from.deserialize_any(SourceVisitor { or_none: true })
}

impl<'de> Deserialize<'de> for FallbackKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        source_or_none(from).map(Self::Own)
    }
}

/// For `deserialize_with` of a secret that may be left out.
pub(super) fn optional_source<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<SecretSource>, D::Error> {
    source(from).map(Some)
}

struct SourceVisitor {
    or_none: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceTable {
    env: Option<String>,
    file: Option<PathBuf>,
}

impl<'de> Visitor<'de> for SourceVisitor {
    type Value = Option<SecretSource>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{ env = \"VARIABLE\" } or { file = \"/path\" }")?;
        if self.or_none { f.write_str(", or \"none\"") } else { Ok(()) }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        if self.or_none && text == "none" {
            return Ok(None);
        }
        // The text is not repeated: it may be the secret.
        Err(E::custom(format_args!(
            "a secret is not written in a file but named: expected {}",
            &self as &dyn serde::de::Expected
        )))
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Self::Value, M::Error> {
        let table = SourceTable::deserialize(MapAccessDeserializer::new(map))?;
        match (table.env, table.file) {
            (Some(name), None) if !name.is_empty() => Ok(Some(SecretSource::Env(name))),
            (None, Some(path)) if !path.as_os_str().is_empty() => {
                Ok(Some(SecretSource::File(path)))
            }
            (Some(_) | None, Some(_) | None) => Err(M::Error::custom(format_args!(
                "expected one of the two, not empty: {}",
                &self as &dyn serde::de::Expected
            ))),
        }
    }
}

fn read(path: &PathBuf) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "sk-very-secret";

    fn env(name: &str) -> Option<String> {
        match name {
            "SET" => Some(format!("{VALUE}\n")),
            "EMPTY" => Some(String::new()),
            "TWO_LINES" => Some("a\r\nx-injected: b".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn a_secret_is_read_but_not_shown() {
        let secret = SecretSource::Env("SET".to_owned()).resolve(&env).unwrap();
        assert_eq!(secret.expose(), VALUE);
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
    }

    #[test]
    fn a_file_may_end_with_a_line_break() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{VALUE}\r\n")).unwrap();
        let source = SecretSource::File(file.path().to_owned());
        assert_eq!(source.resolve(&env).unwrap().expose(), VALUE);
    }

    #[test]
    fn what_is_not_there_or_not_a_header_is_refused_by_name() {
        for (name, expected) in [
            ("UNSET", "the environment variable UNSET is not set"),
            ("EMPTY", "the environment variable EMPTY is not set"),
            ("TWO_LINES", "the secret in the environment variable TWO_LINES must be one line"),
        ] {
            let error = SecretSource::Env(name.to_owned()).resolve(&env).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        let missing = SecretSource::File(PathBuf::from("/nowhere/key"));
        let error = missing.resolve(&env).unwrap_err().to_string();
        assert!(error.starts_with("the secret in /nowhere/key can't be read"), "{error}");
    }
}
