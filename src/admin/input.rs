//! What callers send: bodies, names in paths, questions in queries; and how amounts and instants are written.
//!
//! Parses, and says in one sentence what belongs there. Knows no operation.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use bytes::Bytes;
use chrono::DateTime;
use http::StatusCode;
use http::request::Parts;
use serde::de::{DeserializeOwned, Deserializer, Error};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::problem::{Kind, Problem};
use crate::config::WhenExhausted;
use crate::credit::{Credits, Timestamp};
use crate::statement::rfc3339;

/// A body of JSON, whatever its content type says.
pub(super) struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = Bytes::from_request(request, state).await.map_err(|rejection| {
            let too_large = rejection.status() == StatusCode::PAYLOAD_TOO_LARGE;
            let kind = if too_large { Kind::TooLarge } else { Kind::Malformed };
            Problem::new(kind, rejection.body_text())
        })?;
        let parsed = serde_json::from_slice(&body);
        parsed.map(Self).map_err(|error| Problem::malformed(format!("the body is wrong: {error}")))
    }
}

/// The one name in a path.
pub(super) struct Named<T>(pub T);

impl<T: FromStr<Err: Display>, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let name = Path::<String>::from_request_parts(parts, state).await;
        let Path(name) = name.map_err(|error| Problem::malformed(error.body_text()))?;
        name.parse().map(Self).map_err(|error: T::Err| Problem::malformed(error.to_string()))
    }
}

/// The parameters of a query.
pub(super) struct Asked<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|error| Problem::malformed(error.body_text()))
    }
}

/// How much of a list: at most [`Page::MOST`] of what comes after `after`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page<A> {
    pub after: Option<A>,
    limit: Option<u32>,
}

impl<A> Page<A> {
    const MOST: u32 = 500;
    const USUAL: u32 = 100;

    /// From 1 to 500.
    pub(super) fn limit(&self) -> Result<u32, Problem> {
        let limit = self.limit.unwrap_or(Self::USUAL);
        if (1..=Self::MOST).contains(&limit) {
            return Ok(limit);
        }
        Err(Problem::malformed(format!("`limit` is from 1 to {}", Self::MOST)))
    }
}

/// Credits as a text or a JSON number, read digit by digit: never through a binary fraction.
pub(super) struct Amount(pub Credits);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let written = Box::<RawValue>::deserialize(from)?;
        let digits = written.get().trim_matches('"');
        digits
            .parse()
            .map(Self)
            .map_err(|error| D::Error::custom(format_args!("`credits`: {error}")))
    }
}

/// An instant in RFC 3339.
#[derive(Clone, Copy)]
pub(super) struct Instant(pub Timestamp);

impl FromStr for Instant {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "an instant is written as RFC 3339 and lies in 1970 to 9999, such as `2027-01-31T00:00:00Z`";
        let millis = DateTime::parse_from_rfc3339(text).map_err(|_| EXPECTED)?.timestamp_millis();
        let instant = Timestamp::from_millis(millis);
        if instant.millis() == millis { Ok(Self(instant)) } else { Err(EXPECTED) }
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// The status of calls without credits: 402, 429, or what the plan says.
#[derive(Clone, Copy)]
pub(super) struct Exhausted(pub Option<WhenExhausted>);

impl<'de> Deserialize<'de> for Exhausted {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(from)?;
        let status = value.as_u64().and_then(WhenExhausted::of_status);
        if status.is_some() || value == "plan" {
            return Ok(Self(status));
        }
        Err(D::Error::custom(
            "the status without credits is 402, 429, or `plan` for what the plan says",
        ))
    }
}

/// Until when an account may spend.
#[derive(Clone, Copy)]
pub(super) enum Gate {
    /// Without an end.
    Open,
    /// Not any more.
    Closed,
    /// Before this instant.
    Until(Timestamp),
}

impl Gate {
    /// The gate that stands open until `until`, as somebody sees it at `now`.
    pub(super) fn seen(until: Timestamp, now: Timestamp) -> Self {
        match until {
            Timestamp::MAX => Self::Open,
            until if until <= now => Self::Closed,
            until => Self::Until(until),
        }
    }

    /// The instant until which it stands open, when it is moved at `now`.
    pub(super) fn until(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Open => Timestamp::MAX,
            Self::Closed => now,
            Self::Until(until) => until,
        }
    }
}

impl<'de> Deserialize<'de> for Gate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match String::deserialize(from)?.as_str() {
            "open" => Ok(Self::Open),
            "closed" => Ok(Self::Closed),
            other => match other.parse() {
                Ok(Instant(until)) => Ok(Self::Until(until)),
                Err(_) => Err(D::Error::custom(
                    "a gate is `open`, `closed`, or the instant at which it closes, such as `2027-01-31T00:00:00Z`",
                )),
            },
        }
    }
}

impl Serialize for Gate {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Open => to.serialize_str("open"),
            Self::Closed => to.serialize_str("closed"),
            Self::Until(until) => rfc3339(*until).serialize(to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_read_digit_by_digit() {
        for (json, micros) in [("2.5", 2_500_000), ("\"2.5\"", 2_500_000), ("7", 7_000_000)] {
            assert_eq!(serde_json::from_str::<Amount>(json).unwrap().0.micros(), micros);
        }
        // More digits than a binary fraction keeps.
        let largest = serde_json::from_str::<Amount>("3999999999.999999").unwrap();
        assert_eq!(largest.0.micros(), 3_999_999_999_999_999);
        for json in ["1e3", "-1", "0.1234567", "\"\"", "null", "true", "[1]", "\"1 000\""] {
            assert!(serde_json::from_str::<Amount>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_gate_is_shown_as_it_is_written() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        for written in ["\"open\"", "\"closed\"", "\"2030-01-31T00:00:00Z\""] {
            let gate: Gate = serde_json::from_str(written).unwrap();
            let shown = serde_json::to_string(&Gate::seen(gate.until(now), now)).unwrap();
            assert_eq!(shown, written);
        }
        assert!(serde_json::from_str::<Gate>("\"ajar\"").is_err());
    }

    #[test]
    fn an_instant_outside_the_calendar_is_refused() {
        for text in ["1969-12-31T23:59:59Z", "2026-02-30T00:00:00Z", "2026-01-01", "tomorrow"] {
            assert!(text.parse::<Instant>().is_err(), "{text}");
        }
        let summer: Instant = "2026-07-01T02:00:00+02:00".parse().unwrap();
        assert_eq!(rfc3339(summer.0).as_deref(), Some("2026-07-01T00:00:00Z"));
    }
}
