//! What is noted of one request, and the one line that is logged of it.
//!
//! The line is written when the answer has ended, however it ends: the record travels with the answer's body and
//! speaks as it is dropped. Keys, bodies and query strings are never noted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};

use super::auth::Caller;
use super::charging::Bill;
use super::upstream::Tries;
use crate::credit::{AccountId, Credits, Feature, Id};
use crate::metrics::{Metrics, Open};
use crate::provider::Dialect;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The answer was passed on whole.
    Complete,
    /// The gateway refused it.
    Refused(&'static str),
    /// The provider's answer broke off.
    Broken,
    /// The client left before the answer had ended.
    ClientLeft,
}

impl Ending {
    /// The ending's name in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Refused(reason) => reason,
            Self::Broken => "broken",
            Self::ClientLeft => "client_left",
        }
    }
}

/// The notes on one request.
pub struct Record {
    /// The request's id, which is that of its hold.
    pub id: Id,
    pub method: Method,
    /// The canonical path, where there is one.
    pub path: String,
    /// The language in which the caller is answered.
    pub dialect: Dialect,
    /// How long the provider may pause.
    pub pause: Duration,
    /// The route's pattern, class and operation.
    pub route: &'static str,
    pub class: &'static str,
    pub operation: &'static str,
    pub account: Option<AccountId>,
    /// The key's public name.
    pub key: Option<String>,
    pub model: Option<String>,
    /// What the call is for, as its caller says.
    pub feature: Option<Feature>,
    pub status: Option<StatusCode>,
    /// What was held, and what came of it; nothing came of it if nothing is said.
    pub held: Option<Credits>,
    pub bill: Option<Bill>,
    /// Whether it was let through without a hold, while the ledger was away: it is charged afterwards.
    pub unheld: bool,
    /// The socket on which it came, if it is a response of one.
    pub socket: Option<Id>,
    /// How it fared on its way to the provider.
    pub tries: Tries,
    /// From sending the call to the head of the provider's answer.
    pub upstream: Option<Duration>,
    pub ending: Ending,
    pub started: Instant,
    metrics: Arc<Metrics>,
    _in_flight: Open,
}

impl Record {
    /// It is known who calls.
    pub fn called_by(&mut self, caller: &Caller) {
        self.account = Some(caller.record.account.clone());
        self.key = Some(caller.key.key.id.clone());
    }

    /// The notes on a request that has just arrived.
    pub fn new(id: Id, method: Method, metrics: Arc<Metrics>) -> Self {
        let in_flight = metrics.request_started();
        Self {
            id,
            method,
            path: String::new(),
            dialect: Dialect::OpenAi,
            pause: Duration::ZERO,
            route: "unknown",
            class: "unknown",
            operation: "other",
            account: None,
            key: None,
            model: None,
            feature: None,
            status: None,
            held: None,
            bill: None,
            unheld: false,
            socket: None,
            tries: Tries::default(),
            upstream: None,
            // What is true if nobody ever says otherwise: the handler was dropped.
            ending: Ending::ClientLeft,
            started: Instant::now(),
            metrics,
            _in_flight: in_flight,
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        self.metrics.answered(self.class, self.operation, self.status);
        self.metrics.ended(self.class, took);
        let due = self.bill.filter(|bill| bill.due.is_some());
        if let Some(Bill { due: Some(amount), work }) = due {
            self.metrics.charged(amount, work.as_ref());
        }
        // A hold whose call came to nothing was given back.
        let charged = due.and_then(|bill| bill.due).or(self.held.map(|_| Credits::ZERO));
        let work = due.and_then(|bill| bill.work);
        tracing::info!(
            target: "creditgate::request",
            request = %self.id,
            socket = self.socket.as_ref().map(tracing::field::display),
            account = self.account.as_ref().map(AccountId::as_str),
            key = self.key.as_deref(),
            route = self.route,
            class = self.class,
            operation = self.operation,
            model = self.model.as_deref(),
            feature = self.feature.as_ref().map(Feature::as_str),
            status = self.status.map(|status| status.as_u16()),
            ending = self.ending.as_str(),
            credits_held = self.held.as_ref().map(tracing::field::display),
            credits_charged = charged.as_ref().map(tracing::field::display),
            unheld = self.unheld.then_some(true),
            charged_by = due.map(|bill| bill.work.map_or("per_call", |work| work.basis.as_str())),
            usage = work.as_ref().map(|work| tracing::field::display(&work.usage)),
            // Told only where something is to be told.
            attempts = Some(self.tries.count).filter(|count| *count > 1),
            address = Some(self.tries.address).filter(|number| *number > 1),
            upstream_ms = self.upstream.map(millis),
            duration_ms = millis(took),
            "{} {}",
            self.method,
            self.path,
        );
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
