//! Keys whose values are a closed set: what an operator may choose between.

use serde::{Deserialize, Serialize};

use crate::credit::Credits;

/// The status of a call for which there are no credits (providers.md section 0.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum WhenExhausted {
    /// 402, which no client library retries.
    PaymentRequired,
    /// 429, for software that knows no other refusal.
    TooManyRequests,
}

/// What happens to writes on routes that the gateway doesn't know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownRoutes {
    /// Charged the default price.
    Meter,
    /// Not passed on.
    Refuse,
    /// Passed on without charge.
    Free,
}

/// What happens to calls that hand out a provider's credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionGrants {
    /// Not passed on.
    Refuse,
    /// Passed on for this price.
    Price(Credits),
}

/// What happens to calls that administer the provider's organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Administration {
    /// Not passed on.
    Refuse,
    /// Passed on without charge.
    Free,
}

/// What happens to AI calls while the ledger is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnOutage {
    /// Refused with 503.
    Refuse,
    /// Let through within an allowance for each account, and charged afterwards.
    Allow,
}

/// Whether an account sees only those things at a provider that were made through it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tenancy {
    /// Its own, and those that are shared.
    #[default]
    Strict,
    /// All that the provider's key can see; what is made is written down all the same.
    Learn,
    /// All that the provider's key can see.
    Off,
}

impl Tenancy {
    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Learn => "learn",
            Self::Off => "off",
        }
    }
}

/// What becomes of an answer whose client leaves before its end, where the work decides the charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDisconnect {
    /// It is read to its end, for what the provider reports there.
    Drain,
    /// The provider's call is ended, and what had come is counted.
    Cancel,
}

/// What becomes of a WebSocket when the credits for its next response can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnExhausted {
    /// It closes when the responses that run have ended.
    Finish,
    /// It closes at once.
    Cut,
}

impl OnExhausted {
    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finish => "finish",
            Self::Cut => "cut",
        }
    }
}

/// Which HTTP is spoken with a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Http2 {
    /// What an `https` server chooses (ALPN, RFC 7301); HTTP/1.1 without TLS.
    #[default]
    Auto,
    /// HTTP/2 from the first byte, also without TLS (RFC 9113 section 3.3).
    Only,
    /// HTTP/1.1.
    Off,
}

impl Http2 {
    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Only => "only",
            Self::Off => "off",
        }
    }
}

impl OnDisconnect {
    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Cancel => "cancel",
        }
    }
}

impl WhenExhausted {
    /// The choice whose status this is.
    pub const fn of_status(status: u64) -> Option<Self> {
        match status {
            402 => Some(Self::PaymentRequired),
            429 => Some(Self::TooManyRequests),
            _ => None,
        }
    }

    /// The status as a number.
    pub const fn status(self) -> u16 {
        match self {
            Self::PaymentRequired => 402,
            Self::TooManyRequests => 429,
        }
    }
}

impl UnknownRoutes {
    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Meter => "meter",
            Self::Refuse => "refuse",
            Self::Free => "free",
        }
    }
}

impl OnOutage {
    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Allow => "allow",
        }
    }
}

impl Administration {
    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Free => "free",
        }
    }
}
