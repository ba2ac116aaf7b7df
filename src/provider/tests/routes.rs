//! The tables against what is known of the providers' routes: each row of `tests/fixtures/routes.json`, and each route
//! that the providers' own specifications and packages publish.

mod told_apart;

use std::fs;
use std::path::Path as FilePath;

use http::Method;
use serde::Deserialize;

use super::super::*;

#[derive(Clone, Deserialize)]
struct Row {
    provider: String,
    method: String,
    path: String,
    cls: String,
}

fn rows() -> Vec<Row> {
    serde_json::from_str(include_str!("../../../tests/fixtures/routes.json")).unwrap()
}

fn dialect(provider: &str) -> Dialect {
    match provider {
        "gemini-openai-compat" => Dialect::Gemini,
        // It keeps OpenAI's routes below a beginning of its own.
        "groq" => Dialect::OpenAi,
        other => other.parse().unwrap(),
    }
}

fn find(dialect: Dialect, method: &str, path: &str) -> Route {
    let (method, upgrade) = if method == "GET+Upgrade" { ("GET", true) } else { (method, false) };
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let path = dialect.normalise(&method, path).unwrap_or_else(|error| panic!("{path}: {error}"));
    dialect.route(&method, upgrade, &path)
}

/// A path that fits a pattern: no query, and some name for each parameter.
fn example(pattern: &str) -> String {
    let path = pattern.split('?').next().unwrap();
    path.replace(['{', '}'], "x").replace("xmodelIdx", "arn%3Aaws%3Abedrock%2Fx")
}

/// The paths for which one row stands: alternatives in braces or behind bars, lists, and `{/...}` for all below.
fn expanded(pattern: &str) -> Vec<String> {
    if let Some((first, rest)) = pattern.split_once(", ") {
        // A list of endings of the same beginning; a list of paths that begin with a slash has that of the first.
        let bare = first.trim_end_matches("{/...}");
        let beginning = bare.rfind('/').map_or("", |slash| &bare[..slash]);
        let paths = std::iter::once(first.to_owned());
        return paths
            .chain(rest.split(", ").map(|next| format!("{beginning}{next}")))
            .flat_map(|path| expanded(&path))
            .collect();
    }
    if let Some(path) = pattern.strip_suffix("{/...}") {
        let below = ["", "/a", "/a/b/c"].map(|rest| format!("{path}{rest}"));
        return below.iter().flat_map(|path| expanded(path)).collect();
    }
    if let Some(path) = pattern.strip_suffix("{/arn}") {
        return vec![path.to_owned(), format!("{path}/arn%3Aaws%3Ax%2Fa")];
    }
    if let Some(open) = pattern.find('{')
        && let Some(close) = pattern[open..].find('}')
        && pattern[open..open + close].contains(['|', ','])
    {
        let (before, after) = (&pattern[..open], &pattern[open + close + 1..]);
        let several = pattern[open + 1..open + close].split(['|', ',']);
        return several.flat_map(|one| expanded(&format!("{before}{one}{after}"))).collect();
    }
    let Some((first, rest)) = pattern.split_once('|') else { return vec![pattern.to_owned()] };
    // `a/b|c` is `a/b` and `a/c`; `a:b|:c` is `a:b` and `a:c`; chat completions are two words.
    let separator = if rest.starts_with(':') { ':' } else { '/' };
    let beginning = first
        .strip_suffix("chat/completions")
        .unwrap_or_else(|| &first[..=first.rfind(separator).unwrap()]);
    let rest = rest.split('|').map(|one| one.trim_start_matches(separator));
    let endings = rest.map(|one| format!("{beginning}{one}"));
    std::iter::once(first.to_owned()).chain(endings).collect()
}

