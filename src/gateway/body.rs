//! Request bodies: read whole where the price needs a look at them, passed through where it does not.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::paced::{BodyError, Paced};
use super::rejection::Rejection;
use crate::coding::{Coding, Decoder};

/// Bytes for which one permit of the budget stands.
const PERMIT_BYTES: usize = 1024;

/// What is read of a refused body, and for how long, so that its sender hears the refusal.
const FORGET_BYTES: usize = 16 << 20;
const FORGET_TIME: Duration = Duration::from_secs(5);

/// A body that was read whole: as it was sent, and what it says.
pub struct Whole {
    sent: Bytes,
    share: Budgeted,
    /// Its text, if it is compressed.
    decoded: Option<(Bytes, Budgeted)>,
}

/// A request body on its way to the provider.
pub enum Outgoing {
    /// Read whole before; gives its share of the budget back when it is dropped.
    Whole(Full<Bytes>, [Option<Budgeted>; 2]),
    /// Passed through as it comes.
    Through(Paced),
}

/// A share of the memory for request bodies.
pub struct Budgeted {
    _permit: OwnedSemaphorePermit,
}

impl Budgeted {
    /// `bytes`, with this share of the memory for as long as any of them live.
    pub fn keep(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Kept { bytes, _share: self })
    }
}

struct Kept {
    bytes: Bytes,
    _share: Budgeted,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The memory that all request bodies may take together.
pub struct Budget {
    permits: Arc<Semaphore>,
}

impl Budget {
    /// A budget of `bytes`.
    pub fn new(bytes: usize) -> Self {
        let permits = bytes.div_ceil(PERMIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(permits)) }
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Rejection> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        let taken = Arc::clone(&self.permits).try_acquire_many_owned(permits);
        taken.map_err(|_| Rejection::BodiesTooLarge)
    }
}

