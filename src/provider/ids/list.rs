//! A list of things, of which a caller is to see its own only. What is left out is cut out; all other bytes stay.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::{Dialect, Route};
use super::is_google;

/// The answer is no list that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an answer that should list things is no such list")]
pub struct Unlisted;

/// A list that was read.
#[derive(Debug)]
pub struct List<'a> {
    text: &'a str,
    arrays: Vec<Array>,
    /// Where the ids of the first and of the last stand, for those who page.
    first: Option<Range<usize>>,
    last: Option<Range<usize>>,
    next: Option<Next>,
}

/// Things that follow one another.
#[derive(Debug)]
struct Array {
    /// Between its brackets.
    range: Range<usize>,
    things: Vec<(Range<usize>, Option<String>)>,
}

/// How the list goes on: a parameter of the query, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Next(&'static str, String);

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    job_id: Option<Cow<'a, str>>,
}

impl<'a> List<'a> {
    /// Reads the answer `text` of `route`, which was asked with `query`.
    pub fn read(route: Route, query: &str, text: &'a [u8]) -> Result<Self, Unlisted> {
        let text = std::str::from_utf8(text).map_err(|_| Unlisted)?;
        let mut list = List { text, arrays: Vec::new(), first: None, last: None, next: None };
        let by_name = is_google(route.language);
        if text.trim_start().starts_with('[') {
            let whole: &RawValue = serde_json::from_str(text).map_err(|_| Unlisted)?;
            list.add(whole, by_name)?;
            return Ok(list);
        }
        let members: BTreeMap<Cow<'_, str>, &RawValue> =
            serde_json::from_str(text).map_err(|_| Unlisted)?;
        for value in members.values().filter(|value| value.get().starts_with('[')) {
            list.add(value, by_name)?;
        }
        let word = |name: &str| {
            let value = members.get(name)?.get();
            serde_json::from_str::<String>(value).ok().filter(|word| !word.is_empty())
        };
        let place = |name: &str| word(name).map(|_| list.range_of(members[name]));
        let edges = (place("first_id"), place("last_id"));
        let has_more = members.get("has_more").is_some_and(|more| more.get() == "true");
        let goes_back = parameters(query).any(|(name, _)| matches!(name, "before" | "before_id"));
        let is_anthropic = route.language == Dialect::Anthropic;
        let edge = |name: &str| {
            let things = || list.arrays.first().map(|array| &array.things);
            let thing = || if goes_back { things()?.first() } else { things()?.last() };
            word(name).or_else(|| thing()?.1.clone())
        };
        list.next = match (word("nextPageToken"), word("next_page")) {
            (Some(token), _) => Some(Next("pageToken", token)),
            (None, Some(page)) => Some(Next("page", page)),
            (None, None) if !has_more => None,
            (None, None) => match (goes_back, is_anthropic) {
                (true, true) => edge("first_id").map(|id| Next("before_id", id)),
                (true, false) => edge("first_id").map(|id| Next("before", id)),
                (false, true) => edge("last_id").map(|id| Next("after_id", id)),
                (false, false) => edge("last_id").map(|id| Next("after", id)),
            },
        };
        (list.first, list.last) = edges;
        Ok(list)
    }

    fn add(&mut self, array: &'a RawValue, by_name: bool) -> Result<(), Unlisted> {
        let elements: Vec<&RawValue> = serde_json::from_str(array.get()).map_err(|_| Unlisted)?;
        if elements.first().is_some_and(|first| !first.get().starts_with('{')) {
            return Ok(());
        }
        let mut things = Vec::with_capacity(elements.len());
        for element in elements {
            let named: Named<'_> = serde_json::from_str(element.get()).map_err(|_| Unlisted)?;
            let Named { id, name, job_id } = named;
            let id = if by_name { name.or(id) } else { id.or(job_id).or(name) };
            things.push((self.range_of(element), id.map(Cow::into_owned)));
        }
        let whole = self.range_of(array);
        self.arrays.push(Array { range: whole.start + 1..whole.end - 1, things });
        Ok(())
    }

    /// Where a piece of the text stands in it.
    fn range_of(&self, piece: &RawValue) -> Range<usize> {
        let start = piece.get().as_ptr() as usize - self.text.as_ptr() as usize;
        start..start + piece.get().len()
    }

    /// The ids of all things that are listed.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let things = self.arrays.iter().flat_map(|array| &array.things);
        things.filter_map(|(_, id)| id.as_deref())
    }

    /// The query of the list's next part, if there is one.
    pub fn next(&self, query: &str) -> Option<String> {
        let Next(name, value) = self.next.as_ref()?;
        let kept = parameters(query).filter(|(other, _)| other != name).map(|(_, pair)| pair);
        let value =
            percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
        let own = format!("{name}={value}");
        Some(kept.chain([own.as_str()]).collect::<Vec<_>>().join("&"))
    }

    /// Whether it lists anything that `is_shown`.
    pub fn shows(&self, is_shown: impl Fn(&str) -> bool) -> bool {
        self.ids().any(is_shown)
    }

    /// The list with those things only that are shown. What has no id is not.
    pub fn of(&self, is_shown: impl Fn(&str) -> bool) -> Vec<u8> {
        let mut edits: Vec<(Range<usize>, String)> = Vec::new();
        let mut shown: Vec<&str> = Vec::new();
        for Array { range, things } in &self.arrays {
            let kept = things.iter().filter_map(|(range, id)| {
                let id = id.as_deref().filter(|id| is_shown(id))?;
                Some((range, id))
            });
            let (ranges, ids): (Vec<_>, Vec<_>) = kept.unzip();
            if ids.len() < things.len() {
                let texts: Vec<&str> =
                    ranges.into_iter().map(|range| &self.text[range.clone()]).collect();
                edits.push((range.clone(), texts.join(",")));
            }
            shown.extend(ids);
        }
        let edges = [(&self.first, shown.first()), (&self.last, shown.last())];
        if !edits.is_empty() {
            for (range, id) in edges {
                let Some(range) = range else { continue };
                let id = id.map_or_else(|| "null".to_owned(), |id| quoted(id));
                edits.push((range.clone(), id));
            }
        }
        edits.sort_by_key(|(range, _)| range.start);
        let (mut out, mut at) = (Vec::with_capacity(self.text.len()), 0);
        for (range, text) in edits {
            out.extend_from_slice(&self.text.as_bytes()[at..range.start]);
            out.extend_from_slice(text.as_bytes());
            at = range.end;
        }
        out.extend_from_slice(&self.text.as_bytes()[at..]);
        out
    }
}

/// The parameters of a query: each one's name, and all of it.
fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| (pair.split('=').next().unwrap_or_default(), pair))
}

fn quoted(id: &str) -> String {
    serde_json::Value::from(id).to_string()
}
