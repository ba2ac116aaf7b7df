//! The answer's body on its way back: bytes untouched, what they show noted beside them, one end.
//!
//! The body ends exactly once, as [`End`]; what a metered call is charged follows from the end and from what had been
//! seen by then (semantics.md section 4). Settling only sends: the settler does the rest.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

use super::limits::Running;
use super::paced::{BodyError, Paced};
use super::record::{Ending, Record};
use crate::credit::Credits;
use crate::ledger::{Call, Charge};
use crate::metrics::{HoldOutcome, Metrics, Open};
use crate::provider::Evidence;

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

/// A body that is passed through.
pub struct Passed {
    body: Paced,
    metered: Option<Metered>,
    record: Option<Record>,
    _stream: Option<Open>,
    /// Its place among the requests in flight.
    place: Option<OwnedSemaphorePermit>,
}

/// What a metered call's body carries along.
pub struct Metered {
    /// The guard of its hold.
    pub call: Call,
    /// What it costs.
    pub price: Credits,
    /// What the bytes have shown.
    pub evidence: Evidence,
    /// Counts the charge.
    pub metrics: Arc<Metrics>,
    /// Its place among the account's running calls.
    pub running: Running,
}

impl Metered {
    fn see(&mut self, bytes: &[u8]) {
        if self.evidence.saw_output() {
            return;
        }
        self.evidence.feed(bytes);
        if self.evidence.saw_output() {
            self.call.confirm(self.price);
        }
    }

    fn end(self, end: End) -> Charge {
        let charge = charge(end, &self.evidence, self.price);
        self.call.resolve(charge);
        self.metrics.hold_ended(match charge {
            Charge::Settle(_) => HoldOutcome::Settled,
            Charge::Release => HoldOutcome::Released,
        });
        charge
    }
}

/// What a per-call price comes to (semantics.md section 4).
pub fn charge(end: End, seen: &Evidence, price: Credits) -> Charge {
    let readable = seen.is_readable();
    let whole_but_empty = seen.saw_done() && !seen.saw_error();
    let due = seen.saw_output()
        || match end {
            // A body without events is whole when it ends. A stream is whole if it says so; one that only carried an
            // error, or ended without a word, did no work.
            End::Complete => !seen.awaits_output() || whole_but_empty,
            // A JSON answer that breaks off is of no use to anybody.
            End::Failed => false,
            // The work was done before the first byte came; who has seen some of it may have seen all but the last.
            End::Cancelled => whole_but_empty || (!readable && seen.saw_bytes()),
        };
    if due { Charge::Settle(price) } else { Charge::Release }
}

impl Answer {
    /// A body of the gateway's own.
    pub fn own(body: Bytes) -> Self {
        Self::Own(Full::new(body))
    }

    /// A provider's body.
    pub fn passed(
        body: Incoming,
        metered: Option<Metered>,
        record: Record,
        stream: Option<Open>,
    ) -> Self {
        let body = Paced::new(body, record.pause);
        let (record, place) = (Some(record), None);
        let mut passed = Passed { body, metered, record, _stream: stream, place };
        if passed.body.is_end_stream() {
            passed.end(End::Complete);
        }
        Self::Passed(Box::new(passed))
    }

    /// The same, in its place among the requests in flight until it has ended. The gateway's own words have ended as
    /// good as at once.
    pub fn in_place(mut self, place: OwnedSemaphorePermit) -> Self {
        if let Self::Passed(passed) = &mut self {
            passed.place = Some(place);
        }
        self
    }
}

impl Passed {
    /// Ends the body, once.
    fn end(&mut self, end: End) {
        let charge = self.metered.take().map(|metered| metered.end(end));
        self.place = None;
        let Some(mut record) = self.record.take() else { return };
        record.ending = match end {
            End::Complete => Ending::Complete,
            End::Failed => Ending::Broken,
            End::Cancelled => Ending::ClientLeft,
        };
        match charge {
            Some(Charge::Settle(amount)) => record.charged = Some(amount),
            Some(Charge::Release) => record.charged = Some(Credits::ZERO),
            None => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                if let (Some(metered), Some(bytes)) = (&mut self.metered, frame.data_ref()) {
                    metered.see(bytes);
                }
                // hyper does not ask again once it has all the bytes that were announced.
                if self.body.is_end_stream() {
                    self.end(End::Complete);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.end(End::Failed);
                Poll::Ready(Some(Err(error)))
            }
            None => {
                self.end(End::Complete);
                Poll::Ready(None)
            }
        }
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        self.end(End::Cancelled);
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
            Self::Passed(passed) => passed.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Passed(passed) => passed.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Passed(passed) => passed.body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Dialect;

    const OPENING: &str =
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    const TEXT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
    const ERROR: &str = "data: {\"error\":{\"message\":\"overloaded\"}}\n\n";
    const DONE: &str = "data: [DONE]\n\n";

    /// The table of semantics.md section 4: what was seen, and the charge for each end.
    #[track_caller]
    fn check(kind: &str, seen: &[&str], complete: bool, failed: bool, cancelled: bool) {
        for (end, due) in
            [(End::Complete, complete), (End::Failed, failed), (End::Cancelled, cancelled)]
        {
            let mut evidence = Evidence::for_response(Dialect::OpenAi, Some(kind), None);
            for bytes in seen {
                evidence.feed(bytes.as_bytes());
            }
            let price = Credits::whole(1);
            let expected = if due { Charge::Settle(price) } else { Charge::Release };
            assert_eq!(charge(end, &evidence, price), expected, "{kind} {seen:?} {end:?}");
        }
    }

    #[test]
    fn a_stream_is_due_from_its_first_output() {
        let stream = "text/event-stream; charset=utf-8";
        check(stream, &[], false, false, false);
        check(stream, &[OPENING], false, false, false);
        check(stream, &[": ping\n\n", ERROR], false, false, false);
        check(stream, &[OPENING, TEXT], true, true, true);
        check(stream, &[OPENING, TEXT, ERROR], true, true, true);
        check(stream, &[OPENING, DONE], true, false, true);
        check(stream, &[OPENING, ERROR, DONE], false, false, false);
    }

    #[test]
    fn a_body_is_due_when_it_is_whole_or_was_not_waited_for() {
        check("application/json", &[], true, false, false);
        check("application/json", &["{\"choices\":"], true, false, true);
        check("audio/mpeg", &[], true, false, false);
        check("audio/mpeg", &["ID3"], true, true, true);
    }
}
