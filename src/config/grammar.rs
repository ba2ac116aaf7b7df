//! The file's sections, where they differ from the values that the program wants: keys that have a common default.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::prices::PriceTable;
use super::scalar::{optional, scalar};
use super::{
    Archive, BaseUrl, Config, Fallback, Headers, Http2, LedgerUrl, Limits, Log, Metering, Name,
    Outage, Pace, Plan, Provider, Redis, Refusal, SecretSource, SharedIds, Tasks, Tenancy,
    Timeouts, WhenExhausted, secret,
};
use crate::credit::Credits;
use crate::provider::Dialect;

/// A whole file, laid over the default.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(deserialize_with = "scalar")]
    listen: SocketAddr,
    #[serde(default, deserialize_with = "optional")]
    public_url: Option<BaseUrl>,
    #[serde(deserialize_with = "scalar")]
    admin_listen: SocketAddr,
    #[serde(deserialize_with = "secret::source")]
    admin_token: SecretSource,
    #[serde(deserialize_with = "scalar")]
    ledger: LedgerUrl,
    redis: Redis,
    default_provider: Name,
    log: Log,
    provider: BTreeMap<Name, ProviderTable>,
    provider_defaults: Timeouts,
    plan: BTreeMap<Name, PlanTable>,
    plan_defaults: Pace,
    price: PriceTable,
    metering: Metering,
    tasks: Tasks,
    refusal: Refusal,
    outage: Outage,
    headers: Headers,
    limits: Limits,
    archive: Archive,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderTable {
    dialect: Dialect,
    #[serde(deserialize_with = "scalar")]
    base_url: BaseUrl,
    #[serde(deserialize_with = "secret::source_or_none")]
    key: Option<SecretSource>,
    #[serde(default)]
    tenancy: Tenancy,
    #[serde(default)]
    shared_ids: SharedIds,
    #[serde(default, deserialize_with = "optional")]
    connect_timeout: Option<Duration>,
    #[serde(default, deserialize_with = "optional")]
    header_timeout: Option<Duration>,
    #[serde(default, deserialize_with = "optional")]
    idle_timeout: Option<Duration>,
    #[serde(default)]
    http2: Http2,
    #[serde(default, deserialize_with = "optional")]
    next_after: Option<Duration>,
    #[serde(default)]
    fallback: Vec<Fallback>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanTable {
    #[serde(deserialize_with = "scalar")]
    monthly_credits: Credits,
    #[serde(default, deserialize_with = "optional")]
    requests_per_minute: Option<NonZeroU32>,
    #[serde(default, deserialize_with = "optional")]
    key_requests_per_minute: Option<NonZeroU32>,
    #[serde(default, deserialize_with = "optional")]
    burst: Option<NonZeroU32>,
    #[serde(default, deserialize_with = "optional")]
    concurrency: Option<NonZeroU32>,
    #[serde(default, deserialize_with = "optional")]
    when_exhausted: Option<WhenExhausted>,
}

impl File {
    /// The values that the program wants, and the price list that the file names; each provider and plan is given what
    /// it leaves out.
    pub(super) fn into_config(self) -> (Config, Option<PathBuf>) {
        let Self { provider_defaults, plan_defaults, .. } = self;
        let providers = self.provider.into_iter();
        let plans = self.plan.into_iter();
        let (prices, price_file) = self.price.into_list();
        let config = Config {
            listen: self.listen,
            public_url: self.public_url,
            admin_listen: self.admin_listen,
            admin_token: self.admin_token,
            ledger: self.ledger,
            redis: self.redis,
            default_provider: self.default_provider,
            log: self.log,
            providers: providers
                .map(|(name, table)| (name, table.over(provider_defaults)))
                .collect(),
            plans: plans.map(|(name, table)| (name, table.over(plan_defaults))).collect(),
            prices,
            metering: self.metering,
            tasks: self.tasks,
            refusal: self.refusal,
            outage: self.outage,
            headers: self.headers,
            limits: self.limits,
            archive: self.archive,
        };
        (config, price_file)
    }
}

impl ProviderTable {
    fn over(self, defaults: Timeouts) -> Provider {
        Provider {
            dialect: self.dialect,
            base_url: self.base_url,
            key: self.key,
            tenancy: self.tenancy,
            shared_ids: self.shared_ids,
            timeouts: Timeouts {
                connect: self.connect_timeout.unwrap_or(defaults.connect),
                header: self.header_timeout.unwrap_or(defaults.header),
                idle: self.idle_timeout.unwrap_or(defaults.idle),
            },
            http2: self.http2,
            next_after: self.next_after,
            fallbacks: self.fallback,
        }
    }
}

impl PlanTable {
    fn over(self, defaults: Pace) -> Plan {
        Plan {
            monthly_credits: self.monthly_credits,
            pace: Pace {
                requests_per_minute: self
                    .requests_per_minute
                    .unwrap_or(defaults.requests_per_minute),
                key_requests_per_minute: self
                    .key_requests_per_minute
                    .unwrap_or(defaults.key_requests_per_minute),
                burst: self.burst.unwrap_or(defaults.burst),
                concurrency: self.concurrency.unwrap_or(defaults.concurrency),
                when_exhausted: self.when_exhausted.unwrap_or(defaults.when_exhausted),
            },
        }
    }
}
