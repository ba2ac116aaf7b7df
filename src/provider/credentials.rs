//! Where client libraries put their key.
//!
//! The place does not tell the dialect (libraries of one provider write into the headers of another), so every
//! place is looked at, and two different keys are refused rather than ranked. Does not know which keys are valid,
//! and must never log one.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The headers that may hold a key. None of them may reach the provider as the client sent it.
pub static HEADERS: [HeaderName; 5] = [
    AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
    SEC_WEBSOCKET_PROTOCOL,
];

/// The element of `Sec-WebSocket-Protocol` with which a browser, which can't set headers, sends its key.
const SUBPROTOCOL: &str = "openai-insecure-api-key.";

/// Elements with which it names the organisation and the project of a key that is not the provider's.
const OWNERS: [&str; 2] = ["openai-organization.", "openai-project."];

/// The parameter of a query in which the gateway itself has put what stands for a key, where none is sent.
pub const TICKET: &str = "creditgate_ticket";

/// Why no key could be read. Both are answered with 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[error(
        "The request carries two different API keys; send one, as `Authorization: Bearer <key>`."
    )]
    Ambiguous,
    #[error("The API key contains characters that no key has; check for stray bytes around it.")]
    NotText,
}

/// Finds the key of a request in its headers or in the parameter `key` of its query. The same key in several
/// places is one key.
pub fn credentials<'a>(
    headers: &'a HeaderMap,
    query: Option<&'a str>,
) -> Result<Option<Cow<'a, str>>, CredentialError> {
    let mut found: Option<Cow<'a, str>> = None;
    for candidate in in_headers(headers).chain(query.into_iter().flat_map(in_query)) {
        let candidate = candidate?;
        match &found {
            Some(key) if *key != candidate => return Err(CredentialError::Ambiguous),
            Some(_) => {}
            None => found = Some(candidate),
        }
    }
    Ok(found)
}

/// The query without keys and tickets, so that they are neither forwarded nor logged. All other bytes stay.
pub fn query_without_key(query: &str) -> Cow<'_, str> {
    let is_kept = |pair: &&str| {
        percent_decoded(name_of_pair(pair)).is_none_or(|name| name != "key" && name != TICKET)
    };
    if query.split('&').all(|pair| is_kept(&pair)) {
        return Cow::Borrowed(query);
    }
    Cow::Owned(query.split('&').filter(is_kept).collect::<Vec<_>>().join("&"))
}

/// The protocols that a WebSocket's client offers, without what is told only to the gateway; nothing if none are left.
pub fn protocols_without_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let offered = values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    let private = |word: &str| OWNERS.iter().chain([&SUBPROTOCOL]).any(|own| word.starts_with(own));
    let kept: Vec<&str> =
        offered.map(str::trim).filter(|word| !word.is_empty() && !private(word)).collect();
    HeaderValue::from_str(&kept.join(", ")).ok().filter(|_| !kept.is_empty())
}

/// Whether a query has the parameter `key`.
pub(super) fn names_key(query: &str) -> bool {
    query.split('&').any(|pair| key_of_pair(pair).is_some())
}

type Candidate<'a> = Result<Cow<'a, str>, CredentialError>;

fn in_headers(headers: &HeaderMap) -> impl Iterator<Item = Candidate<'_>> {
    HEADERS.iter().flat_map(move |name| {
        headers.get_all(name).iter().filter_map(move |value| match value.to_str() {
            Ok(text) => in_header(name, text).map(|key| Ok(Cow::Borrowed(key))),
            Err(_) => Some(Err(CredentialError::NotText)),
        })
    })
}

fn in_header<'a>(name: &HeaderName, value: &'a str) -> Option<&'a str> {
    let key = if *name == AUTHORIZATION {
        let (scheme, key) = value.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key)?
    } else if *name == SEC_WEBSOCKET_PROTOCOL {
        value.split(',').find_map(|protocol| protocol.trim().strip_prefix(SUBPROTOCOL))?
    } else {
        value
    };
    Some(key.trim()).filter(|key| !key.is_empty())
}

