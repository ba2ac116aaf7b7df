//! Everything that the gateway counts, in one struct: the doc comment of a field is the metric's HELP text.
//!
//! Knows no caller and no amount but sums. A label is a name out of a closed set, never an account, a key or a path
//! as it was sent, so that the number of series is bounded whatever comes in.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::credit::{Credits, Work};
use crate::ledger::journal::Counts;

mod labels;
#[cfg(test)]
mod tests;
mod unknown;

pub use labels::{CacheLookup, HoldOutcome, LedgerResult, Unheld};

use labels::{
    AttemptLabels, CacheLabels, ChargeLabels, FailureLabels, HoldLabels, LedgerLabels,
    LedgerTimeLabels, RefusalLabels, RequestLabels, RequestTimeLabels, StatusClass, UnheldLabels,
    UnitLabels, UnknownLabels,
};
use unknown::UnknownRoutes;

type Times<L> = Family<L, Histogram, fn() -> Histogram>;

/// Declares the struct, its registration and the HELP texts from one list.
macro_rules! vocabulary {
    ($($(#[doc = $help:literal])+ $field:ident: $kind:ty = $name:literal, $start:expr;)+) => {
        /// The metrics of one gateway. Cheap to share behind an `Arc`; there is no global one.
        pub struct Metrics {
            registry: Registry,
            unknown: UnknownRoutes,
            $($(#[doc = $help])+ $field: $kind,)+
        }

        impl Metrics {
            /// Metrics that have counted nothing yet.
            pub fn new() -> Self {
                let mut registry = Registry::with_prefix("creditgate");
                let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
                registry.register("build", "The program that runs", version);
                $(
                    let $field: $kind = $start;
                    // The encoder ends the sentence itself.
                    let help = concat!($($help),+).trim().trim_end_matches('.');
                    registry.register($name, help, $field.clone());
                )+
                Self { registry, unknown: UnknownRoutes::default(), $($field,)+ }
            }
        }
    };
}

vocabulary! {
    /// Requests answered, by class of route, operation and status.
    requests: Family<RequestLabels, Counter> = "requests", Family::default();
    /// Requests that the gateway refused itself, by reason.
    refusals: Family<RefusalLabels, Counter> = "refusals", Family::default();
    /// Seconds from a request's head to the last byte of its answer, by class of route.
    request_time: Times<RequestTimeLabels> = "request_seconds", Family::new_with_constructor(long);
    /// Seconds that a passed-on request spent in the gateway before it was sent upstream.
    own_time: Histogram = "own_seconds", short();
    /// Seconds from sending a request upstream to the head of the provider's answer.
    upstream_time: Histogram = "upstream_head_seconds", long();
    /// Calls that failed between gateway and provider, by kind of failure.
    upstream_failures: Family<FailureLabels, Counter> = "upstream_failures", Family::default();
    /// Tries to have a call answered, by provider, address (1 is the provider's own, then its fallbacks) and outcome.
    upstream_attempts: Family<AttemptLabels, Counter> = "upstream_attempts", Family::default();
    /// Connections open now.
    connections: Gauge = "connections", Gauge::default();
    /// Requests whose answer has not ended yet.
    in_flight: Gauge = "requests_in_flight", Gauge::default();
    /// Streamed answers that are open now.
    streams: Gauge = "streams_open", Gauge::default();
    /// Credits charged, in micro-credits: a millionth of a credit.
    charged: Counter<u64, AtomicU64> = "charged_microcredits", Counter::default();
    /// Calls charged, by what the charge is based on.
    charges: Family<ChargeLabels, Counter> = "charges", Family::default();
    /// Charges of jobs that were corrected when their end was seen, up or down.
    job_corrections: Counter = "job_corrections", Counter::default();
    /// Work that was charged by its units, by unit; seconds of sound in milliseconds.
    work: Family<UnitLabels, Counter> = "work_units", Family::default();
    /// Holds on credits that ended, by outcome.
    holds: Family<HoldLabels, Counter> = "holds", Family::default();
    /// Operations on the ledger, by operation and result.
    ledger_operations: Family<LedgerLabels, Counter> = "ledger_operations", Family::default();
    /// Seconds that an operation on the ledger took, by operation.
    ledger_time: Times<LedgerTimeLabels> = "ledger_seconds", Family::new_with_constructor(short);
    /// Whether the ledger answers: 1 or 0.
    ledger_up: Gauge = "ledger_up", Gauge::default();
    /// Settlements that wait to be written to the ledger, in memory or in the journal.
    settlements_waiting: Gauge = "settlements_waiting", Gauge::default();
    /// Settlements that wait in the journal on the disk.
    journal_waiting: Gauge = "journal_waiting", Gauge::default();
    /// Settlements in the journal that the ledger refused for good: somebody must look at them.
    journal_refused: Gauge = "journal_refused", Gauge::default();
    /// Credits of calls that were let through while the ledger was away and are not charged yet, in micro-credits.
    unheld_credits: Gauge = "unheld_microcredits", Gauge::default();
    /// Calls whose credits could not be held because the ledger was away, by what became of them.
    unheld_calls: Family<UnheldLabels, Counter> = "unheld_calls", Family::default();
    /// Entries of the ledger that this gateway has archived.
    archived: Counter = "archived_entries", Counter::default();
    /// Seconds since the oldest entry was written that is not archived yet; on the gateway that archives.
    oldest_not_archived: Gauge = "archive_behind_seconds", Gauge::default();
    /// Requests to routes that the gateway doesn't know, by method and route.
    unknown_routes: Family<UnknownLabels, Counter> = "unknown_routes", Family::default();
    /// Accounts and keys looked up in the directory's cache, by result.
    directory_lookups: Family<CacheLabels, Counter> = "directory_lookups", Family::default();
}

impl Metrics {
    /// A request was answered, or its client left before that; `class` and `operation` are the names of the route's
    /// class and of its work.
    pub fn answered(
        &self,
        class: &'static str,
        operation: &'static str,
        status: Option<StatusCode>,
    ) {
        let status = status.map_or(StatusClass::None, StatusClass::of);
        let labels = RequestLabels { class, operation, status };
        self.requests.get_or_create(&labels).inc();
    }

    /// The last byte of an answer left, `took` after the request's head came.
    pub fn ended(&self, class: &'static str, took: Duration) {
        self.request_time.get_or_create(&RequestTimeLabels { class }).observe(took.as_secs_f64());
    }

    /// The gateway refused a request; `reason` is the name of the refusal.
    pub fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&RefusalLabels { reason }).inc();
    }

    /// A request was sent upstream, `own` after its head came.
    pub fn sent(&self, own: Duration) {
        self.own_time.observe(own.as_secs_f64());
    }

    /// The head of the provider's answer came, `took` after the request was sent.
    pub fn upstream_answered(&self, took: Duration) {
        self.upstream_time.observe(took.as_secs_f64());
    }

    /// A call failed between gateway and provider; `kind` is the name of the failure.
    pub fn upstream_failed(&self, kind: &'static str) {
        self.upstream_failures.get_or_create(&FailureLabels { kind }).inc();
    }

    /// Counts the tries at one address of a provider: 1 is its own, then come its fallbacks.
    pub fn attempts(&self, provider: &str, address: u32) -> Attempts {
        let counter = |outcome| {
            let provider = provider.to_owned();
            let labels = AttemptLabels { provider, address, outcome };
            self.upstream_attempts.get_or_create(&labels).clone()
        };
        Attempts {
            answered: counter("answered"),
            failed: counter("failed"),
            away: counter("away"),
            slow: counter("slow"),
        }
    }

    /// A connection is open as long as the guard lives.
    pub fn connection_opened(&self) -> Open {
        Open::one_more(&self.connections)
    }

    /// A request is in flight as long as the guard lives.
    pub fn request_started(&self) -> Open {
        Open::one_more(&self.in_flight)
    }

    /// A streamed answer is open as long as the guard lives.
    pub fn stream_opened(&self) -> Open {
        Open::one_more(&self.streams)
    }

    /// The charge of a job is to be corrected.
    pub fn job_corrected(&self) {
        self.job_corrections.inc();
    }

    /// An account paid for a call, or for its work.
    pub fn charged(&self, credits: Credits, work: Option<&Work>) {
        self.charged.inc_by(credits.micros());
        let basis = work.map_or("per_call", |work| work.basis.as_str());
        self.charges.get_or_create(&ChargeLabels { basis }).inc();
        for (unit, amount) in work.iter().flat_map(|work| work.usage.amounts()) {
            self.work.get_or_create(&UnitLabels { unit: unit.as_str() }).inc_by(amount);
        }
    }

    /// A hold ended, or was not given.
    pub fn hold_ended(&self, outcome: HoldOutcome) {
        self.holds.get_or_create(&HoldLabels { outcome }).inc();
    }

    /// The ledger answered, or failed to; `operation` is the name of what it was asked.
    pub fn ledger_answered(&self, operation: &'static str, result: LedgerResult, took: Duration) {
        self.ledger_operations.get_or_create(&LedgerLabels { operation, result }).inc();
        self.ledger_time.get_or_create(&LedgerTimeLabels { operation }).observe(took.as_secs_f64());
    }

    /// The state of the ledger and of what waits for it: `waiting` settlements in all, `journaled` of them on the disk.
    pub fn ledger(&self, up: bool, waiting: usize, journaled: Counts) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.ledger_up.set(i64::from(up));
        self.settlements_waiting.set(number(waiting));
        self.journal_waiting.set(number(journaled.waiting));
        self.journal_refused.set(number(journaled.refused));
        self.unheld_credits.set(journaled.allowed.signed());
    }

    /// A call's credits could not be held because the ledger was away.
    pub fn unheld_call(&self, result: Unheld) {
        self.unheld_calls.get_or_create(&UnheldLabels { result }).inc();
    }

    /// So many entries were archived.
    pub fn archived(&self, entries: usize) {
        self.archived.inc_by(entries as u64);
    }

    /// The oldest entry that is not archived yet is so many seconds old; 0 without one.
    pub fn oldest_not_archived(&self, seconds: u64) {
        self.oldest_not_archived.set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }

    /// A request came for a route that the gateway doesn't know. Of `path`, the normalised path, only the shape of the
    /// first three segments is kept, and at most a hundred shapes: later ones count as `other`.
    pub fn unknown_route(&self, method: &Method, path: &str) {
        let labels = self.unknown.labels(method, path);
        self.unknown_routes.get_or_create(&labels).inc();
    }

    /// The directory's cache was asked for an account or a key.
    pub fn directory_lookup(&self, result: CacheLookup) {
        self.directory_lookups.get_or_create(&CacheLabels { result }).inc();
    }

    /// Everything in the text format that Prometheus reads
    /// (`application/openmetrics-text; version=1.0.0; charset=utf-8`).
    pub fn encode(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("writing to a String doesn't fail");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// What became of the tries at one address of a provider.
#[derive(Clone, Debug)]
pub struct Attempts {
    /// It answered.
    pub answered: Counter,
    /// It answered that it can't do the work now: 408, 429 or 5xx.
    pub failed: Counter,
    /// No connection, or no answer on it.
    pub away: Counter,
    /// No answer in time.
    pub slow: Counter,
}

/// Something that is open until this is dropped.
#[derive(Debug)]
#[must_use = "what it counts ends when it is dropped"]
pub struct Open(Gauge);

impl Open {
    fn one_more(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Buckets for what should be over at once: 50 µs to 1 s.
fn short() -> Histogram {
    Histogram::new([
        0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0,
    ])
}

/// Buckets for the time of models: 5 ms to 10 min, the longest wait for an answer's head by default.
fn long() -> Histogram {
    Histogram::new([
        0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
    ])
}
