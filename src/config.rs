//! The configuration: `config/gateway.toml` is its documentation and its default, this is its meaning.
//!
//! A file becomes values of the types that the rest of the program wants, or an error that shows the line. Opens no
//! socket and reads no secret: whoever needs a secret resolves it, so that `creditgate check` works without any.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::credit::{Credits, PriceList};
use crate::provider::Dialect;
use crate::telemetry;

mod check;
mod choice;
mod effective;
mod environment;
mod error;
mod grammar;
mod layer;
mod name;
mod prices;
mod redis;
mod scalar;
mod secret;
mod shared_ids;
mod url;

#[cfg(test)]
mod tests;

pub use choice::{
    Administration, Http2, OnDisconnect, OnExhausted, OnOutage, SessionGrants, Tenancy,
    UnknownRoutes, WhenExhausted,
};
pub use error::ConfigError;
pub use name::Name;
pub use redis::{Place, Redis, RedisClock, RedisUrl, Replicas, Topology};
pub use secret::{Secret, SecretError, SecretSource};
pub use shared_ids::SharedIds;
pub use url::{BaseUrl, LedgerUrl};

use scalar::{count, optional, scalar, size};

/// The default configuration, which documents every key.
pub const DEFAULT: &str = include_str!("../config/gateway.toml");

/// Reads an environment variable; an argument, so that tests need not change the process.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Everything that an operator can decide.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where assistants connect.
    pub listen: SocketAddr,
    /// Where assistants find it, if that is another address than the one by which they ask.
    pub public_url: Option<BaseUrl>,
    /// Where the admin API is served.
    pub admin_listen: SocketAddr,
    /// What a caller of the admin API must show.
    pub admin_token: SecretSource,
    /// Where credits are kept.
    pub ledger: LedgerUrl,
    /// How a ledger in Redis is used.
    pub redis: Redis,
    /// The provider of calls whose path names none. Always a key of `providers`.
    pub default_provider: Name,
    /// What is logged, and how.
    pub log: Log,
    /// At least one.
    pub providers: BTreeMap<Name, Provider>,
    /// At least one.
    pub plans: BTreeMap<Name, Plan>,
    /// What calls cost.
    pub prices: PriceList,
    /// How work is read that has a price for each unit.
    pub metering: Metering,
    /// How far one payment reaches.
    pub tasks: Tasks,
    /// What is not passed on.
    pub refusal: Refusal,
    /// What happens while the ledger is away.
    pub outage: Outage,
    /// Which headers tell callers about their credits.
    pub headers: Headers,
    /// What callers may take from this machine.
    pub limits: Limits,
    /// Where entries go that Redis need not keep.
    pub archive: Archive,
}

/// `[log]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// How a line looks.
    pub format: telemetry::Format,
    /// The least important lines that are shown.
    pub level: telemetry::Level,
}

/// `[provider.NAME]`, with what `[provider_defaults]` adds.
#[derive(Clone, Debug, PartialEq)]
pub struct Provider {
    /// The protocol that it speaks.
    pub dialect: Dialect,
    /// What stands before every path.
    pub base_url: BaseUrl,
    /// Its key; `None` for a provider that needs none.
    pub key: Option<SecretSource>,
    /// Whether accounts see each other's things there.
    pub tenancy: Tenancy,
    /// The things there that all accounts may use.
    pub shared_ids: SharedIds,
    /// Which HTTP is spoken with it.
    pub http2: Http2,
    /// How long it may be silent.
    pub timeouts: Timeouts,
    /// How long a call waits for an answer's head before it goes on to the next of `fallbacks`; without it, for ever.
    pub next_after: Option<Duration>,
    /// Where calls go that fail, in this order.
    pub fallbacks: Vec<Fallback>,
}

/// `[[provider.NAME.fallback]]`: another address, another key, or both. What it doesn't say is as the provider has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// What stands before every path.
    #[serde(default, deserialize_with = "optional")]
    pub base_url: Option<BaseUrl>,
    /// Its key.
    #[serde(default)]
    pub key: FallbackKey,
}

