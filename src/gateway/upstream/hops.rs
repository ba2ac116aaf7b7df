//! Which headers pass from hop to hop, in either direction.
//!
//! Knows names only: what a provider's key is and where it stands is not decided here.

use http::HeaderMap;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName};

use crate::provider::credentials;

/// Concern one hop only (RFC 9110 section 7.6.1), beside what `Connection` names.
static HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("te"),
    HeaderName::from_static("trailer"),
    HeaderName::from_static("transfer-encoding"),
    HeaderName::from_static("upgrade"),
];

/// Of no concern to a provider: who the caller is and which way it came (providers.md sections 4.1 and 4.2).
static PRIVATE: [HeaderName; 11] = [
    HOST,
    CONTENT_LENGTH,
    EXPECT,
    HeaderName::from_static("cookie"),
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("via"),
    HeaderName::from_static("x-real-ip"),
    // Name the organisation or the project of a provider key that is not the caller's.
    HeaderName::from_static("openai-organization"),
    HeaderName::from_static("openai-project"),
    HeaderName::from_static("x-goog-user-project"),
    HeaderName::from_static("x-amz-security-token"),
];

/// Beginnings of header names that stay here.
const PRIVATE_PREFIXES: [&str; 3] = ["x-credits-", "x-forwarded-", "cf-"];

/// Of no concern to a caller: the provider's cookies, its organisation, and the capacity that all accounts share.
const PROVIDERS_OWN: [&str; 5] = [
    "set-cookie",
    "openai-organization",
    "openai-project",
    "anthropic-organization-id",
    "anthropic-workspace-id",
];
const PROVIDERS_OWN_PREFIXES: [&str; 3] = ["x-credits-", "x-ratelimit-", "anthropic-ratelimit-"];

/// Takes out of a caller's headers what a provider must not see: credentials, cookies, the way through this gateway.
pub fn clean_request(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    for name in PRIVATE.iter().chain(&credentials::HEADERS) {
        headers.remove(name);
    }
    remove_prefixed(headers, &PRIVATE_PREFIXES);
}

/// Takes out of a provider's headers what a caller must not see.
pub fn clean_answer(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    for name in PROVIDERS_OWN {
        headers.remove(name);
    }
    remove_prefixed(headers, &PROVIDERS_OWN_PREFIXES);
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn remove_prefixed(headers: &mut HeaderMap, prefixes: &[&str]) {
    let private =
        |name: &&HeaderName| prefixes.iter().any(|start| name.as_str().starts_with(start));
    let found: Vec<HeaderName> = headers.keys().filter(private).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}
