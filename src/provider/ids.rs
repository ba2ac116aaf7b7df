//! Which things of a provider's a request is about, and which an answer tells of: files, stored responses, threads,
//! batches and the like, which all accounts keep behind one provider key.
//!
//! The tables of routes say most of it: the first parameter of a path that names no model and no place is the id of a
//! thing, and what lies below that belongs to it. Bodies have their own words ([`references`]), as answers do
//! ([`made`], [`List`]). Google's ids are names with a collection before them (`google`), others are ids alone. Knows no
//! account.

use std::borrow::Cow;

use http::Method;

mod google;
mod list;
mod made;
mod query;
mod references;

pub(super) use google::name as name_at_google;
pub use list::{List, Unlisted};
pub use made::{Life, Made, MadeReader};
pub use query::named_in_query;
pub use references::{IDS_MAX, Unreadable, Within, references};

use super::table::split_verb;
use super::{Class, Dialect, Path, Route};

/// Parameters of paths that name a place or a kind.
const PLACES: [&str; 6] =
    ["{version}", "{project}", "{location}", "{publisher}", "{service}", "{slug}"];

/// Parameters that name a model, which is nobody's unless it was fine-tuned.
const MODELS: [&str; 3] = ["{model}", "{*model}", "{model_id}"];

/// What can be listed and is the same for all.
const EVERYBODYS: [&str; 10] = [
    "models",
    "webhook_event_types",
    "credits",
    "key",
    "providers",
    "activity",
    "tags",
    "ps",
    "version",
    "v2",
];

impl Route {
    /// Whether accounts have things here: not where the operator administers, nor on routes that nobody knows.
    pub fn has_things(&self) -> bool {
        let classed = match self.class {
            Class::Free | Class::Metered | Class::SessionGrant => true,
            Class::Administration | Class::Realtime | Class::Unknown => false,
        };
        // A model server of one's own has models only.
        classed && self.is_listed() && self.language != Dialect::Ollama
    }

    /// The thing that `path` is about or below of which it lies, if there is one.
    pub fn thing_in(&self, method: &Method, path: &Path) -> Option<String> {
        self.thing_at(method, path.as_str())
    }

    /// The thing that a request deletes which is sent to `path`.
    pub fn deletes(&self, method: &Method, path: &Path) -> Option<String> {
        let thing = self.thing_in(method, path).filter(|_| *method == Method::DELETE)?;
        let last = thing.rsplit('/').next()?;
        (path.as_str().rsplit('/').next() == Some(last)).then_some(thing)
    }

    fn thing_at(&self, method: &Method, path: &str) -> Option<String> {
        // Most metered calls.
        memchr::memchr(b'{', self.pattern.as_bytes())?;
        if !self.has_things() {
            return None;
        }
        let (pattern, verb) = split_verb(self.pattern);
        let path = if verb.is_empty() { path } else { split_verb(path).0 };
        let (mut collection, mut rest) = ("", path.strip_prefix('/')?);
        for part in pattern.split('/').skip(1) {
            let (value, after) = rest.split_once('/').unwrap_or((rest, ""));
            let is_rest = part.starts_with("{*");
            if !part.starts_with('{') {
                collection = part;
            } else if PLACES.contains(&part) {
                collection = "";
            } else if collection != "tunedModels"
                && (MODELS.contains(&part) || collection == "models")
            {
                let model = if is_rest { rest } else { value };
                if is_google(self.language) && model.contains("/operations/") {
                    return Some(google::name(path).unwrap_or_else(|| model.to_owned()));
                }
                let reads = *method == Method::GET || *method == Method::HEAD;
                let changes = self.class == Class::Free && verb.is_empty() && !reads;
                if is_tuned(model) || changes {
                    return Some(model.to_owned());
                }
            } else {
                return (!is_public(collection, value)).then(|| {
                    let name = is_google(self.language).then(|| google::name(path)).flatten();
                    name.unwrap_or_else(|| value.to_owned())
                });
            }
            rest = after;
        }
        None
    }

    /// Whether the answer lists things of which each account is to see its own. What lies below a thing is its owner's.
    pub fn lists(&self, method: &Method, path: &Path) -> bool {
        let is_free_read = self.class == Class::Free && *method == Method::GET;
        let last = self.collection();
        is_free_read
            && self.has_things()
            && !last.starts_with('{')
            && !EVERYBODYS.contains(&last)
            && self.thing_in(method, path).is_none()
    }

    /// Whether the provider made the thing that it lists as `id` for all.
    pub fn lists_for_all(&self, id: &str) -> bool {
        is_public(self.collection(), id)
    }

    fn collection(&self) -> &'static str {
        self.pattern.rsplit('/').next().unwrap_or_default()
    }

    /// The thing that an answer of this route calls `id`.
    pub fn thing_called<'i>(&self, id: &'i str) -> Cow<'i, str> {
        if !is_google(self.language) {
            return Cow::Borrowed(id);
        }
        if self.class == Class::Realtime {
            return Cow::Owned(google::session(id));
        }
        if let Some(name) = google::name(id) {
            return Cow::Owned(name);
        }
        let (pattern, _) = split_verb(self.pattern);
        let mut parts = pattern.rsplit('/').filter(|part| !part.starts_with('{'));
        Cow::Owned(format!("{}/{id}", parts.next().unwrap_or_default()))
    }
}

impl Dialect {
    /// The thing to which `path` belongs, which no table lists, as far as a beginning of it says so.
    pub fn thing_around(self, path: &Path) -> Option<String> {
        let table = &self.rules().routes;
        let mut beginning = path.as_str();
        loop {
            let known = ["GET", "DELETE", "POST"].map(|method| table.listed(method, beginning));
            let thing = |route: Route| route.thing_at(&Method::DELETE, beginning);
            if let Some(thing) = known.into_iter().flatten().find_map(thing) {
                return Some(thing);
            }
            beginning = &beginning[..beginning.rfind('/').filter(|at| *at > 0)?];
        }
    }
}

fn is_google(language: Dialect) -> bool {
    matches!(language, Dialect::Gemini | Dialect::Vertex)
}

/// The thing that a model is, if it was made from somebody's data.
pub fn tuned(model: &str) -> Option<String> {
    if is_tuned(model) {
        return Some(model.to_owned());
    }
    google::named(model).filter(|name| name.starts_with("tunedModels/"))
}

fn is_tuned(model: &str) -> bool {
    model.starts_with("ft:")
}

/// Whether it is one of those things of a collection which the provider made for all.
fn is_public(collection: &str, id: &str) -> bool {
    collection == "skills" && !id.starts_with("skill_")
}

#[cfg(test)]
mod tests;