/// Rows whose paths are told in words.
fn told(row: &Row) -> Option<Vec<(String, String)>> {
    let known: &[(&str, &str)] = match (row.provider.as_str(), row.path.as_str()) {
        ("mistral", path) if row.method == "*" && path.contains("GET of the above") => &[
            ("GET", "/v1/models"),
            ("GET", "/v1/models/m"),
            ("POST", "/v1/files"),
            ("GET", "/v1/files/f/content"),
            ("POST", "/v1/agents"),
            ("GET", "/v1/fine_tuning/jobs/j"),
            ("POST", "/v1/connectors"),
            ("GET", "/v1/conversations/c"),
            ("GET", "/v1/batch/jobs/j"),
            ("GET", "/v1/libraries/l/documents/d"),
            ("POST", "/v2/anything/at/all"),
        ],
        ("cohere", path) if row.method == "*" && path.contains("cancel of jobs") => &[
            ("GET", "/v1/models"),
            ("POST", "/v1/datasets"),
            ("DELETE", "/v1/datasets/d"),
            ("PATCH", "/v1/connectors/c"),
            ("GET", "/v1/embed-jobs/j"),
            ("POST", "/v1/embed-jobs/j/cancel"),
            ("GET", "/v2/batches/b"),
        ],
        ("openrouter", path) if path.contains("/keys, ") => &[
            ("GET", "/api/v1/keys"),
            ("POST", "/api/v1/keys"),
            ("DELETE", "/api/v1/keys/k"),
            ("GET", "/api/v1/guardrails/g"),
            ("POST", "/api/v1/workspaces"),
            ("GET", "/api/v1/organization/members"),
            ("POST", "/api/v1/vault/v/x"),
        ],
        ("groq", path) if path.contains("GET batches") => &[
            ("GET", "/openai/v1/models"),
            ("GET", "/openai/v1/models/m"),
            ("POST", "/openai/v1/files"),
            ("GET", "/openai/v1/batches"),
        ],
        (_, _) => return None,
    };
    Some(known.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect())
}

fn class(cls: &str) -> Class {
    match cls {
        "AI" | "AI_ASYNC" => Class::Metered,
        "CONFIG" => Class::Free,
        "ADMIN" => Class::Administration,
        "SESSION_GRANT" => Class::SessionGrant,
        "REALTIME" => Class::Realtime,
        other => panic!("{other}"),
    }
}

#[test]
fn each_row_is_what_it_should_be() {
    let mut checked = 0;
    for row in rows() {
        if row.cls == "as OpenAI" {
            continue;
        }
        let requests = told(&row).unwrap_or_else(|| {
            let any = ["GET", "POST", "PATCH", "DELETE"];
            let one = [row.method.as_str()];
            let methods = if row.method == "*" { &any[..] } else { &one[..] };
            let paths: Vec<String> = expanded(&row.path).iter().map(|path| example(path)).collect();
            let all = methods
                .iter()
                .flat_map(|method| paths.iter().map(|path| ((*method).to_owned(), path.clone())));
            all.collect()
        });
        for (method, path) in requests {
            let route = find(dialect(&row.provider), &method, &path);
            let what = format!("{} {method} {path} is {}", row.provider, route.pattern);
            assert_eq!(route.class, class(&row.cls), "{what}");
            assert!(route.is_listed(), "{what}");
            let spends =
                matches!(route.class, Class::Metered | Class::SessionGrant | Class::Realtime);
            assert_eq!(spends, route.operation != Operation::Other, "{what}");
            checked += 1;
        }
    }
    assert!(checked > 900, "{checked}");
}

