//! The handshake of a WebSocket: HTTP/1.1 on a connection of its own, which is the socket's afterwards.

use bytes::Bytes;
use http::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use tokio::time::{Instant, timeout_at};

use super::connect::Protocol;
use super::{HTTP1_BUFFER, Tries, Upstream, UpstreamError, hops, is_failure, target};
use crate::policy::Place;
use crate::provider::credentials;

/// A handshake on its way to a provider.
pub struct Handshake<'a> {
    pub place: &'a Place<'a>,
    /// Without the caller's key.
    pub query: Option<&'a str>,
    /// As the caller sent them.
    pub headers: HeaderMap,
}

/// Makes a head one of a WebSocket's handshake, on this hop.
pub fn upgrade(headers: &mut HeaderMap) {
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
}

impl Upstream {
    /// Sends a handshake to the provider's own address and waits for the head of its answer. It is tried once, and at no
    /// fallback: whoever opens sockets opens them again.
    pub async fn shake_hands(
        &self,
        handshake: Handshake<'_>,
        tries: &mut Tries,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let Handshake { place, query, mut headers } = handshake;
        let (settings, address) = (self.settings, &self.addresses[0]);
        let path = settings.dialect.below(address.path(), &place.path);
        let target = target(path, query).map_err(UpstreamError::Target)?;
        let offered = credentials::protocols_without_key(&headers);
        hops::clean_request(&mut headers);
        // Frames must be readable: no compression is agreed on.
        headers.remove(SEC_WEBSOCKET_EXTENSIONS);
        if let Some(offered) = offered {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, offered);
        }
        upgrade(&mut headers);
        address.write_key(settings.dialect.credential(place.route.language), &mut headers);
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.headers_mut() = headers;
        address.address(&mut request, &target, Protocol::Http1);
        (tries.count, tries.address) = (1, address.number);
        let limit = settings.timeouts.header;
        let until = Instant::now() + limit;
        let sending = async {
            let stream = self.dial_http1().await?;
            let mut http = http1::Builder::new();
            http.max_buf_size(HTTP1_BUFFER);
            let away = |error: hyper::Error| UpstreamError::Away(error.into());
            let (mut sender, connection) = http.handshake(stream).await.map_err(away)?;
            tokio::spawn(async move {
                if let Err(error) = connection.with_upgrades().await {
                    tracing::debug!(%error, "a provider's connection ended");
                }
            });
            sender.send_request(request).await.map_err(away)
        };
        let answer = timeout_at(until, sending).await.unwrap_or(Err(UpstreamError::Slow(limit)));
        let attempts = &address.attempts;
        let counter = match &answer {
            Ok(response) if is_failure(response.status()) => &attempts.failed,
            Ok(_) => &attempts.answered,
            Err(UpstreamError::Slow(_)) => &attempts.slow,
            Err(UpstreamError::Away(_) | UpstreamError::Target(_)) => &attempts.away,
        };
        counter.inc();
        let mut response = answer?;
        hops::clean_answer(response.headers_mut());
        Ok(response)
    }
}
