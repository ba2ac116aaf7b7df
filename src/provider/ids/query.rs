//! The things that a query names: the model of a route that has it there, and the call that a socket of Realtime joins.

use std::borrow::Cow;

use super::super::credentials::percent_decoded;
use super::tuned;

/// The things that the parameters of `query` name. What can't be decoded is told as it stands, and so is nobody's.
pub fn named_in_query(query: &str) -> Vec<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let thing = |(name, value)| match &*decoded(name) {
        "model" => tuned(&decoded(value)),
        "call_id" => Some(decoded(value).into_owned()),
        _ => None,
    };
    pairs.filter_map(thing).collect()
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decoded(text).unwrap_or(Cow::Borrowed(text))
}