/// The key of a fallback.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FallbackKey {
    /// The provider's.
    #[default]
    Same,
    /// Its own; `None` for a server that needs none.
    Own(Option<SecretSource>),
}

/// How long a provider may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// Until a connection stands, name resolution and TLS included.
    #[serde(rename = "connect_timeout", deserialize_with = "scalar")]
    pub connect: Duration,
    /// From sending a call to the answer's head.
    #[serde(rename = "header_timeout", deserialize_with = "scalar")]
    pub header: Duration,
    /// Between two bytes of an answer.
    #[serde(rename = "idle_timeout", deserialize_with = "scalar")]
    pub idle: Duration,
}

/// `[plan.NAME]`, with what `[plan_defaults]` adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Credits in each month of the subscription.
    pub monthly_credits: Credits,
    /// How fast they may be used.
    pub pace: Pace,
}

/// How fast an account may call, and what it hears when its credits are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pace {
    /// Calls in a minute of the whole account.
    #[serde(deserialize_with = "scalar")]
    pub requests_per_minute: NonZeroU32,
    /// Calls in a minute of one key.
    #[serde(deserialize_with = "scalar")]
    pub key_requests_per_minute: NonZeroU32,
    /// Calls that may come at once after a pause.
    #[serde(deserialize_with = "scalar")]
    pub burst: NonZeroU32,
    /// Metered calls that may run at the same time.
    #[serde(deserialize_with = "scalar")]
    pub concurrency: NonZeroU32,
    /// The status when credits are gone.
    #[serde(deserialize_with = "scalar")]
    pub when_exhausted: WhenExhausted,
}

/// `[metering]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metering {
    /// What becomes of an answer whose client leaves.
    pub on_disconnect: OnDisconnect,
    /// The longest that such an answer is read on.
    #[serde(deserialize_with = "scalar")]
    pub drain_limit: Duration,
    /// What becomes of a WebSocket when its account's credits end.
    pub on_exhausted: OnExhausted,
}

/// `[tasks]`: what one payment is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tasks {
    /// Calls of one task, the first among them.
    #[serde(deserialize_with = "scalar")]
    pub calls: NonZeroU32,
    /// How long after the first one; at most 72 h.
    #[serde(deserialize_with = "scalar")]
    pub time: Duration,
}

/// `[refusal]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// Where a person buys credits; http or https.
    #[serde(deserialize_with = "url::page")]
    pub top_up_url: String,
    /// Writes to routes that the gateway doesn't know.
    pub unknown_routes: UnknownRoutes,
    /// Calls that hand out a provider's credential.
    #[serde(deserialize_with = "scalar")]
    pub session_grants: SessionGrants,
    /// Calls that administer the provider's organisation.
    pub administration: Administration,
}

/// `[outage]`: what happens while a ledger that gateways share is away.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outage {
    /// What becomes of AI calls.
    pub on_outage: OnOutage,
    /// What an account may use on this gateway without being charged at once.
    #[serde(deserialize_with = "scalar")]
    pub allowance: Credits,
    /// How long keys and accounts that were read before are trusted.
    #[serde(deserialize_with = "scalar")]
    pub trust_for: Duration,
    /// The file in which settlements wait for the ledger.
    #[serde(deserialize_with = "scalar")]
    pub journal: PathBuf,
}

/// `[headers]`: which of the `x-credits-*` headers are sent.
#[expect(
    clippy::struct_excessive_bools,
    reason = "six switches that have nothing to do with each other"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Headers {
    /// `x-credits-charged`, `x-credits-held`.
    pub charged: bool,
    /// `x-credits-remaining`.
    pub remaining: bool,
    /// `x-credits-plan-remaining`.
    pub plan_remaining: bool,
    /// `x-credits-purchased-remaining`.
    pub purchased_remaining: bool,
    /// `x-credits-reset`.
    pub reset: bool,
    /// `x-credits-request-id`.
    pub request_id: bool,
}

