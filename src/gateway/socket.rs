//! Sockets: each response of one is metered as a call of its own (semantics.md has a section on them).
//!
//! Before the handshake everything is checked as for a call, and credits are held for the first response: a refusal is
//! plain HTTP. After it bytes pass both ways untouched ([`flow`]), their frames are followed beside them ([`frames`]), and what
//! the events say decides on holds and charges ([`session`]).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
};
use http::{Method, Response, StatusCode, Version, request};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod flow;
mod frames;
mod goodbye;
mod named;
mod session;
mod state;
mod turn;

use session::{Reserve, Session};

use super::auth::Caller;
use super::charging::Charging;
use super::head::{self, has_token};
use super::headers::Told;
use super::hold::Held;
use super::peek;
use super::record::Record;
use super::rejection::Rejection;
use super::upstream::{Handshake, upgrade};
use super::{Gateway, Outcome, Passing, Target, claims};
use crate::credit::{Credits, Feature, Price};
use crate::ledger::Charge;
use crate::metrics::HoldOutcome;
use crate::policy::Terms;
use crate::provider::ModelAt;
use crate::provider::credentials;
use crate::provider::socket::Protocol;

/// How long either side may take to become a WebSocket after its 101.
const UPGRADE_LIMIT: Duration = Duration::from_secs(10);

/// All sockets that are open. Cheap to clone.
#[derive(Clone)]
pub struct Sockets {
    places: Arc<Semaphore>,
    open: TaskTracker,
    /// No response begins any more, and sockets close when theirs have ended.
    stop: CancellationToken,
    /// They end at once.
    cut: CancellationToken,
    time_to_end: Duration,
}

impl Sockets {
    /// At most `most` at once, whose responses get `time_to_end` when the gateway stops.
    pub fn new(most: usize, time_to_end: Duration) -> Self {
        let places = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        let (open, stop, cut) = Default::default();
        Self { places, open, stop, cut, time_to_end }
    }

    /// Closes every socket; one with a response that runs may end it within the time to end.
    pub async fn drain(&self) {
        let limit = self.time_to_end;
        self.stop.cancel();
        self.open.close();
        if tokio::time::timeout(limit, self.open.wait()).await.is_err() {
            tracing::warn!("sockets still open after {limit:?} are cut");
            self.cut.cancel();
            self.open.wait().await;
        }
    }

    fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }
}

impl Gateway {
    /// Opens a WebSocket: everything is checked and the first response held for before its handshake, which is the
    /// provider's to accept.
    pub(super) async fn open_socket(
        self: &Arc<Self>,
        (protocol, terms): (Protocol, Terms),
        mut head: request::Parts,
        caller: Caller,
        target: &Target<'_>,
        record: &mut Record,
    ) -> Result<Outcome, Rejection> {
        let client = head.extensions.remove::<OnUpgrade>();
        let client = client.filter(|_| may_upgrade(&head)).ok_or(Rejection::WebSocket)?;
        let seat = self.sockets.enter().ok_or(Rejection::Busy)?;
        let named_as = match target.place.route.model {
            ModelAt::Query(name) => name,
            _ => "model",
        };
        let model = peek::model_in_query(head.uri.query().unwrap_or_default(), named_as)?;
        record.model.clone_from(&model);
        let models: Vec<String> = model.into_iter().collect();
        record.feature = claims::feature(&head.headers)?;
        let feature = record.feature.clone();
        let priced_by = feature.as_ref().filter(|_| claims::is_service(&caller));
        let amount = self.first_hold(protocol, terms, target, (&models, priced_by))?;
        drop(self.limits.run(&caller, &self.plan(&caller)?.pace)?);
        let things = self.things_asked(target.place.provider, head.uri.query());
        let Held { call, funds, .. } =
            self.hold(&head, caller.clone(), amount, (None, &things), record).await?;
        let unheld = record.unheld;
        // From here on the guard gives the credits back if nothing comes of the socket.
        let response = self.shake_hands(target, &head, record).await;
        let accepted = match response {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => response,
            refused => {
                call.resolve(Charge::Release);
                self.metrics.hold_ended(HoldOutcome::Released);
                return Ok(Outcome::Passed(refused?, Passing::default()));
            }
        };
        let mut answer = Response::new(Bytes::new());
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *answer.headers_mut() = accepted.headers().clone();
        let headers = answer.headers_mut();
        headers.remove(SEC_WEBSOCKET_EXTENSIONS);
        upgrade(headers);
        let told = Told { amount, is_final: false, returned: Credits::ZERO, funds, id: record.id };
        told.write(self.config.headers, true, headers);
        // Whatever is held from now on is a response's.
        record.held = None;
        let reserve = Reserve { call, id: record.id, held: amount, unheld };
        let session = Session::new(
            self,
            (protocol, head, caller),
            target,
            (models, feature),
            reserve,
            record.id,
        );
        let sockets = self.sockets.clone();
        self.sockets.open.spawn(async move {
            let provider = hyper::upgrade::on(accepted);
            let both = async { tokio::try_join!(client, provider) };
            match tokio::time::timeout(UPGRADE_LIMIT, both).await {
                Ok(Ok((client, provider))) => {
                    session.run(client, provider, &sockets.stop, &sockets.cut).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "a socket did not come about"),
                Err(_) => tracing::debug!("a socket did not come about in time"),
            }
            drop(seat);
        });
        Ok(Outcome::Own(answer))
    }

