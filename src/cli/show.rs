//! Answers of the admin API for people. Numbers are shown digit by digit, as they came.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::table::{Table, facts};

mod account;
mod money;

pub(super) use account::{account, accounts, balance, issued, keys, revoked};
pub(super) use money::{explain, granted, is_clean, ledger, route, unsettled, verify, voided};

/// Turns an answer's JSON into text.
pub(super) type Show = fn(&str) -> serde_json::Result<String>;

/// Credits as the API wrote them.
#[derive(Deserialize)]
#[serde(transparent)]
struct Amount(Box<RawValue>);

impl Amount {
    fn text(&self) -> String {
        self.0.get().to_owned()
    }

    /// With a sign; nothing for nothing.
    fn signed(&self) -> String {
        match self.0.get() {
            "0" => String::new(),
            negative if negative.starts_with('-') => negative.to_owned(),
            positive => format!("+{positive}"),
        }
    }

    fn is_zero(&self) -> bool {
        self.0.get() == "0"
    }
}

/// A text, or what stands for none.
fn or<T: ToString>(value: Option<T>, none: &str) -> String {
    value.map_or_else(|| none.to_owned(), |value| value.to_string())
}
