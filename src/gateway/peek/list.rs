//! The models of a request that names several: those of which the provider takes one, and those of a batch.
//!
//! A list may be long; only its different names are kept, and only so many.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::json::not_json;
use super::{MODELS_MAX, Malformed, checked_model};

/// The names in the list `models`.
pub(super) fn alternatives(text: &str) -> Result<Vec<String>, Malformed> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default)]
        models: Option<Names<Cow<'a, str>>>,
    }
    let body: Body<'_> = serde_json::from_str(text).map_err(|error| fault(error, "models"))?;
    checked(body.models)
}

/// The `model` in `params` of each of the `requests`.
pub(super) fn of_batch(text: &str) -> Result<Vec<String>, Malformed> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default)]
        requests: Option<Names<One<'a>>>,
    }
    let body: Body<'_> = serde_json::from_str(text).map_err(|error| fault(error, "requests"))?;
    checked(body.requests)
}

fn checked<N>(names: Option<Names<N>>) -> Result<Vec<String>, Malformed> {
    let names = names.map(|names| names.0).unwrap_or_default();
    names.iter().map(|name| checked_model(name)).collect()
}

fn fault(error: serde_json::Error, field: &'static str) -> Malformed {
    if error.is_data() { Malformed::WrongType { field } } else { not_json(error) }
}

/// One request of a batch.
#[derive(Deserialize)]
struct One<'a> {
    #[serde(borrow, default)]
    params: Option<Params<'a>>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
}

/// The different names in a list of `N`, which each may have one.
struct Names<N>(BTreeSet<String>, PhantomData<N>);

trait Named {
    fn name(&self) -> Option<&str>;
}

impl Named for Cow<'_, str> {
    fn name(&self) -> Option<&str> {
        Some(self)
    }
}

impl Named for One<'_> {
    fn name(&self) -> Option<&str> {
        self.params.as_ref()?.model.as_deref()
    }
}

impl<'de, N: Named + Deserialize<'de>> Deserialize<'de> for Names<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<N>(PhantomData<N>);
        impl<'de, N: Named + Deserialize<'de>> Visitor<'de> for List<N> {
            type Value = Names<N>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Names<N>, A::Error> {
                let mut names = BTreeSet::new();
                while let Some(one) = seq.next_element::<N>()? {
                    let Some(name) = one.name().filter(|name| !names.contains(*name)) else {
                        continue;
                    };
                    if names.len() == MODELS_MAX {
                        while seq.next_element::<IgnoredAny>()?.is_some() {}
                        return Err(de::Error::custom("too many names"));
                    }
                    names.insert(name.to_owned());
                }
                Ok(Names(names, PhantomData))
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}