    /// What is held before the handshake: the price of a response as far as it is known, which is nothing but a sign that
    /// there are credits where only the events will name a model that has a price.
    fn first_hold(
        &self,
        protocol: Protocol,
        terms: Terms,
        target: &Target<'_>,
        (models, feature): (&[String], Option<&Feature>),
    ) -> Result<Credits, Rejection> {
        let names: Vec<&str> = models.iter().map(String::as_str).collect();
        let quoted =
            target.place.quote(terms, &self.config.prices, &names, feature.map(Feature::as_str));
        let price: Price = match quoted {
            Some(quoted) => quoted.price,
            None if protocol == Protocol::Realtime => {
                let model = names.first().copied().unwrap_or("realtime").to_owned();
                return Err(Rejection::NoPrice { model });
            }
            None => return Ok(Credits::from_micros(1).unwrap_or_default()),
        };
        let route = target.place.route;
        let demand = turn::demand(0, None);
        Ok(Charging::of_demand(&price, route.language, route.operation, demand).held())
    }

    /// Sends the handshake on; waits for the head of its answer.
    async fn shake_hands(
        &self,
        target: &Target<'_>,
        head: &request::Parts,
        record: &mut Record,
    ) -> Result<Response<Incoming>, Rejection> {
        let query = head.uri.query().map(credentials::query_without_key);
        let (upstream, place) = (target.upstream, &target.place);
        let headers = head.headers.clone();
        let handshake = Handshake { place, query: query.as_deref(), headers };
        self.metrics.sent(record.started.elapsed());
        let sent = Instant::now();
        let answer = upstream.shake_hands(handshake, &mut record.tries).await;
        record.upstream = Some(sent.elapsed());
        answer.inspect(|_| self.metrics.upstream_answered(sent.elapsed())).map_err(|error| {
            self.metrics.upstream_failed(error.kind());
            let (provider, text) = (target.place.provider.as_str(), error.in_full());
            tracing::warn!(provider, error = text, "a provider gave no answer");
            Rejection::of_upstream(&error)
        })
    }
}

/// Whether a head asks for a WebSocket with all that its provider needs to answer (RFC 6455 section 4.2.1).
fn may_upgrade(head: &request::Parts) -> bool {
    let request::Parts { method, version, headers, .. } = head;
    let version_13 = head::only(headers, &SEC_WEBSOCKET_VERSION);
    *method == Method::GET
        && *version == Version::HTTP_11
        && has_token(headers, &CONNECTION, "upgrade")
        && version_13.is_ok_and(|value| value.is_some_and(|value| value == "13"))
        && head::only(headers, &SEC_WEBSOCKET_KEY).is_ok_and(|key| key.is_some())
}
