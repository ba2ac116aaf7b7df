//! What is read of a request is what the provider will read, whichever of its parsers' habits it has.

use std::collections::BTreeMap;

use bytes::Bytes;
use creditgate::gateway::peek::{Peek, peek};
use creditgate::provider::include_usage::{Asked, ask};
use creditgate::provider::{Dialect, ModelAt, Operation};
use serde_json::Value;
use serde_json::value::RawValue;

use super::split_once;

/// `bytes` are a line that tells where the model stands, and perhaps the content type, and a body.
pub fn check(bytes: &[u8]) {
    let (head, body) = split_once(bytes, b"\n");
    let (word, kind) = head.split_once(' ').unwrap_or((&head, "application/json"));
    let at = match word {
        "json?" => ModelAt::JsonOptional,
        "json+" => ModelAt::JsonSeveral,
        "batch" => ModelAt::Batch,
        "form" => ModelAt::Multipart,
        "json/form" => ModelAt::JsonOrMultipart,
        _ => ModelAt::Json,
    };
    let body = Bytes::copy_from_slice(body);
    let Ok(peeked) = peek(at, Some(kind), &body) else { return };
    assert!(peeked.model.as_ref().is_none_or(|model| !model.is_empty()));
    if body.is_empty() {
        return;
    }
    if at == ModelAt::Multipart || (at == ModelAt::JsonOrMultipart && is_form(kind)) {
        check_form(kind, &body, &peeked);
    } else {
        check_json(at, &body, &peeked);
        check_asked(at, &body, &peeked);
    }
}

fn is_form(kind: &str) -> bool {
    kind.trim_start().to_ascii_lowercase().starts_with("multipart/form-data")
}

/// The members of an object in their order, each name as often as it comes.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> serde::de::Visitor<'de> for All {
            type Value = Members;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(All)
    }
}

/// Parsers take the first of two, or the last; and some don't mind the letter case of a name.
fn check_json(at: ModelAt, body: &[u8], peeked: &Peek) {
    let Members(members) = serde_json::from_slice(body).expect("what was accepted is an object");
    let exact = |name: &str, field: &str| name == field;
    let readings: [fn(&str, &str) -> bool; 2] =
        [exact, |name, field| name.eq_ignore_ascii_case(field)];
    for is_field in readings {
        let values = |field| {
            members.iter().filter(move |(name, _)| is_field(name, field)).map(|(_, raw)| raw.get())
        };
        let first = |field| values(field).next();
        let last = |field| values(field).next_back();
        for read in [first("model"), last("model")] {
            let read = read
                .map(|raw| serde_json::from_str::<Option<String>>(raw).expect("a name or null"));
            assert_eq!(read.flatten(), peeked.model);
        }
        for read in [first("stream"), last("stream")] {
            let read = read
                .map(|raw| serde_json::from_str::<Option<bool>>(raw).expect("true, false or null"));
            assert_eq!(read.flatten().unwrap_or_default(), peeked.stream);
        }
        if at == ModelAt::JsonSeveral {
            for raw in values("models") {
                let names: Option<Vec<String>> =
                    serde_json::from_str(raw).expect("a list of names");
                assert!(names.unwrap_or_default().iter().all(|name| peeked.others.contains(name)));
            }
        }
    }
    if at == ModelAt::Batch
        && let Ok(value) = serde_json::from_slice::<Value>(body)
    {
        for request in value["requests"].as_array().into_iter().flatten() {
            if let Some(model) = request["params"]["model"].as_str() {
                assert!(peeked.others.iter().any(|other| other == model), "{model} is not priced");
            }
        }
    }
}

/// The question for the usage changes nothing else.
fn check_asked(at: ModelAt, body: &Bytes, peeked: &Peek) {
    if !peeked.stream {
        return;
    }
    let Ok(Asked::Added(added)) = ask(Dialect::OpenAi, Operation::Chat, body) else { return };
    assert_eq!(peek(at, Some("application/json"), &added).as_ref(), Ok(peeked));
    let parsed = |body: &[u8]| serde_json::from_slice::<BTreeMap<String, Value>>(body);
    let (Ok(mut before), Ok(mut after)) = (parsed(body), parsed(&added)) else { return };
    let options =
        [&mut before, &mut after].map(|body| body.remove("stream_options").unwrap_or_default());
    assert_eq!(before, after);
    let [mut before, mut after] = options;
    if before.is_array() {
        return;
    }
    assert_eq!(after["include_usage"], Value::Bool(true));
    for options in [&mut before, &mut after] {
        options.as_object_mut().map(|options| options.remove("include_usage"));
    }
    assert!(before == after || before.is_null(), "{before} became {after}");
}

/// A reader that takes any line end, any boundary and the last of all names finds no other model.
fn check_form(kind: &str, body: &[u8], peeked: &Peek) {
    // Names of parameters mind no letter case (RFC 9110 section 5.6.6).
    let named = kind.to_ascii_lowercase().rfind("boundary=").expect("a form has a boundary");
    let boundary = kind[named + "boundary=".len()..]
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .trim_matches('"');
    let text = String::from_utf8_lossy(body).replace("\r\n", "\n").replace('\r', "\n");
    for part in text.split(&format!("--{boundary}")) {
        let Some((head, value)) = part.split_once("\n\n") else { continue };
        let head = head.to_ascii_lowercase();
        let named = head.lines().find(|line| line.trim_start().starts_with("content-disposition"));
        let is_model = named.is_some_and(|line| {
            line.split(';').any(|word| matches!(word.trim(), "name=\"model\"" | "name=model"))
        });
        if is_model {
            let value = value.strip_suffix('\n').unwrap_or(value);
            assert_eq!(
                Some(value),
                peeked
                    .model
                    .as_deref()
                    .map(|model| model.replace("\r\n", "\n").replace('\r', "\n"))
                    .as_deref()
            );
        }
    }
}
