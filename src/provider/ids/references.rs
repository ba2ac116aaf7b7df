//! The things that a request's body names. Dialects have different words for the same and hardly the same word for
//! different things, so all are known everywhere. What a customer writes in freely (metadata, arguments and schemas of
//! tools) is passed over.

use std::borrow::Cow;
use std::fmt;

use memchr::memmem;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

mod members;

use super::{google, tuned};
use members::{Says, may_name, member};

/// Most things that a request may name.
pub const IDS_MAX: usize = 2_048;

/// Deepest place in which a thing is looked for; no provider has one so deep.
const DEPTH_MAX: usize = 32;

/// Why the things of a body can't be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not JSON from there on.
    NotJson { line: usize, column: usize },
    /// It names more than [`IDS_MAX`].
    TooMany,
}

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Within {
    /// The body of a request.
    Body,
    /// An event of a socket, which may hold what a body would in its member `response`.
    Event,
}

/// The things that `body`, a JSON document, names; one that can't name any is not read. `has_items`: its `input` may
/// have items that stand for others, and don't say so.
pub fn references(body: &[u8], within: Within, has_items: bool) -> Result<Vec<String>, Unreadable> {
    let has_items = has_items && memmem::find(body, b"\"id\"").is_some();
    if !has_items && !may_name(body) {
        return Ok(Vec::new());
    }
    let mut found = Found::default();
    let mut json = serde_json::Deserializer::from_slice(body);
    let says = match within {
        Within::Body => Says::Nothing,
        Within::Event => Says::Event,
    };
    let place = Place { says, depth: 0 };
    let read = Walk { place, found: &mut found }.deserialize(&mut json).and_then(|()| json.end());
    match read {
        Ok(()) => {}
        Err(_) if found.too_many => return Err(Unreadable::TooMany),
        Err(error) => {
            return Err(Unreadable::NotJson { line: error.line(), column: error.column() });
        }
    }
    found.things.sort_unstable();
    found.things.dedup();
    Ok(found.things)
}

#[derive(Default)]
struct Found {
    things: Vec<String>,
    too_many: bool,
}

/// Where in a body a value stands.
#[derive(Clone, Copy)]
struct Place {
    says: Says,
    depth: usize,
}

struct Walk<'f> {
    place: Place,
    found: &'f mut Found,
}

/// A text, if a value is one; and whether it is nothing.
enum Word<'a> {
    Text(Cow<'a, str>),
    Null,
    Other,
}

impl Walk<'_> {
    fn text(&mut self, text: &str) {
        let thing = match self.place.says {
            Says::Ids | Says::IdsOrObjects => Some(text.to_owned()),
            Says::Beginning(start) => text.starts_with(start).then(|| text.to_owned()),
            Says::In(collection) => {
                Some(google::named(text).unwrap_or_else(|| format!("{collection}/{text}")))
            }
            Says::Names => google::named(text),
            Says::Models => tuned(text),
            Says::Handles => (!text.is_empty()).then(|| google::session(text)),
            Says::Addresses => google::file_at(text),
            Says::Nothing
            | Says::Freely
            | Says::Objects
            | Says::Sessions
            | Says::Items
            | Says::Event
            | Says::Request => None,
        };
        self.found.things.extend(thing);
    }

    fn inside(&mut self, says: Says) -> Walk<'_> {
        Walk { place: Place { says, depth: self.place.depth + 1 }, found: self.found }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.place.says == Says::Freely || self.place.depth > DEPTH_MAX {
            return deserializer.deserialize_ignored_any(IgnoredAny).map(|_| ());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let is_item = self.place.says == Says::Items;
        let (mut ids, mut stands_for_another, mut has_type) = (Vec::new(), false, false);
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if self.found.things.len() + ids.len() > IDS_MAX {
                self.found.too_many = true;
                return Err(A::Error::custom("too many things are named"));
            }
            match (&*name, is_item) {
                ("id", true) => {
                    if let Word::Text(id) = map.next_value()? {
                        ids.push(id.into_owned());
                    }
                }
                ("type", true) => match map.next_value()? {
                    Word::Text(kind) => {
                        has_type = true;
                        stands_for_another |= kind == "item_reference";
                    }
                    Word::Null => {}
                    Word::Other => has_type = true,
                },
                ("role", true) => {
                    has_type = true;
                    map.next_value::<IgnoredAny>()?;
                }
                (name, _) => {
                    let says = member(name, self.place);
                    map.next_value_seed(self.inside(says))?;
                }
            }
        }
        // An item may leave out that it stands for another; nobody else has neither type nor role.
        if stands_for_another || (is_item && !has_type) {
            self.found.things.append(&mut ids);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let says = self.place.says;
        while seq.next_element_seed(self.inside(says))?.is_some() {
            if self.found.things.len() > IDS_MAX {
                self.found.too_many = true;
                return Err(A::Error::custom("too many things are named"));
            }
        }
        Ok(())
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        self.text(text);
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
}

impl<'de> serde::Deserialize<'de> for Word<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordVisitor)
    }
}

struct WordVisitor;

impl<'de> Visitor<'de> for WordVisitor {
    type Value = Word<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Word::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Word::Null)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Word::Other)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Word::Other)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Word::Other)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Word::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Word::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Word::Other)
    }
}
