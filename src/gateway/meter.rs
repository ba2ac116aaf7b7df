//! The answer's body on its way back: bytes untouched, what they show noted beside them, one end.
//!
//! The body ends exactly once, as [`End`]; what a metered call is charged follows from the end and from what had been
//! seen by then (semantics.md section 4). Settling only sends: the settler does the rest.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::charging::{Bill, Meter};
use super::jobs::Watch;
use super::limits::Running;
use super::paced::{BodyError, Paced};
use super::record::{Ending, Record};
use super::tenancy::Making;
use crate::credit::ClaimName;
use crate::ledger::{Call, Charge};
use crate::metrics::{HoldOutcome, Metrics, Open};
use crate::provider::include_usage::Sieve;

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The provider sent all of it and the client took all of it.
    Complete,
    /// The provider's side broke off.
    Failed,
    /// The client's side went away.
    Cancelled,
}

/// An answer's body.
pub enum Answer {
    /// Made by the gateway.
    Own(Full<Bytes>),
    /// Passed through from a provider.
    Passed(Box<Passed>),
}

/// A body that is passed through, until it has ended.
pub struct Passed(Option<Flow>);

/// What flows through, and what travels with it.
struct Flow {
    body: Paced,
    /// Takes out what the gateway asked for and the client doesn't expect.
    sieve: Option<Sieve>,
    /// Why the body broke off, while what had been held back of it still passes.
    broken: Option<BodyError>,
    metered: Option<Box<Metered>>,
    watch: Option<Box<Watch>>,
    record: Option<Record>,
    _stream: Option<Open>,
    /// Its place among the requests in flight.
    place: Option<OwnedSemaphorePermit>,
}

/// What a metered call's body carries along.
pub struct Metered {
    /// The guard of its hold.
    pub call: Call,
    /// Reads what it comes to.
    pub meter: Meter,
    /// What is read on for when the client has left.
    pub after: AfterLeaving,
    /// Counts the charge.
    pub metrics: Arc<Metrics>,
    /// The key under which the client may repeat the call.
    pub key: Option<ClaimName>,
    /// Its place among the account's running calls.
    pub running: Running,
    /// Notes what it makes.
    pub made: Option<Making>,
}

/// What becomes of an answer whose client has left before its end, if its end tells more than its price.
#[derive(Clone)]
pub struct AfterLeaving {
    /// How long it is read on; nothing if it isn't.
    pub read_on: Option<Duration>,
    /// The gateway stops: nothing is read on any more.
    pub stop: CancellationToken,
}

impl Metered {
    fn see(&mut self, bytes: &[u8]) {
        if let Some(made) = &mut self.made {
            made.see(bytes);
        }
        if let Some(so_far) = self.meter.see(bytes) {
            self.call.confirm(so_far);
        }
    }

    fn end(mut self, end: End, client: End) -> Bill {
        if let (Some(key), End::Complete) = (self.key, client) {
            self.call.delivered(key);
        }
        let bill = self.meter.bill(end);
        let (charge, outcome) = match bill.due {
            Some(amount) => {
                (Charge::Settle(amount, bill.work, self.meter.job()), HoldOutcome::Settled)
            }
            None => (Charge::Release, HoldOutcome::Released),
        };
        self.call.resolve(charge);
        self.metrics.hold_ended(outcome);
        bill
    }
}

impl Answer {
    /// A body of the gateway's own.
    pub fn own(body: Bytes) -> Self {
        Self::Own(Full::new(body))
    }

    /// A provider's body.
    pub fn passed(
        body: Incoming,
        sieve: Option<Sieve>,
        metered: Option<Box<Metered>>,
        watch: Option<Box<Watch>>,
        record: Record,
        stream: Option<Open>,
    ) -> Self {
        let body = Paced::new(body, record.pause);
        let (record, broken, place) = (Some(record), None, None);
        let mut flow = Flow { body, sieve, broken, metered, watch, record, _stream: stream, place };
        if flow.body.is_end_stream() {
            flow.end(End::Complete);
        }
        Self::Passed(Box::new(Passed(Some(flow))))
    }

    /// The same, in its place among the requests in flight until it has ended. The gateway's own words have ended as
    /// good as at once.
    pub fn in_place(mut self, place: OwnedSemaphorePermit) -> Self {
        if let Self::Passed(passed) = &mut self
            && let Some(flow) = &mut passed.0
        {
            flow.place = Some(place);
        }
        self
    }
}

impl Flow {
    /// Ends the body, once.
    fn end(&mut self, end: End) {
        self.end_for(end, end);
    }

