//! HTTP/2 to a provider: chosen in the handshake or known beforehand, many calls on one connection.

use std::path::Path;

use bytes::Bytes;
use http::Response;
use tokio::net::TcpListener;

use crate::harness::{Front, Provider, Setup, World};
use crate::redis::secure::certificates;

async fn over(front: &Front, http2: &str, trusted: Option<&Path>) -> World {
    let scheme = if trusted.is_some() { "https" } else { "http" };
    let setup = Setup::new()
        .account("a", 200)
        // Each thread has connections of its own.
        .set("limits.threads", "1")
        .set("provider.openai.http2", &format!("'{http2}'"))
        .base_url(&format!("{scheme}://{}/v1", front.address));
    match trusted {
        Some(folder) => setup.trust(folder.join("ca.pem")).start().await,
        None => setup.start().await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_share_a_connection_until_it_is_full() {
    let provider = Provider::start().await;
    let front = Front::plain(provider.address).await;
    let world = over(&front, "only", None).await;
    let answer = world.chat("a").send().await;
    let seen = provider.only().await;
    assert_eq!((answer.status.as_u16(), answer.sha256()), (200, seen.response_sha256.clone()));
    assert_eq!(seen.headers["authorization"], "...ests");
    for name in ["host", "connection", "transfer-encoding"] {
        assert!(!seen.headers.contains_key(name), "{name}: {seen:?}");
    }
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(world.stream("a").sim("hold=after:1").open().await);
    }
    assert_eq!(front.connections(), 1);
    streams.push(world.stream("a").sim("hold=after:1").open().await);
    assert_eq!(front.connections(), 2);
    provider.holds(101).await;
    provider.release().await;
    for stream in streams {
        assert_eq!(stream.whole().await.status, 200);
    }
    assert_eq!(world.left("a").await, 98);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tls_the_server_chooses() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let provider = Provider::start().await;
    for (spoken, http2, chosen) in [
        (&["h2", "http/1.1"][..], "auto", "h2"),
        (&["http/1.1"], "auto", "http/1.1"),
        (&["h2", "http/1.1"], "off", ""),
        (&["h2"], "only", "h2"),
    ] {
        let front = Front::tls(provider.address, folder.path(), spoken).await;
        let world = over(&front, http2, Some(folder.path())).await;
        for ask in [world.chat("a"), world.stream("a"), world.ask("GET", "/v1/models").of("a")] {
            assert_eq!(ask.send().await.status, 200, "{spoken:?} {http2}");
            world.resolved().await;
        }
        let protocols = front.protocols();
        assert!(protocols.iter().all(|protocol| protocol == chosen), "{protocols:?}");
        if chosen == "h2" {
            assert_eq!(protocols.len(), 1);
        }
        front.close().await;
        assert_eq!(world.chat("a").send().await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_not_trusted_is_refused() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificates(ours.path());
    certificates(theirs.path());
    let provider = Provider::start().await;
    let front = Front::tls(provider.address, theirs.path(), &["h2"]).await;
    let world = over(&front, "auto", Some(ours.path())).await;
    assert_eq!(world.chat("a").send().await.code(), "provider_unreachable");
    assert!(provider.seen().await.is_empty());
    assert_eq!(world.left("a").await, 200);
}

/// A server that resets the second stream of its first connection, and serves all others.
async fn turns_away(listener: TcpListener, how: TurnsAway) {
    for connection in 0.. {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut http = h2::server::handshake(stream).await.unwrap();
            let mut number = 0;
            while let Some(Ok((_, mut respond))) = http.accept().await {
                number += 1;
                if connection == 0 && number == 2 {
                    let reason = match how {
                        TurnsAway::Refused => h2::Reason::REFUSED_STREAM,
                        TurnsAway::Broken => h2::Reason::INTERNAL_ERROR,
                    };
                    respond.send_reset(reason);
                    continue;
                }
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                body.send_data(Bytes::from_static(b"{}"), true).unwrap();
            }
        });
    }
}

#[derive(Clone, Copy)]
enum TurnsAway {
    Refused,
    Broken,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_refused_is_asked_for_again() {
    for (how, expected) in [(TurnsAway::Refused, 200), (TurnsAway::Broken, 502)] {
        for path in ["/v1/chat/completions", "/v1/batches"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let task = tokio::spawn(turns_away(listener, how));
            let setup = Setup::new().account("a", 10).set("provider.openai.http2", "'only'");
            let world = setup.set("limits.threads", "1").upstream(address).start().await;
            let body = r#"{"model": "sim", "messages": []}"#;
            assert_eq!(world.ask("POST", path).of("a").body(body).send().await.status, 200);
            let again = world.ask("POST", path).of("a").body(body).send().await;
            assert_eq!(again.status, expected, "{path}");
            task.abort();
        }
    }
}
