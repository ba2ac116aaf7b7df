//! The things that a request's body names. Dialects have different words for the same and hardly the same word for
//! different things, so all are known everywhere. What a customer writes in freely (metadata, arguments and schemas of
//! tools) is passed over.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use memchr::memmem;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::google;

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

/// What a member of an object says of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// Nothing, but something in it may.
    Nothing,
    /// Nothing at all.
    Freely,
    /// Its texts are ids.
    Ids,
    /// Its texts are ids, and so is the `id` of an object in it.
    IdsOrObjects,
    /// The `id` of an object in it is one.
    Objects,
    /// Its texts are ids if they begin so.
    Beginning(&'static str),
    /// Its texts are ids of one of Google's collections.
    In(&'static str),
    /// Its texts are names of Google's.
    Names,
    /// Its texts are addresses.
    Addresses,
    /// Its objects are items of a conversation, which may stand for one that is stored.
    Items,
    /// It is an event of a socket.
    Event,
    /// It is what a body would be.
    Request,
}

/// The members that say something.
const MEMBERS: [(&str, Says); 52] = [
    ("previous_response_id", Says::Ids),
    ("previous_interaction_id", Says::In("interactions")),
    ("file_id", Says::Ids),
    ("file_ids", Says::Ids),
    ("input_file_id", Says::Ids),
    ("input_files", Says::Ids),
    ("training_file", Says::Ids),
    ("training_files", Says::Ids),
    ("validation_file", Says::Ids),
    ("validation_files", Says::Ids),
    ("vector_store_id", Says::Ids),
    ("vector_store_ids", Says::Ids),
    ("assistant_id", Says::Ids),
    ("thread_id", Says::Ids),
    ("conversation_id", Says::Ids),
    ("container_id", Says::Ids),
    ("library_id", Says::Ids),
    ("library_ids", Says::Ids),
    ("dataset_id", Says::Ids),
    ("environment_id", Says::Ids),
    ("memory_store_id", Says::Ids),
    ("memory_store_ids", Says::Ids),
    ("vault_id", Says::Ids),
    ("vault_ids", Says::Ids),
    ("video_id", Says::Ids),
    ("character_id", Says::Ids),
    ("character_ids", Says::Ids),
    ("eval_id", Says::Ids),
    ("upload_id", Says::Ids),
    ("deployment_id", Says::Ids),
    ("conversation", Says::IdsOrObjects),
    ("container", Says::IdsOrObjects),
    ("video", Says::Objects),
    ("voice", Says::Objects),
    ("source", Says::Objects),
    ("characters", Says::Objects),
    ("agent", Says::Beginning("agent_")),
    ("agent_id", Says::Ids),
    ("skill_id", Says::Beginning("skill_")),
    ("model", Says::Beginning("ft:")),
    ("cachedContent", Says::Names),
    ("cached_content", Says::Names),
    ("fileName", Says::Names),
    ("file_name", Says::Names),
    ("operationName", Says::Names),
    ("operation_name", Says::Names),
    ("fileSearchStoreNames", Says::Names),
    ("file_search_store_names", Says::Names),
    ("fileUri", Says::Addresses),
    ("file_uri", Says::Addresses),
    ("uri", Says::Addresses),
    ("input", Says::Items),
];

/// Members in which customers write what they like.
const FREE: [&str; 12] = [
    "metadata",
    "arguments",
    "args",
    "parameters",
    "input_schema",
    "schema",
    "json_schema",
    "properties",
    "functionResponse",
    "function_response",
    "responseSchema",
    "response_schema",
];

/// What a body has in it that names a thing at all; the escape of a plain character may hide any of it. Of `model` and
/// `input` the values tell.
static SIGNS: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let often = ["model", "input"];
    let members = MEMBERS.iter().filter(|(member, _)| !often.contains(member));
    let mut signs: Vec<String> = members.map(|(member, _)| format!("\"{member}\"")).collect();
    signs.extend(["\"ft:", "\"item_reference\""].map(str::to_owned));
    signs.extend((2..8).map(|digit| format!("\\u00{digit}")));
    // A fault in the patterns, which are of the program, would show in every test.
    #[expect(clippy::expect_used, reason = "some sixty short texts")]
    AhoCorasick::new(signs).expect("the signs are plain texts")
});

/// The things that `body`, a JSON document, names; one that can't name any is not read. `has_items`: its `input` may
/// have items that stand for others, and don't say so.
pub fn references(body: &[u8], within: Within, has_items: bool) -> Result<Vec<String>, Unreadable> {
    let has_items = has_items && memmem::find(body, b"\"id\"").is_some();
    if !has_items && !SIGNS.is_match(body) {
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
            Says::Addresses => google::file_at(text),
            Says::Nothing
            | Says::Freely
            | Says::Objects
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

/// What the member `name` says in an object that stands where `around` is said.
fn member(name: &str, around: Place) -> Says {
    if FREE.contains(&name) {
        return Says::Freely;
    }
    let is_id = name == "id" && matches!(around.says, Says::IdsOrObjects | Says::Objects);
    let is_agents = name == "id" && matches!(around.says, Says::Beginning("agent_"));
    match MEMBERS.iter().find(|(known, _)| *known == name) {
        _ if is_id || is_agents => Says::Ids,
        // Below the top it is what a tool is given.
        Some((_, Says::Items)) if around.depth > 0 && around.says != Says::Request => Says::Freely,
        Some((_, says)) => *says,
        None if name == "response" && around.says == Says::Event => Says::Request,
        None => Says::Nothing,
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