    /// The same, where the provider's side ended otherwise than the client's.
    fn end_for(&mut self, provider: End, client: End) {
        let bill = self.metered.take().map(|metered| metered.end(provider, client));
        if let Some(watch) = self.watch.take().filter(|_| provider == End::Complete) {
            watch.end();
        }
        self.place = None;
        let Some(mut record) = self.record.take() else { return };
        record.ending = match client {
            End::Complete => Ending::Complete,
            End::Failed => Ending::Broken,
            End::Cancelled => Ending::ClientLeft,
        };
        if bill.is_some() {
            record.bill = bill;
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(error) = self.broken.take() {
                return Poll::Ready(Some(Err(error)));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let (Some(metered), Some(bytes)) = (&mut self.metered, frame.data_ref()) {
                        metered.see(bytes);
                    }
                    if let (Some(watch), Some(bytes)) = (&mut self.watch, frame.data_ref()) {
                        watch.see(bytes);
                    }
                    // hyper does not ask again once it has all the bytes that were announced.
                    let is_last = self.body.is_end_stream();
                    if is_last {
                        self.end(End::Complete);
                    }
                    if let Some(frame) = self.sifted(frame, is_last) {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Some(Err(error)) => {
                    self.end(End::Failed);
                    self.broken = Some(error);
                    if let Some(held) = self.held_back() {
                        return Poll::Ready(Some(Ok(held)));
                    }
                }
                None => {
                    self.end(End::Complete);
                    return Poll::Ready(self.held_back().map(Ok));
                }
            }
        }
    }

    /// What of a frame may pass; nothing if all of it is held back.
    fn sifted(&mut self, frame: Frame<Bytes>, is_last: bool) -> Option<Frame<Bytes>> {
        let Some(sieve) = &mut self.sieve else { return Some(frame) };
        let bytes = match frame.into_data() {
            Ok(bytes) => bytes,
            // Bytes come before trailers, which end the body. No provider has been seen to send any.
            Err(trailers) => return self.held_back().or(Some(trailers)),
        };
        let passes = sieve.feed(bytes);
        if !is_last {
            return (!passes.is_empty()).then(|| Frame::data(passes));
        }
        let last = sieve.finish();
        Some(Frame::data(if last.is_empty() { passes } else { [passes, last].concat().into() }))
    }

    fn is_over(&self) -> bool {
        let holds_back = self.sieve.as_ref().is_some_and(Sieve::holds);
        self.body.is_end_stream() && self.broken.is_none() && !holds_back
    }

    fn held_back(&mut self) -> Option<Frame<Bytes>> {
        let held = self.sieve.as_mut()?.finish();
        (!held.is_empty()).then(|| Frame::data(held))
    }

    /// Whether the client's leaving ends less than the whole.
    fn goes_on(&self) -> Option<AfterLeaving> {
        let metered =
            self.metered.as_ref().filter(|metered| metered.meter.gains_by_reading_on())?;
        Some(metered.after.clone())
    }

    /// Reads on without the client, so that what the provider reports at the end is charged.
    async fn read_on(mut self, limit: Duration, stop: CancellationToken) {
        let reading = async {
            loop {
                let frame =
                    std::future::poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await;
                match (frame, &mut self.metered) {
                    (Some(Ok(frame)), Some(metered)) => {
                        if let Some(bytes) = frame.data_ref() {
                            metered.see(bytes);
                        }
                    }
                    (Some(Ok(_)), None) => {}
                    (Some(Err(_)), _) => return End::Failed,
                    (None, _) => return End::Complete,
                }
            }
        };
        let end = tokio::select! {
            ended = timeout(limit, reading) => ended.unwrap_or(End::Cancelled),
            () = stop.cancelled() => End::Cancelled,
        };
        self.end_for(end, End::Cancelled);
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        let Some(mut flow) = self.0.take() else { return };
        let reads_on = flow.goes_on().and_then(|after| Some((after.read_on?, after.stop)));
        match (reads_on, Handle::try_current()) {
            (Some((limit, stop)), Ok(runtime)) => {
                runtime.spawn(flow.read_on(limit, stop));
            }
            (None, _) | (_, Err(_)) => flow.end(End::Cancelled),
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Own(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Passed(passed) => match &mut passed.0 {
                Some(flow) => flow.poll(cx),
                None => Poll::Ready(None),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Passed(passed) => passed.0.as_ref().is_none_or(Flow::is_over),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Passed(passed) => match &passed.0 {
                // What is taken out is announced by nobody.
                Some(flow) if flow.sieve.is_none() => flow.body.size_hint(),
                Some(_) | None => SizeHint::default(),
            },
        }
    }
}
