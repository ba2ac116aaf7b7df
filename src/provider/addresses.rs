//! Addresses of the provider's that its answers hand out, and that would lead their reader past the gateway: where they
//! stand, and which upload one of them names. Knows no gateway.
//!
//! Sources: Google's resumable uploads as `google-genai` follows them, with the headers of its upload service; the batches
//! of Anthropic's API reference. What is an address only for people, for the provider itself (a file's `uri`) or for
//! everybody (a picture's `url`) is none of them.

use std::borrow::Cow;

use http::Method;

use super::credentials::percent_decoded;
use super::{Class, Dialect, Path, Route};

/// Where in an answer the addresses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// In these headers: the bytes of an upload go there, for which client libraries send no key.
    Headers(&'static [&'static str]),
    /// The text of this member of a JSON object, or of the objects in its list `data`.
    Member(&'static str),
}

/// What a query says of the upload that its request goes on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upload<'q> {
    /// Nothing: it goes on with none.
    Absent,
    /// Its id, with which anybody could go on.
    Named(Cow<'q, str>),
    /// More than one reader would agree on.
    Doubtful,
}

/// The routes that answer with a batch, or with several.
const BATCHES: [&str; 3] = [
    "/v1/messages/batches",
    "/v1/messages/batches/{message_batch_id}",
    "/v1/messages/batches/{message_batch_id}/cancel",
];

impl Route {
    /// The addresses in an answer to `method`; nothing on most routes, and on all that are metered.
    pub fn addresses(&self, method: &Method) -> Option<Addresses> {
        if self.class != Class::Free || !self.is_listed() {
            return None;
        }
        match self.language {
            Dialect::Gemini => {
                self.pattern.starts_with("/upload/").then_some(Addresses::Headers(&[
                    "x-goog-upload-url",
                    "x-goog-upload-control-url",
                    "location",
                ]))
            }
            Dialect::Anthropic => {
                let has_body = matches!(*method, Method::GET | Method::POST);
                // The same below another provider's beginning.
                let tells = BATCHES.iter().any(|batches| self.pattern.ends_with(batches));
                (has_body && tells).then_some(Addresses::Member("results_url"))
            }
            Dialect::OpenAi
            | Dialect::Vertex
            | Dialect::Azure
            | Dialect::OpenRouter
            | Dialect::Mistral
            | Dialect::DeepSeek
            | Dialect::Cohere
            | Dialect::Ollama
            | Dialect::Bedrock => None,
        }
    }

    /// The upload that a request to `path` with `query` goes on with.
    pub fn upload<'q>(&self, path: &Path, query: &'q str) -> Upload<'q> {
        if self.language == Dialect::Gemini && path.as_str().starts_with("/upload/") {
            named_in(query)
        } else {
            Upload::Absent
        }
    }
}

fn named_in(query: &str) -> Upload<'_> {
    let mut found = Upload::Absent;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if percent_decoded(name).is_none_or(|name| name != "upload_id") {
            continue;
        }
        found = match (percent_decoded(value), found) {
            (Some(id), Upload::Absent) if !id.is_empty() => Upload::Named(id),
            _ => return Upload::Doubtful,
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(dialect: Dialect, method: &Method, path: &str) -> (Route, Path) {
        let path = dialect.normalise(method, path).unwrap();
        (dialect.route(method, false, &path), path)
    }

    #[test]
    fn few_answers_have_addresses() {
        let results = Some(Addresses::Member("results_url"));
        for (dialect, method, path, expected) in [
            (Dialect::Anthropic, "GET", "/v1/messages/batches", results),
            (Dialect::Anthropic, "GET", "/v1/messages/batches/b", results),
            (Dialect::Anthropic, "POST", "/v1/messages/batches/b/cancel", results),
            (Dialect::Azure, "GET", "/anthropic/v1/messages/batches/b", results),
            (Dialect::Anthropic, "HEAD", "/v1/messages/batches/b", None),
            (Dialect::Anthropic, "DELETE", "/v1/messages/batches/b", None),
            (Dialect::Anthropic, "GET", "/v1/messages/batches/b/results", None),
            // Metered; it has none yet.
            (Dialect::Anthropic, "POST", "/v1/messages/batches", None),
            (Dialect::OpenAi, "GET", "/v1/batches/b", None),
            (Dialect::Gemini, "GET", "/v1beta/files/f", None),
            (Dialect::Gemini, "POST", "/upload/v1beta/brand/new", None),
        ] {
            let method = method.parse().unwrap();
            let (route, _) = placed(dialect, &method, path);
            assert_eq!(route.addresses(&method), expected, "{dialect} {method} {path}");
        }
        for (method, path) in [
            (Method::POST, "/upload/v1beta/files"),
            (Method::PUT, "/upload/v1beta/files"),
            (Method::POST, "/upload/v1beta/fileSearchStores/s:uploadToFileSearchStore"),
            (Method::PUT, "/upload/v1beta/environments/e/files/a.py"),
            (Method::POST, "/v1beta/upload/v1beta/files"),
        ] {
            let (route, _) = placed(Dialect::Gemini, &method, path);
            let found = route.addresses(&method);
            assert!(matches!(found, Some(Addresses::Headers(_))), "{method} {path}: {found:?}");
        }
    }

    #[test]
    fn an_upload_is_named_in_one_way_only() {
        let named = |id: &'static str| Upload::Named(id.into());
        for (path, query, expected) in [
            ("/upload/v1beta/files", "upload_id=A-1&upload_protocol=resumable", named("A-1")),
            ("/upload/v1beta/files", "%75pload_id=%41-1", named("A-1")),
            ("/upload/v1beta/brand/new", "upload_id=A", named("A")),
            ("/upload/v1beta/files", "upload_id=A&%75pload_id=B", Upload::Doubtful),
            ("/upload/v1beta/files", "upload_id=", Upload::Doubtful),
            ("/upload/v1beta/files", "upload_id", Upload::Doubtful),
            ("/upload/v1beta/files", "upload_id=%FF", Upload::Doubtful),
            ("/upload/v1beta/files", "uploadType=resumable", Upload::Absent),
            ("/v1beta/files", "upload_id=A", Upload::Absent),
        ] {
            let (route, path) = placed(Dialect::Gemini, &Method::POST, path);
            assert_eq!(route.upload(&path, query), expected, "{path} {query}");
        }
    }
}
