//! Whose a path is that names no provider: what a client library is recognised by.
//!
//! The path decides where only one dialect knows it. Where several do (`GET /v1/models`, `/v1/files`), the headers do
//! that only one of the official libraries sends. A wrong guess costs nothing: whoever is chosen, the path is
//! classified by the table of the provider that it is sent to.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, Method};

use super::credentials::names_key;
use super::{Dialect, Path, PathError, Route};

static ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
static GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
static GOOG_API_CLIENT: HeaderName = HeaderName::from_static("x-goog-api-client");
static API_KEY: HeaderName = HeaderName::from_static("api-key");
static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A path in the spelling of a dialect, and what it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub path: Path,
    pub route: Route,
}

/// The dialect that a request's headers or its query show, if they do.
///
/// `x-api-key` is the weakest sign, since newer libraries of Anthropic's send their key as all others do; it counts if
/// there is no other key.
pub fn hint(headers: &HeaderMap, query: Option<&str>) -> Option<Dialect> {
    let has = |name: &HeaderName| headers.contains_key(name);
    if has(&ANTHROPIC_VERSION) {
        Some(Dialect::Anthropic)
    } else if has(&GOOG_API_KEY) || has(&GOOG_API_CLIENT) {
        Some(Dialect::Gemini)
    } else if has(&AUTHORIZATION) || has(&API_KEY) {
        None
    } else if has(&X_API_KEY) {
        Some(Dialect::Anthropic)
    } else {
        query.is_some_and(names_key).then_some(Dialect::Gemini)
    }
}

/// Finds which of `dialects` a request speaks, by its place among them; the first is the one it speaks if nothing says
/// otherwise. Without any dialect there is no answer.
pub fn choose(
    dialects: &(impl Iterator<Item = Dialect> + Clone),
    hint: Option<Dialect>,
    method: &Method,
    upgrade: bool,
    segments: &[&str],
) -> Option<(usize, Result<Placed, PathError>)> {
    let hinted = hint.and_then(|hint| dialects.clone().position(|dialect| dialect == hint));
    let at = |index: usize, dialect: Dialect| (index, place(dialect, method, upgrade, segments));
    let knows = |(_, placed): &(usize, Result<Placed, PathError>)| {
        placed.as_ref().is_ok_and(|placed| placed.route.is_listed())
    };
    let first = hinted.and_then(|index| Some(at(index, dialects.clone().nth(index)?)));
    if let Some(found) = first.filter(knows) {
        return Some(found);
    }
    let mut others = dialects.clone().enumerate().map(|(index, dialect)| at(index, dialect));
    others.find(knows).or_else(|| {
        let index = hinted.unwrap_or_default();
        dialects.clone().nth(index).map(|dialect| at(index, dialect))
    })
}

/// Brings a path to the spelling of `dialect` and classifies it there.
pub fn place(
    dialect: Dialect,
    method: &Method,
    upgrade: bool,
    segments: &[&str],
) -> Result<Placed, PathError> {
    let path = dialect.path(method, segments)?;
    let route = dialect.route(method, upgrade, &path);
    Ok(Placed { path, route })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::provider::Spelled;

    const THREE: [Dialect; 3] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini];

    fn chosen(method: &str, path: &str, hint: Option<Dialect>) -> String {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let spelled = Spelled::read(path).unwrap();
        let segments = spelled.segments().unwrap();
        let (at, placed) = choose(&THREE.into_iter(), hint, &method, false, &segments).unwrap();
        format!("{} {}", THREE[at], placed.unwrap().path)
    }

    #[test]
    fn a_path_that_one_dialect_knows_is_its_own() {
        for (method, path, expected) in [
            ("POST", "/v1/chat/completions", "openai /v1/chat/completions"),
            ("POST", "/chat/completions", "openai /v1/chat/completions"),
            ("POST", "/v1/messages", "anthropic /v1/messages"),
            ("POST", "/messages", "anthropic /v1/messages"),
            ("POST", "/v1/v1/messages", "anthropic /v1/messages"),
            ("POST", "/v1/messages/count_tokens", "anthropic /v1/messages/count_tokens"),
            ("POST", "/v1beta/models/m:generateContent", "gemini /v1beta/models/m:generateContent"),
            ("POST", "/v1/models/m:generateContent", "gemini /v1/models/m:generateContent"),
            ("POST", "/models/m:generateContent", "gemini /v1beta/models/m:generateContent"),
            ("GET", "/v1beta/models", "gemini /v1beta/models"),
            ("POST", "/upload/v1beta/files", "gemini /upload/v1beta/files"),
            ("POST", "/v1beta/openai/chat/completions", "gemini /v1beta/openai/chat/completions"),
            ("POST", "/v1beta/interactions", "gemini /v1beta/interactions"),
        ] {
            for hint in
                [None, Some(Dialect::OpenAi), Some(Dialect::Anthropic), Some(Dialect::Gemini)]
            {
                assert_eq!(chosen(method, path, hint), expected, "{hint:?}");
            }
        }
    }

    #[test]
    fn where_several_know_a_path_the_hint_decides() {
        for path in ["/v1/models", "/v1/files", "/v1/models/m"] {
            assert_eq!(chosen("GET", path, None), format!("openai {path}"));
            assert_eq!(chosen("GET", path, Some(Dialect::Anthropic)), format!("anthropic {path}"));
            assert_eq!(chosen("GET", path, Some(Dialect::Gemini)), format!("gemini {path}"));
        }
    }

    #[test]
    fn what_nobody_knows_is_the_hints_or_the_first_ones() {
        assert_eq!(chosen("POST", "/v1/new", None), "openai /v1/new");
        assert_eq!(chosen("POST", "/v1/new", Some(Dialect::Anthropic)), "anthropic /v1/new");
        assert_eq!(chosen("POST", "/v1/new", Some(Dialect::Cohere)), "openai /v1/new");
    }

    #[test]
    fn headers_show_the_library() {
        for (headers, query, expected) in [
            (&[][..], None, None),
            (&["authorization"], Some("key=k"), None),
            (&["authorization", "anthropic-version"], None, Some(Dialect::Anthropic)),
            (&["x-api-key"], None, Some(Dialect::Anthropic)),
            (&["x-api-key", "authorization"], None, None),
            (&["x-goog-api-key"], None, Some(Dialect::Gemini)),
            (&["authorization", "x-goog-api-client"], None, Some(Dialect::Gemini)),
            (&[], Some("alt=sse&key=k"), Some(Dialect::Gemini)),
            (&[], Some("keys=k"), None),
            (&["api-key"], Some("key=k"), None),
        ] {
            let map = headers
                .iter()
                .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("v")));
            assert_eq!(hint(&map.collect(), query), expected, "{headers:?} {query:?}");
        }
    }
}
