//! Whether a value of JSON says anything: the question that tells content from its announcement.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Whether a value is more than null, or an empty string, list or object.
pub(super) struct Substance(pub(super) bool);

/// Whether an object says more than what it is and who speaks. Not a list of the members that do, since each vendor has
/// its own, for reasoning above all.
pub(super) struct Content(pub(super) bool);

/// Members that say nothing by themselves.
const LABELS: [&str; 6] = ["role", "name", "type", "thought", "obfuscation", "index"];

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Content;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
                let mut says = false;
                while let Some(member) = map.next_key::<Cow<'de, str>>()? {
                    let value = map.next_value::<Substance>()?;
                    says |= value.0 && !LABELS.contains(&&*member);
                }
                Ok(Content(says))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl<'de> Deserialize<'de> for Substance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SubstanceVisitor)
    }
}

struct SubstanceVisitor;

impl<'de> Visitor<'de> for SubstanceVisitor {
    type Value = Substance;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Substance, E> {
        Ok(Substance(false))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Substance, E> {
        Ok(Substance(true))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Substance, E> {
        Ok(Substance(true))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Substance, E> {
        Ok(Substance(true))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Substance, E> {
        Ok(Substance(true))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Substance, E> {
        Ok(Substance(!text.is_empty()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Substance, A::Error> {
        let mut any = false;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            any = true;
        }
        Ok(Substance(any))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Substance, A::Error> {
        let mut any = false;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            any = true;
        }
        Ok(Substance(any))
    }
}
