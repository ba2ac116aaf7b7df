//! A request's life, in one function. Read this first.
//!
//! [`Gateway::handle`] answers every request and writes down what became of it; [`Gateway::walk`] is the way there:
//! route, caller, rate, then straight through for a free call, or body, price, hold, send and meter for a metered one.
//! Whatever goes wrong on the way is a [`Rejection`], and costs nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, UPGRADE};
use http::{HeaderMap, Method, Request, Response, StatusCode, request};
use hyper::body::Incoming;

mod auth;
mod balance;
mod body;
mod headers;
mod limits;
mod meter;
pub mod peek;
mod record;
mod rejection;
mod stack;
mod upstream;

pub use auth::ACCOUNT_HEADER;
pub use headers::rfc3339;
pub use meter::Answer;
pub use stack::stack;
pub use upstream::{Upstream, UpstreamSetupError};

use auth::Caller;
use body::{Budget, Outgoing};
use headers::Told;
use limits::{Limits, Running};
use meter::Metered;
use record::{Ending, Record};
use rejection::Rejection;

use crate::config::{Administration, Config, Name, Plan, Price, SessionGrants, UnknownRoutes};
use crate::credit::{Credits, Funds, Id, Operation as LedgerOperation, Period, Refusal, Timestamp};
use crate::directory::Directory;
use crate::ledger::{Call, Charge, Ledger, Settler};
use crate::metrics::{HoldOutcome, LedgerResult, Metrics};
use crate::provider::{Class, Dialect, Evidence, Path, Route, credentials};

/// How often a hold is tried again because the account's record had changed.
const STALE_RETRIES: u32 = 3;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a gateway is made of.
pub struct Gateway {
    pub config: Arc<Config>,
    pub upstreams: BTreeMap<Name, Upstream>,
    pub ledger: Ledger,
    pub directory: Arc<Directory>,
    pub settler: Settler,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    pub paces: Paces,
    pub bodies: Bodies,
}

/// The callers' rates and running calls.
pub struct Paces(Limits);

/// The memory for request bodies.
pub struct Bodies(Budget);

/// What becomes of a request.
enum Treatment {
    Free,
    Metered(Credits),
    MeteredByRule,
}
