//! A request's life, in one function. Read this first.
//!
//! [`Gateway::handle`] answers every request and notes what became of it; [`Gateway::walk`] is the way there: route,
//! caller, rate, then straight through for a free call, or body, price, hold, send and meter for a metered one.
//! Whatever goes wrong on the way is a [`Rejection`], and costs nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Request, Response, request};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

mod addresses;
mod auth;
mod balance;
mod body;
mod charging;
mod claims;
mod free;
mod head;
mod headers;
mod hold;
mod jobs;
mod limits;
mod meter;
mod outage;
mod paced;
pub mod peek;
mod record;
mod rejection;
mod socket;
mod stack;
mod tenancy;
mod ticket;
mod upstream;

pub use meter::{AfterLeaving, Answer};
pub use socket::Sockets;
pub use stack::stack;
pub use tenancy::Tenancy;
pub use upstream::{At, Settings, Upstream, UpstreamSetupError};

use auth::Caller;
use body::{Budget, Outgoing, Unread};
use charging::Charging;
use head::{asked, has_token, peeked, text};
use headers::Told;
use hold::Held;
use jobs::{Jobs, Watch};
use limits::Limits;
use meter::Metered;
use outage::Outage;
use record::{Ending, Record};
use rejection::Rejection;
use ticket::Tickets;
use upstream::Call;

use crate::coding::Coding;
use crate::config::{Config, Name, Plan};
use crate::credit::{Credits, Feature, Id};
use crate::directory::{Check, Directory};
use crate::ledger::{Charge, Clock, Ledger, Settler};
use crate::metrics::{HoldOutcome, Metrics};
use crate::policy::{self, Place, Terms};
use crate::provider::include_usage::Sieve;
use crate::provider::{Class, credentials};

/// The content types of answers that are streams whatever was asked for.
const STREAMS: [&str; 3] =
    ["text/event-stream", "application/x-ndjson", "application/vnd.amazon.eventstream"];

/// The data plane: everything that a request needs on its way.
pub struct Gateway {
    config: Arc<Config>,
    /// One for each provider of the configuration that has its key.
    upstreams: BTreeMap<Name, Upstream>,
    ledger: Ledger,
    directory: Arc<Directory>,
    settler: Settler,
    metrics: Arc<Metrics>,
    clock: Clock,
    limits: Limits,
    outage: Outage,
    jobs: Jobs,
    tenancy: Tenancy,
    tickets: Tickets,
    /// The memory for request bodies.
    bodies: Budget,
    after_leaving: AfterLeaving,
    sockets: Sockets,
}

/// Where a request goes.
struct Target<'a> {
    place: Place<'a>,
    upstream: &'a Upstream,
}

/// What came back.
enum Outcome {
    /// An answer of the gateway's own.
    Own(Response<Bytes>),
    /// A provider's answer, and what it carries along.
    Passed(Response<Incoming>, Passing),
}

/// What an answer carries along if it is charged, and if it has more than the client asked for.
#[derive(Default)]
struct Passing {
    metered: Option<Box<Metered>>,
    sieve: Option<Sieve>,
    /// Reads what the answer says of a job.
    watch: Option<Box<Watch>>,
}

