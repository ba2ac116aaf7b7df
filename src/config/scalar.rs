//! Single values: how each is written in a file or in an environment variable, and what is said of one that isn't.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{Deserializer, Error, Visitor};

use super::{SessionGrants, WhenExhausted};
use crate::credit::Credits;

/// The longest duration that a file may ask for: a day. Beyond it is a slip of the pen, such as `s` for `ms`.
const LONGEST: Duration = Duration::from_hours(24);
/// The longest that a file may ask to keep something.
const OLDEST: Duration = Duration::from_hours(10 * 365 * 24);
/// Each has a stack, and connections of its own.
const MOST_THREADS: usize = 1024;

/// A value that is written as a text, a whole number, or either.
pub(super) trait Scalar: Sized {
    /// What belongs here, with an example.
    const EXPECTED: &'static str;

    /// The value that `text` means; `None` if it means none.
    fn from_text(text: &str) -> Option<Self>;

    /// The value that a number means; `None` if it means none.
    fn from_number(_: u64) -> Option<Self> {
        None
    }
}

/// For `deserialize_with`.
pub(super) fn scalar<'de, T: Scalar, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_any(ScalarVisitor(PhantomData))
}

/// For `deserialize_with` of a key that may be left out.
pub(super) fn optional<'de, T: Scalar, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    scalar(from).map(Some)
}

/// A number of things, at least 1.
pub(super) fn count<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let count: NonZeroU32 = scalar(from)?;
    usize::try_from(count.get()).map_err(D::Error::custom)
}

/// A number of threads, from 1 to 1024.
pub(super) fn threads<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<NonZeroUsize>, D::Error> {
    let count = count(from)?;
    if count > MOST_THREADS {
        return Err(D::Error::custom(format!("at most {MOST_THREADS} threads can serve")));
    }
    Ok(NonZeroUsize::new(count))
}

/// A number of bytes, at least 1.
pub(super) fn size<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    scalar(from).map(|Size(bytes)| bytes)
}

/// How long something is kept, from 1 ms to ten years.
pub(super) fn age<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    scalar(from).map(|Age(age)| age)
}

struct Size(usize);

struct Age(Duration);

struct ScalarVisitor<T>(PhantomData<T>);

impl<T: Scalar> Visitor<'_> for ScalarVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        // The text itself is not repeated: the line is shown below, where what must not be seen is covered.
        T::from_text(text).ok_or_else(|| E::custom(format_args!("expected {}", T::EXPECTED)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        let value = u64::try_from(number).ok().and_then(T::from_number);
        value.ok_or_else(|| E::custom(format_args!("expected {}", T::EXPECTED)))
    }
}

impl Scalar for SocketAddr {
    const EXPECTED: &'static str =
        "an IP address and a port, such as \"127.0.0.1:8080\" or \"[::1]:8080\"";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Scalar for Duration {
    const EXPECTED: &'static str =
        "a duration from 1 ms to 24 h as a text, such as \"250ms\", \"30s\", \"5m\" or \"1h\"";

    fn from_text(text: &str) -> Option<Self> {
        duration(text, LONGEST)
    }
}

impl Scalar for Age {
    const EXPECTED: &'static str =
        "a duration from 1 ms to ten years (87600 h) as a text, such as \"12h\" or \"720h\"";

    fn from_text(text: &str) -> Option<Self> {
        duration(text, OLDEST).map(Self)
    }
}

impl Scalar for Size {
    const EXPECTED: &'static str =
        "a size of at least one byte, such as 65536, \"64KiB\", \"64MiB\" or \"1GiB\"";

    fn from_text(text: &str) -> Option<Self> {
        let (digits, unit) = number_and_unit(text)?;
        let bytes: u64 = match unit {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        Self::from_number(digits.checked_mul(bytes)?)
    }

    fn from_number(bytes: u64) -> Option<Self> {
        usize::try_from(bytes).ok().filter(|bytes| *bytes > 0).map(Self)
    }
}

impl Scalar for NonZeroU32 {
    const EXPECTED: &'static str = "a whole number from 1 to 4294967295";

    fn from_text(_: &str) -> Option<Self> {
        None
    }

    fn from_number(number: u64) -> Option<Self> {
        u32::try_from(number).ok().and_then(Self::new)
    }
}

impl Scalar for Credits {
    const EXPECTED: &'static str = "credits, from 0 to 4 billion: a whole number such as 3, or a text with at most six \
                                    decimals such as \"2.5\"";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn from_number(credits: u64) -> Option<Self> {
        credits.checked_mul(1_000_000).and_then(Self::from_micros)
    }
}

impl Scalar for PathBuf {
    const EXPECTED: &'static str = "the path of a file, such as \"/var/lib/creditgate/journal.db\"";

    fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty() && !text.ends_with('/')).then(|| Self::from(text))
    }
}

impl Scalar for SessionGrants {
    const EXPECTED: &'static str =
        "\"refuse\", or a price in credits: a whole number such as 3, or a text such as \"2.5\"";

    fn from_text(text: &str) -> Option<Self> {
        if text == "refuse" {
            Some(Self::Refuse)
        } else {
            Credits::from_text(text).map(Self::Price)
        }
    }

    fn from_number(credits: u64) -> Option<Self> {
        Credits::from_number(credits).map(Self::Price)
    }
}

impl Scalar for WhenExhausted {
    const EXPECTED: &'static str = "402 or 429";

    fn from_text(_: &str) -> Option<Self> {
        None
    }

    fn from_number(status: u64) -> Option<Self> {
        Self::of_status(status)
    }
}

/// `30s` is 30 and `s`. No sign, no space, no fraction.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let unit = text.find(|character: char| !character.is_ascii_digit())?;
    let (digits, unit) = text.split_at(unit);
    Some((digits.parse().ok()?, unit))
}

/// More than nothing, and at most `longest`.
fn duration(text: &str, longest: Duration) -> Option<Duration> {
    let (digits, unit) = number_and_unit(text)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let duration = Duration::from_millis(digits.checked_mul(millis)?);
    (!duration.is_zero() && duration <= longest).then_some(duration)
}
