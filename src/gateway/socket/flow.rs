//! The bytes of a socket, both ways: each passes as it came, in its order, but the last piece of a message waits for what the
//! ledger says to it.
//!
//! The two directions wait for each other nowhere, so that two peers that both write before they read don't stop. All that the
//! gateway itself says to the client is written by the direction that writes there, between two messages.

use bytes::BytesMut;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio_util::sync::CancellationToken;

use super::super::record::Ending;
use super::super::tenancy::Making;
use super::frames::{self, Frames, Garbled, Mark};
use super::goodbye::Farewell;
use super::session::{Session, Verdict};
use crate::provider::socket::{ClientReader, ServerReader};

/// Bytes that are read at once.
const CHUNK: usize = 16 << 10;

/// Bytes of a client's message that are kept until it is whole. Of a larger one all but the end passes as it comes, and it can't
/// be left out any more.
const KEPT_MAX: usize = 256 << 10;

/// How long the other side of an orderly goodbye may take.
const CLOSING: std::time::Duration = std::time::Duration::from_secs(10);

/// What is read of a client that was told goodbye, so that it reads it.
const LINGER: std::time::Duration = std::time::Duration::from_secs(2);

/// Why a direction has ended.
enum Over {
    /// The client's side is gone.
    Client,
    /// The provider's side is gone.
    Provider,
    /// Nothing more of the client's is to pass, though it is still there.
    Deaf,
    /// The gateway has said goodbye.
    Told(Farewell),
    /// The bytes are no WebSocket.
    Garbled,
}

impl Session {
    /// Passes bytes until the socket has ended, and resolves what is held by then.
    pub async fn run(
        &self,
        client: Upgraded,
        provider: Upgraded,
        stop: &CancellationToken,
        cut: &CancellationToken,
    ) {
        let _open = self.gateway.metrics.stream_opened();
        let (mut from_client, mut to_client) = split(TokioIo::new(client));
        let (from_provider, mut to_provider) = split(TokioIo::new(provider));
        let mut client_frames = Frames::default();
        let over = self
            .pass(
                (&mut from_client, from_provider),
                (&mut to_client, &mut to_provider),
                &mut client_frames,
                (stop, cut),
            )
            .await;
        let (ending, goodbye) = match over {
            Some(Over::Provider) if self.has_client() => (Ending::Broken, None),
            Some(Over::Client | Over::Deaf | Over::Provider) => (Ending::ClientLeft, None),
            Some(Over::Told(farewell)) => (farewell.ending, Some((farewell.code, farewell.reason))),
            Some(Over::Garbled) => (Ending::Broken, Some((1002, "protocol error".to_owned()))),
            None => (self.farewell().map_or(Ending::ClientLeft, |farewell| farewell.ending), None),
        };
        self.end(ending);
        // What is left is politeness: whoever is gone doesn't hear it.
        if let Some((code, reason)) = goodbye
            && client_frames.is_between_frames()
        {
            let mut mask = [0; 4];
            let _ = getrandom::fill(&mut mask);
            let _ = to_provider.write_all(&frames::close(code, &reason, Some(mask))).await;
        }
        let _ = to_provider.shutdown().await;
        let _ = to_client.shutdown().await;
        let mut nowhere = tokio::io::sink();
        let rest = tokio::io::copy(&mut from_client, &mut nowhere);
        let _ = tokio::time::timeout(LINGER, rest).await;
    }

