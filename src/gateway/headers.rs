//! The `x-credits-*` headers of a metered answer.

use chrono::{DateTime, SecondsFormat, Utc};
use http::{HeaderMap, HeaderValue};

use crate::config::Headers;
use crate::credit::{Credits, Funds, Id, Timestamp};

/// What a metered answer tells of credits.
pub struct Told {
    /// What the call costs; nothing if the provider did no work.
    pub charged: Credits,
    /// What the next call could hold.
    pub remaining: Credits,
    /// What the account could spend after the hold.
    pub funds: Funds,
    /// When the plan's next month starts.
    pub reset: Option<Timestamp>,
    /// The request's id.
    pub id: Id,
}

impl Told {
    /// Writes what `switches` allow into `headers`.
    pub fn write(&self, switches: &Headers, headers: &mut HeaderMap) {
        let mut put = |on: bool, name: &'static str, value: String| {
            if on && let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        put(switches.charged, "x-credits-charged", self.charged.to_string());
        put(switches.remaining, "x-credits-remaining", self.remaining.to_string());
        let plan = self.funds.plan.to_string();
        put(switches.plan_remaining, "x-credits-plan-remaining", plan);
        let purchased = self.funds.purchased.to_string();
        put(switches.purchased_remaining, "x-credits-purchased-remaining", purchased);
        if let Some(reset) = self.reset.and_then(rfc3339) {
            put(switches.reset, "x-credits-reset", reset);
        }
        put(switches.request_id, "x-credits-request-id", self.id.to_string());
    }
}

/// The instant as RFC 3339 in UTC, to the second; nothing for one without an end.
pub fn rfc3339(at: Timestamp) -> Option<String> {
    if at == Timestamp::MAX {
        return None;
    }
    let at = DateTime::<Utc>::from_timestamp_millis(at.millis())?;
    Some(at.to_rfc3339_opts(SecondsFormat::Secs, true))
}
