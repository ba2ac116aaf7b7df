//! Months of a plan, and the end of a purchase: calendar work on instants that the caller names.
//!
//! Everything is computed from the stored anchor, never from the previous month, so that a day 31 comes back
//! after February (semantics.md section 7).

use chrono::{DateTime, Days, Months, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::{Credits, Timestamp};

/// One month of a plan: `[start, end)`, with the credits that its lot gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// First instant.
    pub start: Timestamp,
    /// First instant after it.
    pub end: Timestamp,
    /// The plan's monthly credits.
    pub allowance: Credits,
}

/// How long a purchase lasts, in months.
const PURCHASE_MONTHS: u32 = 6;

impl Period {
    /// The period `[anchor + n months, anchor + n+1 months)` in `zone` that contains `now`; nothing before the
    /// anchor, or beyond the calendar.
    pub fn containing(
        anchor: Timestamp,
        zone: Tz,
        allowance: Credits,
        now: Timestamp,
    ) -> Option<Self> {
        if now < anchor {
            return None;
        }
        let elapsed_days = (now.millis() - anchor.millis()) / 86_400_000;
        // No month is shorter than 28 days nor longer than 31: start low and step to the month that fits.
        let mut n = u32::try_from((elapsed_days / 31).saturating_sub(1).max(0)).ok()?;
        loop {
            let end = months_after(anchor, zone, n + 1)?;
            if now < end {
                return Some(Self { start: months_after(anchor, zone, n)?, end, allowance });
            }
            n += 1;
        }
    }
}

/// The end of credits bought at `at`: the end of the local day, 6 months later, as the first instant after it.
pub fn purchase_end(at: Timestamp, zone: Tz) -> Option<Timestamp> {
    let local = local(at, zone)?;
    let last_day = local.date().checked_add_months(Months::new(PURCHASE_MONTHS))?;
    let day_after = last_day.checked_add_days(Days::new(1))?;
    Some(instant(day_after.and_hms_opt(0, 0, 0)?, zone))
}

fn months_after(anchor: Timestamp, zone: Tz, months: u32) -> Option<Timestamp> {
    if months == 0 {
        return Some(anchor);
    }
    let local = local(anchor, zone)?.checked_add_months(Months::new(months))?;
    Some(instant(local, zone))
}

fn local(at: Timestamp, zone: Tz) -> Option<NaiveDateTime> {
    let utc = DateTime::<Utc>::from_timestamp_millis(at.millis())?;
    Some(utc.with_timezone(&zone).naive_local())
}

/// The instant of a local time. One that occurs twice (clocks set back) counts as the first; one that does not
/// occur (clocks set forward) as the first instant after the gap.
fn instant(local: NaiveDateTime, zone: Tz) -> Timestamp {
    let mut local = local;
    // A gap is at most a day (Samoa, 2011): look ahead in quarters of an hour.
    for _ in 0..=96 {
        if let Some(found) = zone.from_local_datetime(&local).earliest() {
            return Timestamp::from_millis(found.timestamp_millis());
        }
        local += chrono::TimeDelta::minutes(15);
    }
    Timestamp::from_millis(zone.from_utc_datetime(&local).timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_millis(text.parse::<DateTime<Utc>>().unwrap().timestamp_millis())
    }

    fn check(zone: Tz, anchor: &str, now: &str, expected: Option<(&str, &str)>) {
        let period = Period::containing(at(anchor), zone, Credits::whole(1), at(now));
        let expected = expected.map(|(start, end)| (at(start), at(end)));
        assert_eq!(period.map(|period| (period.start, period.end)), expected, "{anchor} at {now}");
    }

    #[test]
    fn day_31_comes_back_after_february() {
        let anchor = "2026-01-31T10:00:00Z";
        let months = ["2026-02-28T10:00:00Z", "2026-03-31T10:00:00Z", "2026-04-30T10:00:00Z"];
        check(Tz::UTC, anchor, "2026-02-28T09:59:59.999Z", Some((anchor, months[0])));
        check(Tz::UTC, anchor, "2026-02-28T10:00:00Z", Some((months[0], months[1])));
        check(Tz::UTC, anchor, "2026-04-01T00:00:00Z", Some((months[1], months[2])));
        let leap = Some(("2028-01-31T10:00:00Z", "2028-02-29T10:00:00Z"));
        check(Tz::UTC, anchor, "2028-02-10T00:00:00Z", leap);
        check(Tz::UTC, anchor, "2026-01-31T09:59:59Z", None);
    }

    #[test]
    fn months_follow_the_accounts_time_zone() {
        // 1 March 00:30 in Berlin is still February in UTC; summer time moves the instant by an hour.
        let expected = Some(("2026-02-28T23:30:00Z", "2026-03-31T22:30:00Z"));
        check(Tz::Europe__Berlin, "2026-02-28T23:30:00Z", "2026-03-15T00:00:00Z", expected);
        // 29 March 2026, 02:30 does not occur in Berlin: the first instant after the gap.
        let gap = Some(("2026-02-28T01:30:00Z", "2026-03-28T01:30:00Z"));
        check(Tz::Europe__Berlin, "2026-01-28T01:30:00Z", "2026-03-01T00:00:00Z", gap);
        let after_gap = Some(("2026-03-29T01:00:00Z", "2026-04-29T00:30:00Z"));
        check(Tz::Europe__Berlin, "2026-01-29T01:30:00Z", "2026-04-01T00:00:00Z", after_gap);
    }

    #[test]
    fn every_instant_lies_in_exactly_one_period() {
        let anchor = at("2024-08-31T23:59:59Z");
        for zone in [Tz::UTC, Tz::Pacific__Apia, Tz::America__Sao_Paulo, Tz::Asia__Kathmandu] {
            let mut now = anchor;
            for _ in 0..40 {
                let period = Period::containing(anchor, zone, Credits::ZERO, now).unwrap();
                assert!(period.start <= now && now < period.end);
                assert_eq!(period.start, now, "the next period starts where this one ends");
                now = period.end;
            }
        }
    }

    #[test]
    fn a_purchase_lasts_through_its_last_local_day() {
        let end = |bought, zone| purchase_end(at(bought), zone).unwrap();
        assert_eq!(end("2026-01-27T15:00:00Z", Tz::UTC), at("2026-07-28T00:00:00Z"));
        assert_eq!(end("2026-08-31T15:00:00Z", Tz::UTC), at("2027-03-01T00:00:00Z"));
        // 23:30 UTC is the next day in Berlin, and summer time applies at the end.
        assert_eq!(end("2026-01-26T23:30:00Z", Tz::Europe__Berlin), at("2026-07-27T22:00:00Z"));
    }
}
