//! The `x-credits-*` headers of a metered answer.

use std::fmt::{Display, Write as _};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::Headers;
use crate::credit::{Credits, Funds, Id};
use crate::statement::rfc3339;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-credits-request-id");
static CHARGED: HeaderName = HeaderName::from_static("x-credits-charged");
static HELD: HeaderName = HeaderName::from_static("x-credits-held");
static REMAINING: HeaderName = HeaderName::from_static("x-credits-remaining");
static PLAN_REMAINING: HeaderName = HeaderName::from_static("x-credits-plan-remaining");
static PURCHASED_REMAINING: HeaderName = HeaderName::from_static("x-credits-purchased-remaining");
static RESET: HeaderName = HeaderName::from_static("x-credits-reset");

/// As long as any of the values.
const USUAL_BYTES: usize = 48;

/// What a metered answer tells of credits.
pub struct Told {
    /// What the call costs, or what is held for it; nothing if the provider did no work.
    pub amount: Credits,
    /// Nothing that comes later changes the amount.
    pub is_final: bool,
    /// What was held for it and is given back.
    pub returned: Credits,
    /// What the account could spend after the hold; nobody knows where the call has none.
    pub funds: Option<Funds>,
    /// The request's id.
    pub id: Id,
}

impl Told {
    /// Writes what `switches` allow into `headers`. After a hold that was given back (`!did_work`) only the sum is known:
    /// what lies in which lot again is for `GET /credits` to say. Without a hold the price is not charged yet.
    pub fn write(&self, switches: Headers, did_work: bool, headers: &mut HeaderMap) {
        let mut text = String::with_capacity(USUAL_BYTES);
        let mut put = |on: bool, name: &HeaderName, value: &dyn Display| {
            if !on {
                return;
            }
            text.clear();
            // Writing to a String doesn't fail.
            let _ = write!(text, "{value}");
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(name, value);
            }
        };
        put(switches.request_id, &REQUEST_ID, &self.id);
        let is_final = self.is_final && self.funds.is_some();
        let amount = if is_final { &CHARGED } else { &HELD };
        put(switches.charged, amount, &self.amount);
        let Some(funds) = self.funds else { return };
        let remaining = funds.spendable().saturating_add(self.returned);
        put(switches.remaining, &REMAINING, &remaining);
        if did_work {
            put(switches.plan_remaining, &PLAN_REMAINING, &funds.plan);
            put(switches.purchased_remaining, &PURCHASED_REMAINING, &funds.purchased);
        }
        if let Some(reset) = funds.plan_end.and_then(rfc3339) {
            put(switches.reset, &RESET, &reset);
        }
    }
}