impl Gateway {
    /// A gateway to `upstreams`, one for each provider of `config` that can be used.
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
        let tenancy = Tenancy::new(ledger.clone(), Arc::clone(&clock));
        let outage = Outage::new(config.outage.clone(), Arc::clone(&metrics));
        let jobs = Jobs::new(ledger.clone(), settler.clone(), Arc::clone(&metrics));
        let stop = CancellationToken::new();
        let after_leaving = AfterLeaving { read_on: config.metering.read_on(), stop };
        let tickets = Tickets::new(&upstreams);
        let sockets = Sockets::new(config.limits.connections, config.limits.drain);
        Self {
            config,
            upstreams,
            ledger,
            directory,
            settler,
            metrics,
            clock,
            limits,
            outage,
            jobs,
            tenancy,
            tickets,
            bodies,
            after_leaving,
            sockets,
        }
    }

    /// The sockets that are open, to be closed when the gateway stops.
    pub fn sockets(&self) -> Sockets {
        self.sockets.clone()
    }

    /// Cancelled when the last client has been served: no answer is read on any more whose client has left.
    pub fn served(&self) -> CancellationToken {
        self.after_leaving.stop.clone()
    }

    /// Whose things are whose; it may still be writing some down when the last client has been served.
    pub fn tenancy(&self) -> Tenancy {
        self.tenancy.clone()
    }

    /// Answers a request; never fails. Notes what became of it.
    pub async fn handle(self: &Arc<Self>, request: Request<Incoming>) -> Response<Answer> {
        let mut record = self.record(&request);
        match self.walk(request, &mut record).await {
            Ok(Outcome::Passed(response, passing)) => self.pass(response, passing, record),
            Ok(Outcome::Own(response)) => {
                record.status = Some(response.status());
                record.ending = Ending::Complete;
                response.map(Answer::own)
            }
            Err(rejection) => self.refuse(&rejection, record),
        }
    }

    /// The answer to a request that finds no place among those in flight.
    pub fn shed(&self, request: Request<Incoming>) -> Response<Answer> {
        let mut record = self.record(&request);
        let asked = asked(request.method(), request.uri(), request.headers());
        if let Ok(place) = policy::place(&self.config, asked) {
            record.dialect = place.route.language;
        }
        drop(Unread::new(request.into_body()));
        self.refuse(&Rejection::Busy, record)
    }

    fn record(&self, request: &Request<Incoming>) -> Record {
        let id = Id::from_u128(uuid::Uuid::now_v7().as_u128());
        Record::new(id, request.method().clone(), Arc::clone(&self.metrics))
    }

    /// The way of a request to its provider.
    async fn walk(
        self: &Arc<Self>,
        request: Request<Incoming>,
        record: &mut Record,
    ) -> Result<Outcome, Rejection> {
        let (mut head, body) = request.into_parts();
        let body = Unread::new(body);
        let place = self.place(&head, record)?;
        let is_metered = matches!(place.route.class, Class::Metered | Class::Realtime);
        let check = if is_metered { Check::Hold } else { Check::Age };
        let caller = self.caller(&place, &head, check, record).await?;
        let plan = self.plan(&caller)?;
        self.limits.admit(&caller, &plan.pace)?;
        if place.asks_balance(&head.method) {
            (record.route, record.class, record.operation) = ("/credits", "free", "balance");
            return self.balance(&caller, plan).await.map(Outcome::Own);
        }
        let upstream = self.upstreams.get(place.provider).ok_or(Rejection::NoProvider)?;
        let target = Target { place, upstream };
        let terms = self.terms(&head.method, &target)?;
        if let Some(protocol) = target.place.socket() {
            // Boxed like what is free: the future of the way of most has room for all that it awaits.
            let terms = (protocol, terms);
            return Box::pin(self.open_socket(terms, head, caller, &target, record)).await;
        }
        if matches!(terms, Terms::Free) {
            return Box::pin(self.pass_free(&target, head, body, &caller, record)).await;
        }

        let (limits, budget) = (&self.config.limits, &self.bodies);
        let (limit, pause) = (limits.metered_body, limits.body_idle_timeout);
        let body = body::read_whole(body, limit, pause, budget).await?;
        let body = body.decoded(&head.headers, limit, budget)?;
        let said = body.text();
        let peek = peeked(&head, &target.place, said)?;
        let things = self.things_named(&head, &target.place, said)?;
        let made = self.made_by(&head, &target.place, said, &caller);
        let feature = claims::feature(&head.headers)?;
        let priced_by = feature.as_ref().filter(|_| claims::is_service(&caller));
        let quoted = self.quote(terms, &target, &peek, priced_by.map(Feature::as_str))?;
        (record.model, record.feature) = (peek.model, feature);
        let route = target.place.route;
        let is_form = has_token(&head.headers, &CONTENT_TYPE, "multipart/form-data");
        let charging = Charging::of(&quoted, route.language, route.operation, is_form, said);
        let (price, tasks) = (charging.held(), self.config.tasks);
        let claims = claims::claims(&head, &caller, &target.place, said, price.is_zero(), tasks)?;
        let changed = charging.asked(peek.stream, said)?;
        let sieve = changed.as_ref().map(|_| Sieve::default());
        let running = self.limits.run(&caller, &plan.pace)?;
        let Held { call, funds, rides } =
            self.hold(&head, caller, price, (claims.as_ref(), &things), record).await?;
        let charging = if rides { Charging::PerCall(Credits::ZERO) } else { charging };
        let price = charging.held();
        // From here on the guard sees to it that the hold is resolved: dropped, it gives the credits back.
        let body = body.outgoing(changed, &mut head.headers);
        let mut response = self.send(&target, head, body, true, record).await?;

        let did_work = response.status().is_success();
        let (amount, returned) =
            if did_work { (price, Credits::ZERO) } else { (Credits::ZERO, price) };
        let is_final = charging.is_final() || !did_work;
        let told = Told { amount, is_final, returned, funds, id: record.id };
        told.write(self.config.headers, did_work, response.headers_mut());
        if !did_work {
            call.resolve(Charge::Release);
            self.metrics.hold_ended(HoldOutcome::Released);
            return Ok(Outcome::Passed(response, Passing::default()));
        }
        let evidence = route.evidence(text(response.headers(), CONTENT_TYPE));
        let meter = charging.meter(evidence, response.headers());
        let made = made.map(|made| made.of_answer(response.headers()));
        let (after, metrics) = (self.after_leaving.clone(), Arc::clone(&self.metrics));
        let key = claims.and_then(|claims| claims.key);
        let metered = Metered { call, meter, after, metrics, key, running, made };
        let metered = Some(Box::new(metered));
        Ok(Outcome::Passed(response, Passing { metered, sieve, watch: None }))
    }

    /// Finds the provider and classifies the path that it will be sent.
    fn place<'a>(
        &'a self,
        head: &request::Parts,
        record: &mut Record,
    ) -> Result<Place<'a>, Rejection> {
        let asked = asked(&head.method, &head.uri, &head.headers);
        record.dialect = asked.hint.unwrap_or(record.dialect);
        let place = policy::place(&self.config, asked)?;
        place.path.as_str().clone_into(&mut record.path);
        record.route = place.route.pattern;
        record.dialect = place.route.language;
        record.pause = self.config.providers[place.provider].timeouts.idle;
        record.class = place.route.class.as_str();
        record.operation = place.route.operation.as_str();
        Ok(place)
    }

    async fn identify(
        &self,
        head: &request::Parts,
        check: Check,
        record: &mut Record,
    ) -> Result<Caller, Rejection> {
        let (now, query) = ((self.clock)(), head.uri.query());
        let caller = auth::identify(&self.directory, &head.headers, query, check, now).await?;
        record.called_by(&caller);
        Ok(caller)
    }

    fn plan(&self, caller: &Caller) -> Result<&Plan, Rejection> {
        let (account, plan) = (&caller.record.account, &caller.record.plan);
        self.config.plans.get(plan.as_str()).ok_or_else(|| {
            tracing::error!(%account, plan, "the account's plan is not in the configuration");
            Rejection::Misconfigured
        })
    }

    /// What the class of the route means here.
    fn terms(&self, method: &Method, target: &Target<'_>) -> Result<Terms, Rejection> {
        if target.place.route.class == Class::Unknown {
            self.metrics.unknown_route(method, target.place.path.as_str());
        }
        Ok(target.place.terms(method, &self.config.refusal)?)
    }

    /// Sends the request to its provider and waits for the head of the answer.
    async fn send(
        &self,
        target: &Target<'_>,
        head: request::Parts,
        body: Outgoing,
        metered: bool,
        record: &mut Record,
    ) -> Result<Response<Incoming>, Rejection> {
        let query = head.uri.query().map(credentials::query_without_key);
        let (method, headers, place) = (head.method, head.headers, &target.place);
        let call = Call { method, place, query: query.as_deref(), headers, body, metered };
        self.metrics.sent(record.started.elapsed());
        let sent = Instant::now();
        let answer = target.upstream.send(call, &mut record.tries).await;
        record.upstream = Some(sent.elapsed());
        match answer {
            Ok(response) => {
                self.metrics.upstream_answered(sent.elapsed());
                Ok(response)
            }
            Err(error) => {
                self.metrics.upstream_failed(error.kind());
                let (provider, error_text) = (target.place.provider.as_str(), error.in_full());
                tracing::warn!(provider, error = error_text, "a provider gave no answer");
                Err(Rejection::of_upstream(&error))
            }
        }
    }

    /// A provider's answer on its way back.
    fn pass(
        &self,
        response: Response<Incoming>,
        Passing { metered, sieve, watch }: Passing,
        mut record: Record,
    ) -> Response<Answer> {
        record.status = Some(response.status());
        let (mut head, body) = response.into_parts();
        let is_stream = STREAMS.iter().any(|kind| has_token(&head.headers, &CONTENT_TYPE, kind));
        let stream = is_stream.then(|| self.metrics.stream_opened());
        let is_sse = has_token(&head.headers, &CONTENT_TYPE, "text/event-stream");
        // A chunk can't be taken out of a compressed stream.
        let is_plain = Coding::of(&head.headers) == Ok(None);
        let sieve = sieve.filter(|_| is_sse && is_plain);
        if sieve.is_some() {
            head.headers.remove(CONTENT_LENGTH);
        }
        let body = Answer::passed(body, sieve, metered, watch, record, stream);
        Response::from_parts(head, body)
    }

    /// The answer to a request that is not passed on.
    fn refuse(&self, rejection: &Rejection, mut record: Record) -> Response<Answer> {
        let code = rejection.code();
        self.metrics.refused(code);
        record.status = Some(rejection.status());
        record.ending = Ending::Refused(code);
        let (top_up, id) = (&self.config.refusal.top_up_url, record.id.to_string());
        rejection.response(record.dialect, top_up, &id).map(Answer::own)
    }
}
