//! A body whose sender may not pause for too long: the caller's on its way up, the provider's on its way back.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

/// A body's bytes did not come.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body that is passed through, and fails when its sender pauses for too long.
pub struct Paced {
    body: Incoming,
    pause: Duration,
    /// Made when the sender is waited for the first time.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the sender was waited for when the reader last asked. A reader that doesn't ask keeps nobody waiting.
    is_waiting: bool,
}

impl Paced {
    /// `body`, whose sender may pause for `pause`.
    pub fn new(body: Incoming, pause: Duration) -> Self {
        Self { body, pause, timer: None, is_waiting: false }
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let pause = self.pause;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(pause)));
        if !std::mem::replace(&mut self.is_waiting, true) {
            timer.as_mut().reset(Instant::now() + pause);
        }
        timer.as_mut().poll(cx)
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let paced = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut paced.body).poll_frame(cx) {
            paced.is_waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(paced.poll_pause(cx));
        Poll::Ready(Some(Err("the sender of a body paused for too long".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