/// What kind of work a metered row is, by the first of these words in its path.
const WORK: [(&str, Operation); 56] = [
    ("dynamic/", Operation::Chat),
    ("tunedModels", Operation::Chat),
    ("batchEmbedContents", Operation::Embedding),
    ("EmbedContent", Operation::Batch),
    ("embedContent", Operation::Embedding),
    ("batchGenerateContent", Operation::Batch),
    ("batchPredictionJobs", Operation::Batch),
    ("embed-jobs", Operation::Batch),
    ("batch", Operation::Batch),
    ("agents/completions", Operation::Chat),
    ("agent", Operation::Agent),
    ("fine_tuning/alpha", Operation::Eval),
    ("fine", Operation::FineTuning),
    ("tuningJobs", Operation::FineTuning),
    ("moderations", Operation::Moderation),
    ("guardrail", Operation::Moderation),
    ("classif", Operation::Classification),
    ("chat", Operation::Chat),
    ("converse", Operation::Chat),
    ("conversations", Operation::Chat),
    ("messages", Operation::Chat),
    ("publishers/anthropic", Operation::Chat),
    ("enerateContent", Operation::Chat),
    ("generateAnswer", Operation::Chat),
    ("ompletions", Operation::Completion),
    ("v1/complete", Operation::Completion),
    ("generate", Operation::Completion),
    ("summarize", Operation::Completion),
    ("responses", Operation::Response),
    ("interactions", Operation::Response),
    ("compact", Operation::Response),
    ("evals", Operation::Eval),
    ("predictLongRunning", Operation::Video),
    ("video", Operation::Video),
    ("embed", Operation::Embedding),
    ("images", Operation::Image),
    ("models/{model}:predict", Operation::Image),
    ("audio/speech", Operation::Speech),
    ("audio/transcriptions", Operation::Transcription),
    ("audio/translations", Operation::Translation),
    ("provenance", Operation::Provenance),
    ("decisions", Operation::Decision),
    ("runs", Operation::Run),
    ("search", Operation::Search),
    ("web_", Operation::Search),
    ("rerank", Operation::Rerank),
    ("ocr", Operation::Document),
    ("parse", Operation::Document),
    ("documents", Operation::Document),
    ("invoke", Operation::Invoke),
    ("redict", Operation::Invoke),
    ("triggers", Operation::Agent),
    ("sessions", Operation::Agent),
    ("deployments", Operation::Agent),
    ("dreams", Operation::Agent),
    ("workflows", Operation::Agent),
];

#[test]
fn each_metered_row_is_the_work_that_its_path_says() {
    for row in rows().into_iter().filter(|row| matches!(row.cls.as_str(), "AI" | "AI_ASYNC")) {
        for path in expanded(&row.path) {
            let path = path.split('?').next().unwrap();
            let words = path.replace("/openai/deployments/", "/openai/");
            let expected = match (row.provider.as_str(), words.as_str()) {
                // The list of tuned models is that of training.
                ("gemini", path) if path.ends_with("/tunedModels") => Operation::FineTuning,
                // Google's own have only this for pictures; in Vertex anything may be behind it.
                ("vertex", path) if path.ends_with(":predict") => Operation::Invoke,
                (_, path) => {
                    let known = WORK.iter().find(|(word, _)| path.contains(word));
                    known.unwrap_or_else(|| panic!("{path} says nothing")).1
                }
            };
            let found = find(dialect(&row.provider), &row.method, &example(path));
            assert_eq!(found.operation, expected, "{} {path}", row.provider);
        }
    }
}

/// What `scripts/published-routes` found in the providers' specifications and packages: nothing in it may be unknown to
/// the tables, so that a route that is new there can't pass unmetered here.
#[test]
fn each_published_route_is_known() {
    let folder = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/published");
    let (mut unknown, mut routes) = (Vec::new(), 0);
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let dialect = match name.split('-').next().unwrap() {
            "openai" => Dialect::OpenAi,
            "anthropic" => Dialect::Anthropic,
            "google" => Dialect::Gemini,
            other => panic!("whose is {other}?"),
        };
        let text = fs::read_to_string(&path).unwrap();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (method, path) = line.split_once(' ').unwrap();
            if !find(dialect, method, &example(path)).is_listed() {
                unknown.push(format!("{name}: {line}"));
            }
            routes += 1;
        }
    }
    assert!(routes > 900, "{routes}");
    assert_eq!(unknown, Vec::<String>::new());
}
