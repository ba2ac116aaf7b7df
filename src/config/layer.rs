//! Lays a file over the default, and finds the place of a value in it.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::DEFAULT;
use super::error::Fault;
use super::grammar::File;

/// Tables that a file replaces as a whole: lists, whose entries the operator names, and a value that is a table.
const WHOLE: [&str; 4] = ["provider", "plan", "price", "admin_token"];

/// One step from a table or an array to what is in it.
#[derive(Clone, Copy)]
pub(super) enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// The file `text`, with the default's value for each key that it leaves out.
///
/// The default has no errors, which a test proves: so the places of errors are places in `text`.
pub(super) fn over_default(text: &str) -> Result<File, Fault> {
    let mut merged = DeTable::parse(DEFAULT)?;
    let file = DeTable::parse(text)?.into_inner();
    lay(file, merged.get_mut());
    Ok(File::deserialize(toml::de::Deserializer::from(merged))?)
}

/// Where the value at `steps` is in `text`; the closest thing around it, if the file leaves it out.
pub(super) fn find(text: &str, steps: &[Step<'_>]) -> Option<Range<usize>> {
    let document = DeTable::parse(text).ok()?;
    let mut found = None;
    let mut value = DeValue::Table(document.into_inner());
    for step in steps {
        let inner = match (value, step) {
            (DeValue::Table(mut table), Step::Key(key)) => table.remove(*key),
            (DeValue::Array(array), Step::Index(index)) => array.into_iter().nth(*index),
            _ => None,
        };
        let Some(inner) = inner else { break };
        found = Some(inner.span());
        value = inner.into_inner();
    }
    found
}

fn lay<'i>(file: DeTable<'i>, base: &mut DeTable<'i>) {
    for (key, mut value) in file {
        let name = key.get_ref().as_ref();
        let default = base.remove(name).map(Spanned::into_inner);
        if let (DeValue::Table(keys), Some(DeValue::Table(defaults))) = (value.get_mut(), default)
            && !WHOLE.contains(&name)
        {
            for (name, value) in defaults {
                keys.entry(name).or_insert(value);
            }
        }
        base.insert(key, value);
    }
}
