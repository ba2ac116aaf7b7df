//! Addresses: a provider's, the ledger's, and those of pages for people.

use std::fmt;
use std::path::PathBuf;

use http::Uri;
use serde::de::{Deserialize, Deserializer, Error};

use super::redis::RedisUrl;
use super::scalar::Scalar;

/// The address before every path of a provider: http or https, host, port, and a path without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    uri: Uri,
}

impl BaseUrl {
    /// The whole address, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is https.
    pub fn is_tls(&self) -> bool {
        self.uri.scheme() == Some(&http::uri::Scheme::HTTPS)
    }

    /// The whole address.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Host and port, as they are sent in `Host`.
    pub fn authority(&self) -> &str {
        self.uri.authority().map_or("", http::uri::Authority::as_str)
    }

    /// The path before every path, without a slash at its end: `/v1`, or nothing.
    pub fn path(&self) -> &str {
        self.uri.path().trim_end_matches('/')
    }
}

impl Scalar for BaseUrl {
    const EXPECTED: &'static str = "an http or https address without user, password, query or fragment, such as \
                                    \"https://api.openai.com/v1\"";

    fn from_text(text: &str) -> Option<Self> {
        let text = text.trim_end_matches('/');
        let uri = web_address(text)?;
        let plain = uri.query().is_none() && !text.contains('#');
        plain.then(|| Self { text: text.to_owned(), uri })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where credits are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerUrl {
    /// A file of `SQLite`.
    Sqlite(PathBuf),
    /// A Redis server, or several.
    Redis(RedisUrl),
}

impl LedgerUrl {
    /// What an address looks like, with examples.
    pub const EXPECTED: &str = <Self as Scalar>::EXPECTED;

    /// The place that `address` means, if it means one.
    pub fn parse(address: &str) -> Option<Self> {
        Self::from_text(address)
    }
}

impl Scalar for LedgerUrl {
    const EXPECTED: &'static str = "\"sqlite://\" and the path of a file, such as \"sqlite://creditgate.db\" or \
                                    \"sqlite:///var/lib/creditgate/creditgate.db\", or the address of a Redis: \
                                    \"redis://localhost:6379\", \"redis+sentinel://host:26379,host:26379/mymaster\" or \
                                    \"redis+cluster://host:7000,host:7001\", with \"rediss\" for TLS and \
                                    \"user:password@\" before the first host";

    fn from_text(text: &str) -> Option<Self> {
        let Some(path) = text.strip_prefix("sqlite://") else {
            return RedisUrl::parse(text).map(Self::Redis);
        };
        // `:memory:` and `?mode=…` are SQLite's own words for something that is not a file, or not one for long.
        let file = !path.is_empty() && !path.starts_with(':') && !path.contains(['?', '#']);
        file.then(|| Self::Sqlite(PathBuf::from(path)))
    }
}

/// With the password masked.
impl fmt::Display for LedgerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Redis(url) => fmt::Display::fmt(url, f),
        }
    }
}

/// For `deserialize_with`: the address of a page, which may have a query and a fragment.
pub(super) fn page<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    match web_address(&text) {
        Some(_) => Ok(text),
        None => Err(D::Error::custom(
            "expected an http or https address, such as \"https://app.example.com/billing\"",
        )),
    }
}

/// An http or https address with a host and no user or password.
fn web_address(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let web = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri.authority()?;
    // What stands after the host is a port or nothing: not `user@`, not `:` alone, not `:99999`.
    let place = match authority.port_u16() {
        Some(port) => authority.as_str() == format!("{}:{port}", authority.host()),
        None => authority.as_str() == authority.host(),
    };
    (web && place && !authority.host().is_empty()).then_some(uri)
}
