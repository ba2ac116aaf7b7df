//! An answer's body as a list of steps: bytes, waits, and the places where it is cut.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame};

use super::control::Exchange;
use super::switches::{Point, Switches};

#[derive(Debug)]
enum Step {
    Data(Bytes),
    /// Lets the connection write out what it has.
    Flush,
    Wait(Duration),
    Hold,
    Cut,
}

/// A body that carries out its steps and tells the exchange how it ended.
pub(super) struct Script {
    steps: VecDeque<Step>,
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    exchange: Option<Exchange>,
}

impl Script {
    /// A body that is none of the exchanges that are remembered.
    pub(super) fn plain(bytes: Bytes) -> Self {
        Self { steps: VecDeque::from([Step::Data(bytes)]), waiting: None, exchange: None }
    }

    /// A body whose pieces are sent as the switches say.
    pub(super) fn of_pieces(pieces: Vec<Bytes>, switches: &Switches, exchange: Exchange) -> Self {
        let steps = match switches.split {
            Some(seed) => split(steps(pieces, switches), seed),
            None => steps(pieces, switches),
        };
        if steps.is_empty() {
            exchange.answered();
        }
        Self { steps, waiting: None, exchange: Some(exchange) }
    }

    /// A connection that closes without an answer: the body fails before the head has left.
    pub(super) fn cut(exchange: Exchange) -> Self {
        Self { steps: VecDeque::from([Step::Cut]), waiting: None, exchange: Some(exchange) }
    }
}

fn steps(pieces: Vec<Bytes>, switches: &Switches) -> VecDeque<Step> {
    let mut steps = VecDeque::with_capacity(pieces.len() + 4);
    if switches.break_at == Some(Point::AfterHeaders) {
        return VecDeque::from([Step::Flush, Step::Cut]);
    }
    if matches!(switches.hold_at, Some(Point::AfterHeaders | Point::After(0))) {
        steps.extend([Step::Flush, Step::Hold]);
    }
    let after = |point: Option<Point>, sent| point == Some(Point::After(sent));
    let last = pieces.len();
    if after(switches.break_at, 0) {
        steps.extend([Step::Flush, Step::Cut]);
        return steps;
    }
    for (at, piece) in pieces.into_iter().enumerate() {
        let sent = at + 1;
        steps.push_back(Step::Data(piece));
        if after(switches.hold_at, sent) {
            steps.extend([Step::Flush, Step::Hold]);
        }
        if after(switches.break_at, sent) {
            steps.extend([Step::Flush, Step::Cut]);
            return steps;
        }
        if !switches.gap.is_zero() && sent < last {
            steps.push_back(Step::Wait(switches.gap));
        }
    }
    steps
}

/// Joins the bytes between two other steps and cuts them elsewhere, each part a write of its own.
fn split(steps: VecDeque<Step>, seed: u64) -> VecDeque<Step> {
    let mut state = seed;
    let mut cut = Vec::new();
    let mut joined = BytesMut::new();
    for step in steps {
        if let Step::Data(bytes) = step {
            joined.extend_from_slice(&bytes);
        } else {
            cut_up(&mut joined, &mut state, &mut cut);
            cut.push(step);
        }
    }
    cut_up(&mut joined, &mut state, &mut cut);
    // The last step must be the last data: the body ends with it.
    if matches!(cut.last(), Some(Step::Flush)) {
        cut.pop();
    }
    cut.into()
}

fn cut_up(joined: &mut BytesMut, state: &mut u64, cut: &mut Vec<Step>) {
    while !joined.is_empty() {
        // Knuth's linear congruential generator; its high bits are random enough to cut at.
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let length = 1 + usize::try_from(*state >> 33).unwrap_or_default() % 64;
        let part = joined.split_to(length.min(joined.len())).freeze();
        cut.extend([Step::Data(part), Step::Flush]);
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                ready!(waiting.as_mut().poll(cx));
                self.waiting = None;
            }
            let Some(step) = self.steps.pop_front() else {
                if let Some(exchange) = &self.exchange {
                    exchange.answered();
                }
                return Poll::Ready(None);
            };
            match step {
                Step::Data(bytes) => {
                    if let Some(exchange) = &self.exchange {
                        exchange.sent(&bytes);
                        if self.steps.is_empty() {
                            exchange.answered();
                        }
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Step::Flush => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Step::Wait(time) => self.waiting = Some(Box::pin(tokio::time::sleep(time))),
                Step::Hold => {
                    if let Some(exchange) = &self.exchange {
                        self.waiting = Some(Box::pin(Arc::clone(exchange.log()).held()));
                    }
                }
                Step::Cut => {
                    if let Some(exchange) = &self.exchange {
                        exchange.broken();
                    }
                    let error = io::Error::new(io::ErrorKind::ConnectionAborted, "cut by a switch");
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty() && self.waiting.is_none()
    }
}
