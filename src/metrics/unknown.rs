//! Names for routes that nobody named: the shape of a path, without what may be an id, and not too many of them.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use http::Method;

use super::labels::UnknownLabels;

/// Names kept apart; a scan of the listener must not fill the memory of Prometheus.
const MOST_NAMES: usize = 100;
/// Segments of a path that a name has.
const MOST_SEGMENTS: usize = 3;
/// Letters of a segment that is taken for a word of an API.
const LONGEST_WORD: usize = 24;

/// The pairs of method and route that were seen first.
#[derive(Debug, Default)]
pub(super) struct UnknownRoutes {
    seen: Mutex<HashSet<UnknownLabels>>,
}

impl UnknownRoutes {
    /// The labels under which a request to `path` is counted.
    pub(super) fn labels(&self, method: &Method, path: &str) -> UnknownLabels {
        let labels = UnknownLabels { method: method_name(method), route: shape(path) };
        // A panic between two statements of this function can't leave the set half changed.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(&labels) || (seen.len() < MOST_NAMES && seen.insert(labels.clone())) {
            return labels;
        }
        UnknownLabels { route: "other".to_owned(), ..labels }
    }
}

/// `/v1/files/file-8Xk2/content` is `/v1/files/{id}/…`.
fn shape(path: &str) -> String {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let mut shape = String::new();
    for segment in segments.by_ref().take(MOST_SEGMENTS) {
        shape.push('/');
        shape.push_str(if is_word(segment) { segment } else { "{id}" });
    }
    if segments.next().is_some() {
        shape.push_str("/…");
    }
    if shape.is_empty() { "/".to_owned() } else { shape }
}

/// Whether a segment is a word of an API, such as `chat_completions`, or a version, such as `v1beta2`.
fn is_word(segment: &str) -> bool {
    let version = segment.strip_prefix('v').is_some_and(|rest| {
        rest.len() <= 6
            && rest.starts_with(|first: char| first.is_ascii_digit())
            && rest.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
    });
    let word = segment.len() <= LONGEST_WORD
        && segment.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-'));
    version || word
}

/// A method may be any token: those that HTTP doesn't define count as one.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_has_words_but_no_ids() {
        for (path, expected) in [
            ("/v1/dreams", "/v1/dreams"),
            ("/v1beta/dreams/generate", "/v1beta/dreams/generate"),
            ("/v1/dreams/dream_8Xk2/frames", "/v1/dreams/{id}/…"),
            ("/0193f9a0-acme/chat", "/{id}/chat"),
            ("/Acme/chat", "/{id}/chat"),
            ("/v1/abcdefghijklmnopqrstuvwxyz", "/v1/{id}"),
            ("/v1/a\"b\n", "/v1/{id}"),
            ("/v1/été", "/v1/{id}"),
            ("/", "/"),
            ("", "/"),
        ] {
            assert_eq!(shape(path), expected, "{path}");
        }
    }

    #[test]
    fn a_name_once_kept_stays_and_methods_are_bounded() {
        let routes = UnknownRoutes::default();
        let odd = Method::from_bytes(b"BREW").unwrap();
        assert_eq!(routes.labels(&odd, "/pot").method, "other");
        for first in 'a'..='z' {
            for second in 'a'..='z' {
                routes.labels(&Method::GET, &format!("/{first}{second}"));
            }
        }
        assert_eq!(routes.labels(&odd, "/pot").route, "/pot");
        assert_eq!(routes.labels(&Method::GET, "/zz").route, "other");
    }
}