fn in_query(query: &str) -> impl Iterator<Item = Candidate<'_>> {
    query.split('&').filter_map(key_of_pair).filter(|key| !key.is_empty()).map(|key| {
        let key = percent_decoded(key).ok_or(CredentialError::NotText)?;
        let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
        visible.then_some(key).ok_or(CredentialError::NotText)
    })
}

fn name_of_pair(pair: &str) -> &str {
    pair.split('=').next().unwrap_or_default()
}

/// The value of a query pair, still encoded, if the pair's name is `key` however it is encoded.
fn key_of_pair(pair: &str) -> Option<&str> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    (percent_decoded(name)? == "key").then_some(value)
}

/// Decodes percent escapes; `None` if they are not text.
pub(crate) fn percent_decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        bytes.push(match byte {
            b'%' => u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?,
            _ => byte,
        });
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(headers: &[(&'static str, &str)], query: Option<&str>) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        match credentials(&map, query) {
            Ok(key) => key.map(Cow::into_owned),
            Err(CredentialError::Ambiguous) => Some("ambiguous".to_owned()),
            Err(CredentialError::NotText) => Some("not text".to_owned()),
        }
    }

    #[test]
    fn each_place_is_read() {
        let subprotocol = "realtime, openai-insecure-api-key.k1, openai-beta.realtime-v1";
        for (name, value) in [
            ("authorization", "Bearer k1"),
            ("authorization", "bearer   k1 "),
            ("x-api-key", "k1"),
            ("api-key", "k1"),
            ("x-goog-api-key", "k1"),
            ("sec-websocket-protocol", subprotocol),
        ] {
            assert_eq!(check(&[(name, value)], None).as_deref(), Some("k1"), "{name}: {value}");
        }
        for query in ["key=k1", "a=b&key=k1&c", "%6Bey=k%31"] {
            assert_eq!(check(&[], Some(query)).as_deref(), Some("k1"), "{query}");
        }
    }

    #[test]
    fn no_key_is_none() {
        for (name, value) in [
            ("authorization", "Bearer "),
            ("authorization", "Basic k1"),
            ("authorization", "k1"),
            ("sec-websocket-protocol", "realtime"),
            ("x-api-key", ""),
        ] {
            assert_eq!(check(&[(name, value)], Some("key=&keys=k1")), None, "{name}: {value}");
        }
    }

    #[test]
    fn one_key_twice_is_one_and_two_keys_are_none() {
        let same = [("authorization", "Bearer k1"), ("api-key", "k1")];
        assert_eq!(check(&same, Some("key=k1")).as_deref(), Some("k1"));
        assert_eq!(check(&same, Some("key=k2")).as_deref(), Some("ambiguous"));
        let twice = [("authorization", "Bearer k1"), ("authorization", "Bearer k2")];
        assert_eq!(check(&twice, None).as_deref(), Some("ambiguous"));
    }

    #[test]
    fn stray_bytes_are_refused() {
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", HeaderValue::from_bytes(b"k\xff").unwrap());
        assert_eq!(credentials(&headers, None), Err(CredentialError::NotText));
        let none = HeaderMap::new();
        assert_eq!(credentials(&none, Some("key=%FF")), Err(CredentialError::NotText));
        assert_eq!(credentials(&none, Some("key=a%0Ab")), Err(CredentialError::NotText));
    }

    #[test]
    fn the_key_leaves_the_query_and_nothing_else_changes() {
        for (query, without) in [
            ("key=k1", ""),
            ("a=%2f&key=k1&b=+&&c", "a=%2f&b=+&&c"),
            ("key=k1&%6bey=k2&x=1", "x=1"),
            ("keys=1&xkey=2&=key", "keys=1&xkey=2&=key"),
            ("upload_id=A&creditgate_ticket=t&b", "upload_id=A&b"),
            ("%63reditgate_ticket", ""),
            ("", ""),
        ] {
            assert_eq!(query_without_key(query), without, "{query}");
        }
    }
}
