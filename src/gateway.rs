//! A request's life, in one function. Read this first.
//!
//! [`Gateway::handle`] answers every request and notes what became of it; [`Gateway::walk`] is the way there: route,
//! caller, rate, then straight through for a free call, or body, price, hold, send and meter for a metered one.
//! Whatever goes wrong on the way is a [`Rejection`], and costs nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, request};
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

pub use headers::rfc3339;
pub use meter::Answer;
pub use stack::stack;
pub use upstream::{Upstream, UpstreamSetupError};

use auth::Caller;
use body::{Budget, Outgoing, Paced};
use headers::Told;
use limits::Limits;
use meter::Metered;
use record::{Ending, Record};
use rejection::Rejection;

use crate::config::{Administration, Config, Name, Plan, SessionGrants, UnknownRoutes};
use crate::credit::{Credits, Funds, Id, Operation, Period, Price, Refusal, Timestamp};
use crate::directory::Directory;
use crate::ledger::{Call, Charge, Ledger, Settler};
use crate::metrics::{HoldOutcome, LedgerResult, Metrics};
use crate::provider::{Class, Evidence, Path, Route, credentials};

/// How often a hold is tried again because the account's record had changed meanwhile.
const STALE_RETRIES: u32 = 3;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The data plane: everything that a request needs on its way.
pub struct Gateway {
    config: Arc<Config>,
    upstreams: BTreeMap<Name, Upstream>,
    ledger: Ledger,
    directory: Arc<Directory>,
    settler: Settler,
    metrics: Arc<Metrics>,
    clock: Clock,
    limits: Limits,
    bodies: Budget,
}

/// What a call is to be charged, before anything is read of it.
#[derive(Clone, Copy)]
enum Treatment {
    Free,
    /// By the price list.
    Priced,
    /// This much.
    Fixed(Credits),
}

/// Where a request goes: the provider, and the path as it is classified and sent.
struct Target<'a> {
    name: &'a Name,
    upstream: &'a Upstream,
    path: Path,
    route: Route,
}

impl Gateway {
    /// A gateway to `upstreams`, one for each provider of the configuration.
    pub fn new(
        config: Arc<Config>,
        upstreams: BTreeMap<Name, Upstream>,
        ledger: Ledger,
        directory: Arc<Directory>,
        settler: Settler,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Self {
        let bodies = Budget::new(config.limits.buffered_bodies);
        let limits = Limits::new();
        Self {
            config,
            upstreams,
            ledger,
            directory,
            settler,
            metrics,
            clock,
            limits,
            bodies,
        }
    }

    /// Answers a request; never fails. Writes down what became of it.
    pub async fn handle(&self, request: Request<Incoming>) -> Response<Answer> {
        let id = Id::from_u128(uuid::Uuid::now_v7().as_u128());
        let mut record = Record::new(id, request.method().clone(), Arc::clone(&self.metrics));
        match self.walk(request, &mut record).await {
            Ok(Passed { response, metered }) => self.pass(response, metered, record),
            Err(rejection) => self.refuse(&rejection, record),
        }
    }

    /// The way of a request to its provider.
    async fn walk(
        &self,
        request: Request<Incoming>,
        record: &mut Record,
    ) -> Result<Passed, Rejection> {
        let (head, body) = request.into_parts();
        let target = self.target(&head, record)?;
        let query = head.uri.query().map(credentials::query_without_key);
        let caller = self.identify(&head, record).await?;
        let plan = self.plan(&caller)?;
        self.limits.admit(&caller, &plan.pace)?;
        if target.path.as_str() == balance::PATH && head.method == Method::GET {
            return self.balance(&caller, plan).await.map(Passed::own);
        }
        let treatment = self.treatment(&head, &target)?;

        let Some((price, body)) = self.price(treatment, &head, body, &target, record).await? else {
            return unreachable_free();
        };
        let _ = (price, body, query);
        todo!()
    }
}
