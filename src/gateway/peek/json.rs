//! The fields `model` and `stream` of a JSON object. All else is skipped, without recursion.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use memchr::memchr2_iter;

use super::{Malformed, NESTING_MAX, Peek, checked_model};

/// The text of a body, if it nests no deeper than it may.
pub(super) fn text(body: &[u8]) -> Result<&str, Malformed> {
    let text = std::str::from_utf8(body)
        .map_err(|error| Malformed::InvalidUtf8 { at: error.valid_up_to() })?;
    if is_too_deep(body) { Err(Malformed::TooDeep) } else { Ok(text) }
}

pub(super) fn peek(text: &str) -> Result<Peek, Malformed> {
    let fields = match serde_json::from_str::<Document<'_>>(text).map_err(not_json)? {
        Document::Object(fields) => fields,
        Document::Other => return Err(Malformed::NotAnObject),
    };
    if let Some(field) = fields.twice {
        return Err(Malformed::DuplicateField { field });
    }
    if let Some(field) = fields.other_case {
        return Err(Malformed::OtherCase { field });
    }
    let model = match fields.model {
        None | Some(Scalar::Null) => None,
        Some(Scalar::Text(model)) => Some(checked_model(&model)?),
        Some(Scalar::Bool(_) | Scalar::Other) => {
            return Err(Malformed::WrongType { field: "model" });
        }
    };
    let stream = match fields.stream {
        None | Some(Scalar::Null) => false,
        Some(Scalar::Bool(stream)) => stream,
        Some(Scalar::Text(_) | Scalar::Other) => {
            return Err(Malformed::WrongType { field: "stream" });
        }
    };
    Ok(Peek { model, others: Vec::new(), stream })
}

/// Whether lists and objects nest too deep. Most bodies have fewer of them than that in all, which is quickly seen.
fn is_too_deep(body: &[u8]) -> bool {
    if memchr2_iter(b'{', b'[', body).nth(NESTING_MAX).is_none() {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in body {
        match (in_text, byte) {
            _ if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'{' | b'[') => depth += 1,
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX {
            return true;
        }
    }
    false
}

#[expect(clippy::needless_pass_by_value, reason = "given to map_err")]
pub(super) fn not_json(error: serde_json::Error) -> Malformed {
    Malformed::NotJson { line: error.line(), column: error.column() }
}

/// The field that a name means to those parsers which don't mind the letter case of names: with them as a provider, a
/// second model could stand in the body unseen. `encoding/json` of Go is such a one (Ollama is written in it); it takes
/// two letters outside of ASCII for `s` and `k` as well.
fn in_other_case(name: &str) -> Option<&'static str> {
    let means = |field: &&&'static str| {
        let letters = name.chars().map(|letter| match letter {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            other => other.to_ascii_lowercase(),
        });
        name != **field && letters.eq(field.chars())
    };
    ["model", "models", "requests", "stream", "stream_options"].iter().find(means).copied()
}

enum Document<'a> {
    Object(Fields<'a>),
    Other,
}

#[derive(Default)]
struct Fields<'a> {
    model: Option<Scalar<'a>>,
    stream: Option<Scalar<'a>>,
    twice: Option<&'static str>,
    other_case: Option<&'static str>,
}

enum Scalar<'a> {
    Null,
    Bool(bool),
    Text(Cow<'a, str>),
    /// A number, a list or an object.
    Other,
}

impl<'de> Deserialize<'de> for Document<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DocumentVisitor)
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let (field, place) = match &*name {
                "model" => ("model", &mut fields.model),
                "stream" => ("stream", &mut fields.stream),
                other => {
                    fields.other_case = fields.other_case.or(in_other_case(other));
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if place.replace(map.next_value()?).is_some() {
                fields.twice = Some(field);
            }
        }
        Ok(Document::Object(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Document::Other)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Document::Other)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Document::Other)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Document::Other)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Document::Other)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Document::Other)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Document::Other)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}
