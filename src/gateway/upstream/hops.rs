//! Which headers pass from hop to hop, in either direction.
//!
//! Knows names only: what a provider's key is and where it stands is not decided here.

use http::HeaderMap;
use http::header::{CONNECTION, HeaderName};

use crate::provider::credentials;

/// Concern one hop only (RFC 9110 section 7.6.1), beside what `Connection` names.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Of no concern to a provider: who the caller is and which way it came (providers.md sections 4.1 and 4.2).
fn is_private(name: &str) -> bool {
    matches!(
        name,
        "host"
        | "content-length"
        | "expect"
        | "cookie"
        | "forwarded"
        | "via"
        | "x-real-ip"
        // Name the organisation or the project of a provider key that is not the caller's.
        | "openai-organization"
        | "openai-project"
        | "x-goog-user-project"
        | "x-amz-security-token"
    )
}

/// Beginnings of header names that stay here.
const PRIVATE_PREFIXES: [&str; 3] = ["x-credits-", "x-forwarded-", "cf-"];

/// Of no concern to a caller: the provider's cookies, its organisation, and the capacity that all accounts share.
fn is_providers_own(name: &str) -> bool {
    matches!(
        name,
        "set-cookie"
            | "openai-organization"
            | "openai-project"
            | "anthropic-organization-id"
            | "anthropic-workspace-id"
    )
}

/// Beginnings of such names.
const PROVIDERS_OWN_PREFIXES: [&str; 3] = ["x-credits-", "x-ratelimit-", "anthropic-ratelimit-"];

/// Takes out of a caller's headers what a provider must not see: credentials, cookies, the way through this gateway.
pub fn clean_request(headers: &mut HeaderMap) {
    clean(headers, &PRIVATE_PREFIXES, |name| {
        is_private(name.as_str()) || credentials::HEADERS.contains(name)
    });
}

/// Takes out of a provider's headers what a caller must not see.
pub fn clean_answer(headers: &mut HeaderMap) {
    clean(headers, &PROVIDERS_OWN_PREFIXES, |name| is_providers_own(name.as_str()));
}

/// Takes out what concerns one hop, what begins with one of `prefixes`, and what is private. A message has a dozen
/// headers and few of these, so that the headers are gone through, and not the names.
fn clean(headers: &mut HeaderMap, prefixes: &[&str], stays: impl Fn(&HeaderName) -> bool) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let goes = |name: &&HeaderName| {
        let text = name.as_str();
        is_hop_by_hop(text)
            || prefixes.iter().any(|start| text.starts_with(start))
            || stays(name)
            || named.contains(name)
    };
    let found: Vec<HeaderName> = headers.keys().filter(goes).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}
