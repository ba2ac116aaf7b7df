//! Answers of the admin API for people. Numbers are shown digit by digit, as they came.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::table::{Table, facts};

mod account;
mod money;

pub(super) use account::{account, accounts, balance, issued, keys, own, revoked};
pub(super) use money::{
    explain, granted, is_clean, ledger, route, unsettled, usage, verify, voided,
};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_digit_by_digit() {
        let json = r#"{"entries":[{"seq":9,"at":"2026-01-27T15:00:00Z","kind":"settle","request":null,
            "change":-0.000001,"balance":3999999999.999999,"details":"1 of lot 2"}],"next":9}"#;
        let expected = "\
NO  AT                    KIND       CHANGE            BALANCE  DETAILS
 9  2026-01-27T15:00:00Z  settle  -0.000001  3999999999.999999  1 of lot 2
more: --after 9
";
        assert_eq!(ledger(json).unwrap(), expected);
    }

    #[test]
    fn broken_books_are_not_clean() {
        let report = |clean: bool| {
            format!(
                r#"{{"clean":{clean},"accounts":1,"entries":2,"open_holds":0,"unsettled":[],
                "broken":[{{"account":"acme","seq":2,"what":"time went back"}}]}}"#
            )
        };
        assert!(is_clean(&report(true)) && !is_clean(&report(false)) && !is_clean("{}"));
        let shown = verify(&report(false)).unwrap();
        assert!(shown.contains("NOT CLEAN") && shown.contains("time went back"), "{shown}");
    }
}
