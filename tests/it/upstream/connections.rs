//! Connections to a provider are kept, and what happens to them is no client's business.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::{Front, Provider, Setup};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_serves_one_call_after_the_other() {
    let provider = Provider::start().await;
    let front = Front::plain(provider.address).await;
    let world = setup().upstream(front.address).start().await;
    for _ in 0..3 {
        for ask in [world.chat("a"), world.stream("a"), world.ask("GET", "/v1/models").of("a")] {
            assert_eq!(ask.send().await.status, 200);
            // An answer ends for its client a moment before its connection is free again.
            world.resolved().await;
        }
    }
    assert!(front.connections() < 4, "{}", front.connections());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_closed_while_it_rested_fails_no_call() {
    let provider = Provider::start().await;
    let front = Front::plain(provider.address).await;
    let world = setup().upstream(front.address).start().await;
    for _ in 0..3 {
        let store = world.ask("POST", "/v1/vector_stores").of("a").body("{}");
        for ask in [world.chat("a"), store, world.ask("GET", "/v1/models").of("a")] {
            assert_ne!(ask.send().await.status, 502);
            front.close().await;
        }
    }
    assert_eq!(front.connections(), 9);
    assert_eq!(provider.seen().await.len(), 9);
}

/// Each thread has connections of its own.
fn setup() -> Setup {
    Setup::new().account("a", 10).set("limits.threads", "1")
}

/// A server that answers the first request of its first connection, and closes on the second one that comes there. Other
/// connections are served. Counts the requests.
async fn closes_on_the_second(listener: TcpListener, requests: Arc<AtomicUsize>) {
    for connection in 0.. {
        let (mut stream, _) = listener.accept().await.unwrap();
        let requests = Arc::clone(&requests);
        tokio::spawn(async move {
            let mut buffer = vec![0; 64 * 1024];
            let mut served = 0;
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                requests.fetch_add(1, Ordering::Relaxed);
                if connection == 0 && served == 1 {
                    return;
                }
                served += 1;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                stream.write_all(answer).await.unwrap();
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_closed_under_a_call_is_replaced_if_the_call_may_be_repeated() {
    for (method, path, expected, came) in [
        // The provider may have begun.
        ("POST", "/v1/chat/completions", 502, 2),
        ("GET", "/v1/models", 200, 3),
        ("POST", "/v1/vector_stores", 502, 2),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(closes_on_the_second(listener, Arc::clone(&requests)));
        let world = setup().upstream(address).start().await;
        let ask = || match method {
            "GET" => world.ask(method, path).of("a"),
            _ => world.ask(method, path).of("a").body(r#"{"model": "sim", "messages": []}"#),
        };
        assert_eq!(ask().send().await.status, 200);
        // Only a connection that has rested is mistrusted, and that takes time.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(ask().send().await.status, expected, "{path}");
        assert_eq!(requests.load(Ordering::Relaxed), came, "{path}");
        task.abort();
    }
}
