//! HTTP/2 in frames that no library sends.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{BODY, CHAT, CREDITS, paid, setup};
use crate::harness::{key_of, soon};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GO_AWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, stream];
    [head.as_slice(), payload].concat()
}

/// Fields as literals that are not indexed (RFC 7541 section 6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| {
        assert!(text.len() < 127);
        let mut bytes = vec![u8::try_from(text.len()).unwrap()];
        bytes.extend_from_slice(text.as_bytes());
        bytes
    };
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// Sends a request and waits until the server is done with it.
async fn send(to: std::net::SocketAddr, fields: &[(&str, &str)], trailers: &[(&str, &str)]) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(frame(HEADERS, END_HEADERS, 1, &block(fields)));
    let last = if trailers.is_empty() { END_STREAM } else { 0 };
    bytes.extend(frame(DATA, last, 1, BODY.as_bytes()));
    if !trailers.is_empty() {
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(trailers)));
    }
    // However its first bytes come, they are those of HTTP/2.
    for first in bytes.drain(..3).collect::<Vec<_>>() {
        stream.write_all(&[first]).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    stream.write_all(&bytes).await.unwrap();
    soon("the stream ends", async {
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                return;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            let whole = stream.read_exact(&mut payload).await.is_ok();
            let ends = head[8] == 1 && head[3] <= HEADERS && head[4] & END_STREAM != 0;
            if !whole || ends || head[3] == RESET || head[3] == GO_AWAY {
                return;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_frames_are_read_in_two_ways() {
    let world = setup().start().await;
    let (key, other) = (format!("Bearer {}", key_of("a")), format!("Bearer {}", key_of("b")));
    let good = |path| {
        vec![
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "x"),
            (":path", path),
            ("authorization", key.as_str()),
        ]
    };
    let with = |path, more: &[(&'static str, &'static str)]| [good(path), more.to_vec()].concat();
    let mut left = CREDITS;
    for (way, fields, least, most) in [
        ("plain", good(CHAT), 1, 1),
        ("two paths", with("/v1/models", &[(":path", CHAT)]), 0, 0),
        ("two paths, the other way", with(CHAT, &[(":path", "/v1/models")]), 0, 0),
        ("two methods", with(CHAT, &[(":method", "GET")]), 0, 0),
        ("another host", with(CHAT, &[("host", "api.openai.com")]), 0, 1),
        ("an upper-case name", with(CHAT, &[("X-Credits-Account", "b")]), 0, 0),
        ("a connection header", with(CHAT, &[("connection", "authorization")]), 0, 0),
        ("a framing header", with(CHAT, &[("transfer-encoding", "chunked")]), 0, 0),
        ("an upgrade", with(CHAT, &[("upgrade", "h2c")]), 0, 0),
        ("an extended connect", with(CHAT, &[(":protocol", "websocket")]), 0, 0),
        ("a length that is too short", with(CHAT, &[("content-length", "2")]), 0, 0),
        ("a length that is too long", with(CHAT, &[("content-length", "200")]), 0, 0),
        ("a path with a space", good("/v1/chat/completions HTTP/1.1"), 0, 0),
        ("an empty path", good(""), 0, 0),
        ("an absolute address", good("http://api.openai.com/v1/chat/completions"), 0, 1),
        ("a header in two", with(CHAT, &[("x", "a\r\nx-credits-account: b")]), 0, 0),
        ("no key", good(CHAT)[..4].to_vec(), 0, 0),
    ] {
        send(world.gateway.address, &fields, &[]).await;
        let calls = paid(&world, way, &mut left).await;
        assert!((least..=most).contains(&calls), "{way}: {calls} calls");
    }
    let trailers = [("authorization", other.as_str()), ("x-credits-account", "b")];
    send(world.gateway.address, &good(CHAT), &trailers).await;
    paid(&world, "trailers", &mut left).await;
    send(world.gateway.address, &good(CHAT)[..4], &[("authorization", key.as_str())]).await;
    assert_eq!(paid(&world, "a key in a trailer", &mut left).await, 0);
}