/// A text that is gathered from its pieces.
#[derive(Default)]
pub struct Gathered {
    bytes: Vec<u8>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Gathered {
    /// Takes the next piece, of at most `limit` bytes in all.
    pub fn feed(&mut self, more: &[u8], limit: usize, budget: &Budget) -> Result<(), Rejection> {
        let (length, capacity) = (self.bytes.len() + more.len(), self.bytes.capacity());
        if length > limit {
            return Err(Rejection::BodyTooLarge { limit });
        }
        if length > capacity {
            // Twice as much while there is memory, so that little is copied; else as much as it takes.
            let room = capacity.saturating_mul(2).clamp(length, limit);
            let (room, permit) = match budget.take(room - capacity) {
                Ok(permit) => (room, permit),
                Err(_) => (length, budget.take(length - capacity)?),
            };
            match &mut self.permit {
                Some(own) => own.merge(permit),
                None => self.permit = Some(permit),
            }
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(more);
        Ok(())
    }

    /// What has come.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A request body that nobody has read yet. Dropped unread, as it is when the request is refused, what is on its way is
/// read and forgotten, within limits: closing a connection on unread bytes resets it, and a client that is still sending
/// would then lose the answer, take it for a broken connection, and send everything again.
pub struct Unread(Option<Incoming>);

impl Unread {
    /// `body`, to be read or refused.
    pub fn new(body: Incoming) -> Self {
        Self(Some(body))
    }

    /// The body, for a reader who takes it as it comes; nothing if it is taken already.
    pub fn take(&mut self) -> Option<Incoming> {
        self.0.take()
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let left = self.0.take().filter(|body| !body.is_end_stream());
        if let (Some(body), Ok(runtime)) = (left, tokio::runtime::Handle::try_current()) {
            runtime.spawn(timeout(FORGET_TIME, forget(body)));
        }
    }
}

async fn forget(mut body: Incoming) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await
        && read < FORGET_BYTES
    {
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// Reads a whole body of at most `limit` bytes, which must not pause for longer than `pause`.
pub async fn read_whole(
    mut body: Unread,
    limit: usize,
    pause: Duration,
    budget: &Budget,
) -> Result<Whole, Rejection> {
    let Some(body) = &mut body.0 else { return Err(Rejection::Internal) };
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if expected > limit {
        return Err(Rejection::BodyTooLarge { limit });
    }
    let mut permit = budget.take(expected)?;
    let mut taken = expected;
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    loop {
        let frame = timeout(pause, body.frame()).await.map_err(|_| Rejection::BodyBroken)?;
        let Some(frame) = frame else { break };
        let Ok(data) = frame.map_err(|_| Rejection::BodyBroken)?.into_data() else { continue };
        let length = first.as_ref().map_or(0, Bytes::len) + rest.len() + data.len();
        if length > limit {
            return Err(Rejection::BodyTooLarge { limit });
        }
        if length > taken {
            permit.merge(budget.take(length - taken)?);
            taken = length;
        }
        // Most bodies come in one piece: no copy then.
        match &first {
            None => first = Some(data),
            Some(_) => rest.extend_from_slice(&data),
        }
    }
    let first = first.unwrap_or_default();
    let sent = if rest.is_empty() {
        first
    } else {
        let mut whole = BytesMut::with_capacity(first.len() + rest.len());
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&rest);
        whole.freeze()
    };
    Ok(Whole { sent, share: Budgeted { _permit: permit }, decoded: None })
}

impl Whole {
    /// The same with its text, of at most `limit` bytes, if `headers` say that it is compressed. What has no single
    /// reading is refused.
    pub fn decoded(
        self,
        headers: &HeaderMap,
        limit: usize,
        budget: &Budget,
    ) -> Result<Self, Rejection> {
        let Some(coding) = Coding::of(headers)? else { return Ok(self) };
        let mut decoder = Decoder::new(coding);
        let mut text = Gathered::default();
        decoder.feed(&self.sent, |more| text.feed(more, limit, budget))?;
        decoder.finish()?;
        let Gathered { bytes, permit } = text;
        let permit = permit.map_or_else(|| budget.take(0), Ok)?;
        Ok(Self { decoded: Some((bytes.into(), Budgeted { _permit: permit })), ..self })
    }

    /// What the body says.
    pub fn text(&self) -> &Bytes {
        self.decoded.as_ref().map_or(&self.sent, |(text, _)| text)
    }

    /// What the body says, and its share of the budget.
    pub fn into_text(self) -> (Bytes, Budgeted) {
        self.decoded.unwrap_or((self.sent, self.share))
    }

    /// The body as it is sent: as it came, or `changed`, which is not compressed; `headers` are those of the request.
    pub fn outgoing(self, changed: Option<Bytes>, headers: &mut HeaderMap) -> Outgoing {
        let Self { sent, share, decoded } = self;
        let Some(changed) = changed else {
            return Outgoing::Whole(Full::new(sent), [Some(share), None]);
        };
        headers.remove(CONTENT_ENCODING);
        let decoded = decoded.map(|(_, share)| share);
        Outgoing::Whole(Full::new(changed), [Some(share), decoded])
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Whole(body, _) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Through(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body, _) => body.is_end_stream(),
            Self::Through(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body, _) => body.size_hint(),
            Self::Through(body) => body.size_hint(),
        }
    }
}

impl Outgoing {
    /// A body of the gateway's own, or one that nobody pays memory for.
    pub fn whole(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes), [None, None])
    }

    /// The bytes, if they were read whole and none of them was sent.
    pub fn bytes(&self) -> Option<Bytes> {
        match self {
            Self::Whole(body, _) => Some(body.clone().into_inner().unwrap_or_default()),
            Self::Through(_) => None,
        }
    }

    /// The same body once more, without a share of the budget; nothing if it passes through and has bytes.
    pub fn again(&self) -> Option<Self> {
        match self {
            Self::Whole(body, _) => Some(Self::Whole(body.clone(), [None, None])),
            Self::Through(body) => body.is_end_stream().then(|| Self::whole(Bytes::new())),
        }
    }

    /// Its shares of the budget, for whoever keeps the bytes for longer than the body.
    pub fn take_budget(&mut self) -> [Option<Budgeted>; 2] {
        match self {
            Self::Whole(_, shares) => std::mem::take(shares),
            Self::Through(_) => [None, None],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_their_share_until_the_last_of_them_is_gone() {
        let budget = Budget::new(2 * PERMIT_BYTES);
        let share = Budgeted { _permit: budget.take(PERMIT_BYTES).unwrap() };
        let whole = share.keep(Bytes::from_static(b"an answer"));
        let part = whole.slice(3..);
        drop(whole);
        assert_eq!(part, "answer");
        assert!(budget.take(2 * PERMIT_BYTES).is_err());
        drop(part);
        assert!(budget.take(2 * PERMIT_BYTES).is_ok());
    }
}