    async fn pass(
        &self,
        (from_client, from_provider): (&mut (impl AsyncRead + Unpin), impl AsyncRead + Unpin),
        (to_client, to_provider): (&mut (impl AsyncWrite + Unpin), &mut (impl AsyncWrite + Unpin)),
        client_frames: &mut Frames,
        (stop, cut): (&CancellationToken, &CancellationToken),
    ) -> Option<Over> {
        let up = self.upwards(from_client, to_provider, client_frames);
        let down = self.downwards(from_provider, to_client);
        tokio::pin!(up, down);
        let idle = self.gateway.config.limits.socket_idle_timeout;
        let (mut hears, mut stopping) = (true, false);
        loop {
            tokio::select! {
                over = &mut down => return Some(over),
                over = &mut up, if hears => match over {
                    Over::Client if self.client_left() => {
                        let after = &self.gateway.after_leaving;
                        let Some(limit) = after.read_on else { return Some(Over::Client) };
                        hears = false;
                        self.end_within(limit);
                    }
                    Over::Deaf => hears = false,
                    over => return Some(over),
                },
                is_idle = self.time_is_over(idle) => {
                    if !is_idle {
                        return None;
                    }
                    self.leave(going("idle"));
                }
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.finish(going("the gateway is stopping"));
                }
                () = cut.cancelled() => return None,
            }
        }
    }

    /// The client's bytes, to the provider.
    async fn upwards(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        frames: &mut Frames,
    ) -> Over {
        let (mut reader, mut named) = (ClientReader::new(self.protocol), self.named());
        let (mut chunk, mut kept) = (BytesMut::with_capacity(CHUNK), BytesMut::new());
        // Some of the message that is coming has passed already.
        let mut has_passed = false;
        loop {
            chunk.clear();
            if !from.read_buf(&mut chunk).await.is_ok_and(|read| read > 0) {
                return Over::Client;
            }
            self.touch();
            let mut rest = &chunk[..];
            while !rest.is_empty() {
                let scanned = frames.scan(rest, |payload| {
                    reader.feed(payload);
                    named.feed(payload);
                });
                let Ok((length, mark)) = scanned else { return Over::Garbled };
                kept.extend_from_slice(&rest[..length]);
                rest = &rest[length..];
                let mut passes = kept.len() > KEPT_MAX;
                match mark {
                    Mark::Message => {
                        let event = reader.event();
                        let things = named.things(&event);
                        let verdict = self.said(event, things, !has_passed).await;
                        passes = verdict == Verdict::Passes;
                        match verdict {
                            Verdict::Passes => {}
                            Verdict::Dropped => kept.clear(),
                            Verdict::Ends => return Over::Deaf,
                        }
                    }
                    Mark::Close => {
                        passes = true;
                        self.end_within(CLOSING);
                    }
                    Mark::Control => passes |= frames.is_between_messages(),
                    Mark::Within => {}
                }
                if passes {
                    if to.write_all(&kept).await.is_err() {
                        return Over::Deaf;
                    }
                    kept.clear();
                }
                has_passed = !frames.is_between_messages() && (passes || has_passed);
            }
        }
    }

    /// The provider's bytes, to the client.
    async fn downwards(
        &self,
        mut from: impl AsyncRead + Unpin,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Over {
        let mut frames = Frames::default();
        let mut reader = (ServerReader::new(self.protocol), self.making());
        let mut chunk = BytesMut::with_capacity(CHUNK);
        loop {
            if frames.is_between_messages()
                && let Some(over) = self.speak(to).await
            {
                return over;
            }
            chunk.clear();
            tokio::select! {
                read = from.read_buf(&mut chunk) => {
                    if !read.is_ok_and(|read| read > 0) {
                        return Over::Provider;
                    }
                }
                () = self.wake.notified() => continue,
            }
            self.touch();
            match self.pass_down(&chunk, &mut frames, &mut reader, to).await {
                Ok(Some(over)) => return over,
                Ok(None) => {}
                Err(Garbled) => return Over::Garbled,
            }
        }
    }

    async fn pass_down(
        &self,
        mut rest: &[u8],
        frames: &mut Frames,
        (reader, making): &mut (ServerReader, Option<Making>),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Result<Option<Over>, Garbled> {
        while !rest.is_empty() {
            let begins = frames.is_between_messages();
            let (length, mark) = frames.scan(rest, |payload| {
                reader.feed(payload);
                if let Some(making) = making {
                    making.see(payload);
                }
            })?;
            if let (Mark::Message, Some(making)) = (mark, making.as_mut()) {
                making.renew();
            }
            if mark == Mark::Message
                && let Err(rejection) = self.heard(&reader.event()).await
            {
                self.cut(&rejection);
                // In the middle of a message nothing else can be said.
                let over = if begins { self.speak(to).await } else { None };
                return Ok(over.or_else(|| self.farewell().map(Over::Told)));
            }
            if mark == Mark::Close {
                self.end_within(CLOSING);
            }
            if self.has_client() {
                if to.write_all(&rest[..length]).await.is_err() && !self.reads_on() {
                    return Ok(Some(Over::Client));
                }
            } else if self.is_quiet() {
                return Ok(Some(Over::Client));
            }
            rest = &rest[length..];
            if frames.is_between_messages()
                && let Some(over) = self.speak(to).await
            {
                return Ok(Some(over));
            }
        }
        Ok(None)
    }

    /// Says what is to be said, between two messages; the goodbye ends it.
    async fn speak(&self, to: &mut (impl AsyncWrite + Unpin)) -> Option<Over> {
        if !self.has_client() {
            return None;
        }
        while let Some(words) = self.next_words() {
            if to.write_all(&frames::text(&words)).await.is_err() {
                return Some(Over::Client);
            }
        }
        let farewell = self.farewell()?;
        let _ = to.write_all(&frames::close(farewell.code, &farewell.reason, None)).await;
        Some(Over::Told(farewell))
    }

    /// The client is gone; whether what it asked for is read on for its report.
    fn reads_on(&self) -> bool {
        match self.gateway.after_leaving.read_on {
            Some(limit) if self.client_left() => {
                self.end_within(limit);
                true
            }
            Some(_) | None => false,
        }
    }
}

/// A goodbye that nobody is to blame for.
fn going(reason: &'static str) -> Farewell {
    Farewell { code: 1001, reason: reason.to_owned(), ending: Ending::Refused("socket_closed") }
}