/// `[limits]`. Counts and sizes are at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Threads that serve, at most 1024; one for each core if nothing is said.
    #[serde(default, deserialize_with = "scalar::threads")]
    pub threads: Option<NonZeroUsize>,
    /// Connections open at once on each listener.
    #[serde(deserialize_with = "count")]
    pub connections: usize,
    /// Requests in flight at once.
    #[serde(deserialize_with = "count")]
    pub in_flight: usize,
    /// Bytes of a request's head.
    #[serde(deserialize_with = "size")]
    pub head_bytes: usize,
    /// Until a request's head has arrived.
    #[serde(deserialize_with = "scalar")]
    pub head_timeout: Duration,
    /// Between two bytes of a request's body.
    #[serde(deserialize_with = "scalar")]
    pub body_idle_timeout: Duration,
    /// Bytes of the body of a metered call.
    #[serde(deserialize_with = "size")]
    pub metered_body: usize,
    /// Bytes of all bodies of metered calls together; at least `metered_body`.
    #[serde(deserialize_with = "size")]
    pub buffered_bodies: usize,
    /// How long a WebSocket may be silent on both sides.
    #[serde(deserialize_with = "scalar")]
    pub socket_idle_timeout: Duration,
    /// How long a hold outlives the gateway; at least 3 s.
    #[serde(deserialize_with = "scalar")]
    pub hold_ttl: Duration,
    /// What calls in flight get to end after the signal to stop.
    #[serde(deserialize_with = "scalar")]
    pub drain: Duration,
}

/// `[archive]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// The directory of the archive's files; without one, nothing is archived.
    pub folder: Option<PathBuf>,
    /// How long entries stay in Redis; from 1 ms to ten years.
    #[serde(deserialize_with = "scalar::age")]
    pub keep: Duration,
    /// Bytes of a file after which the next is begun; at least 64 KiB.
    #[serde(deserialize_with = "size")]
    pub rotate: usize,
}

impl Config {
    /// What is in force: the default, over it the file at `path`, over it the environment.
    pub fn load(path: Option<&Path>, env: Environment<'_>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Self::parse("", Path::new("the default"), env) };
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: PathBuf::from(path), source })?;
        Self::parse(&text, path, env)
    }

    /// As [`Config::load`], with the file's `text`; `path` is its name in errors, and where a price list is looked for.
    pub fn parse(text: &str, path: &Path, env: Environment<'_>) -> Result<Self, ConfigError> {
        let parsed = layer::over_default(text).and_then(|file| {
            let (config, price_file) = file.into_config();
            check::file(&config, text)?;
            Ok((config, price_file))
        });
        let (mut config, price_file) = parsed.map_err(|fault| fault.in_file(path, text))?;
        if let Some(file) = price_file {
            prices::add(&mut config, &file, path, text)?;
        }
        environment::apply(&mut config, env)?;
        Ok(config)
    }

    /// What is in force, as a file that says the same. Secrets are named, as they are in every file.
    pub fn effective(&self) -> String {
        effective::text(self)
    }
}

impl Provider {
    /// Where its calls go and with which key: its own address first, then the fallbacks in their order.
    pub fn addresses(&self) -> impl Iterator<Item = (&BaseUrl, Option<&SecretSource>)> {
        let fallbacks = self.fallbacks.iter().map(|fallback| {
            let key = match &fallback.key {
                FallbackKey::Same => self.key.as_ref(),
                FallbackKey::Own(key) => key.as_ref(),
            };
            (fallback.base_url.as_ref().unwrap_or(&self.base_url), key)
        });
        std::iter::once((&self.base_url, self.key.as_ref())).chain(fallbacks)
    }
}

impl Limits {
    /// How many threads serve. The cores are those that this process may use.
    pub fn threads(&self) -> NonZeroUsize {
        self.threads
            .or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN)
    }

    /// How often a running call renews its hold.
    pub fn heartbeat(&self) -> Duration {
        self.hold_ttl / 3
    }
}

impl Metering {
    /// How long an answer is read on whose client left; nothing if it isn't.
    pub fn read_on(&self) -> Option<Duration> {
        match self.on_disconnect {
            OnDisconnect::Drain => Some(self.drain_limit),
            OnDisconnect::Cancel => None,
        }
    }
}
