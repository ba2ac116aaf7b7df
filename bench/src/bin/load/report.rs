//! What is counted, and how it is told.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

#[derive(Default)]
pub struct Report {
    /// Requests that were begun.
    pub sent: u64,
    /// Connections that broke with a request in flight.
    pub broken: u64,
    /// Requests whose answer did not come.
    pub unanswered: u64,
    /// The first answer of 400 or more, as it came.
    pub first_refusal: Option<String>,
    statuses: BTreeMap<u16, u64>,
    /// Answers in the time that is measured.
    measured: u64,
    pieces: u64,
    latency: Distribution,
    piece_delay: Distribution,
    first_piece: Distribution,
}

/// Times up to a minute, in nanoseconds.
struct Distribution(Histogram<u64>);

impl Report {
    pub fn answered(&mut self, status: u16, latency: Option<u64>) {
        *self.statuses.entry(status).or_default() += 1;
        if let Some(latency) = latency {
            self.measured += 1;
            self.latency.record(latency);
        }
    }

    /// A piece of a stream, and, if they count, how long it was on its way and how long the first was awaited.
    pub fn piece(&mut self, delay: Option<u64>, first: Option<u64>) {
        self.pieces += 1;
        if let Some(delay) = delay {
            self.piece_delay.record(delay);
        }
        if let Some(first) = first {
            self.first_piece.record(first);
        }
    }

    pub fn json(&self) -> Value {
        json!({
            "sent": self.sent,
            "statuses": self.statuses,
            "broken": self.broken,
            "unanswered": self.unanswered,
            "measured": self.measured,
            "pieces": self.pieces,
            "latency": self.latency.json(),
            "piece_delay": self.piece_delay.json(),
            "first_piece": self.first_piece.json(),
            "first_refusal": self.first_refusal,
        })
    }
}

impl Default for Distribution {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3);
        Self(histogram.expect("the bounds are valid"))
    }
}

impl Distribution {
    fn record(&mut self, time: u64) {
        self.0.saturating_record(time.max(1));
    }

    fn json(&self) -> Value {
        let at = |quantile| self.0.value_at_quantile(quantile);
        json!({ "count": self.0.len(), "p50": at(0.5), "p99": at(0.99), "p999": at(0.999) })
    }
}
