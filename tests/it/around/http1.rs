//! Bytes on a connection that two servers could read in two ways.

use super::{BODY, CHAT, CREDITS, paid, setup};
use crate::harness::{Wire, key_of};

/// A request of `a` with these words on its first line, these further headers, and what follows.
fn request(line: &str, headers: &str, body: &str) -> String {
    let key = key_of("a");
    format!("{line}\r\nhost: x\r\nauthorization: Bearer {key}\r\n{headers}\r\n{body}")
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn no_bytes_are_read_in_two_ways() {
    let world = setup().start().await;
    let post = format!("POST {CHAT} HTTP/1.1");
    let length = format!("content-length: {}\r\n", BODY.len());
    let te = "transfer-encoding: chunked\r\n";
    let one = request(&post, &length, BODY);
    // How many calls may come of it: the least and the most.
    let ways: Vec<(&str, String, u64, u64)> = vec![
        ("plain", one.clone(), 1, 1),
        ("pipelined", one.clone() + &one, 2, 2),
        ("chunked", request(&post, te, &chunked(BODY)), 1, 1),
        (
            "with a trailer",
            request(
                &post,
                te,
                &format!(
                    "{:x}\r\n{BODY}\r\n0\r\nauthorization: Bearer {}\r\nx-credits-account: b\r\n\r\n",
                    BODY.len(),
                    key_of("b")
                ),
            ),
            0,
            1,
        ),
        (
            "with a chunk extension",
            request(&post, te, &format!("{:x};x=\"\r\n\"\r\n{BODY}\r\n0\r\n\r\n", BODY.len())),
            0,
            1,
        ),
        ("too short a length", request(&post, "content-length: 5\r\n", BODY), 0, 0),
        ("too long a length", request(&post, "content-length: 500\r\n", BODY), 0, 0),
        (
            "both framings, a request behind",
            request(&post, &format!("{length}{te}"), &(chunked(BODY) + &one)),
            0,
            2,
        ),
        (
            "a folded framing",
            request(&post, &format!("{length}transfer-encoding:\r\n chunked\r\n"), BODY),
            0,
            1,
        ),
        (
            "a spaced framing",
            request(&post, &format!("{length}transfer-encoding : chunked\r\n"), BODY),
            0,
            0,
        ),
        (
            "a framing after a tab",
            request(&post, &format!("{length}transfer-encoding:\tchunked\r\n"), &chunked(BODY)),
            0,
            1,
        ),
        (
            "twice chunked",
            request(
                &post,
                "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
                &chunked(BODY),
            ),
            0,
            1,
        ),
        (
            "HTTP/1.0 and chunked",
            request(&format!("POST {CHAT} HTTP/1.0"), te, &chunked(BODY)),
            0,
            1,
        ),
        (
            "another host's address",
            request(&format!("POST http://api.openai.com{CHAT} HTTP/1.1"), &length, BODY),
            0,
            1,
        ),
        (
            "a user in the address",
            request(&format!("POST http://u:p@x{CHAT} HTTP/1.1"), &length, BODY),
            0,
            1,
        ),
        ("a fragment", request(&format!("POST {CHAT}#/v1/models HTTP/1.1"), &length, BODY), 0, 1),
        ("an asterisk", request("OPTIONS * HTTP/1.1", "", ""), 0, 0),
        ("a bare path", request("POST v1/chat/completions HTTP/1.1", &length, BODY), 0, 0),
        ("a lower-case verb", request(&format!("post {CHAT} HTTP/1.1"), &length, BODY), 0, 0),
        ("an unknown verb", request(&format!("WORK {CHAT} HTTP/1.1"), &length, BODY), 0, 0),
        ("a read with a body", request(&format!("GET {CHAT} HTTP/1.1"), &length, BODY), 0, 0),
        ("a head with a body", request(&format!("HEAD {CHAT} HTTP/1.1"), &length, BODY), 0, 0),
        (
            "a read that hides a call in its body",
            request("GET /v1/models HTTP/1.1", &format!("content-length: {}\r\n", one.len()), &one),
            0,
            0,
        ),
        (
            "a read with no length and a call behind",
            request("GET /v1/models HTTP/1.1", "", &one),
            1,
            1,
        ),
        (
            "an upgrade to HTTP/2",
            request(
                &post,
                &format!(
                    "{length}connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"
                ),
                BODY,
            ),
            0,
            1,
        ),
        (
            "an upgrade to a web socket",
            request(&post, &format!("{length}connection: upgrade\r\nupgrade: websocket\r\n"), BODY),
            0,
            1,
        ),
        (
            "the key is of this hop only",
            request(
                &post,
                &format!("{length}connection: authorization, x-credits-account, content-type\r\n"),
                BODY,
            ),
            1,
            1,
        ),
        (
            "expecting to go on",
            request(&post, &format!("{length}expect: 100-continue\r\n"), BODY),
            1,
            1,
        ),
        (
            "expecting something else",
            request(&post, &format!("{length}expect: work\r\n"), BODY),
            0,
            1,
        ),
        ("two hosts", request(&post, &format!("{length}host: y\r\n"), BODY), 0, 1),
        ("line feeds alone", one.replace("\r\n", "\n"), 0, 1),
        ("a null in a header", request(&post, &format!("{length}x: a\0b\r\n"), BODY), 0, 0),
    ];
    let mut left = CREDITS;
    for (way, bytes, least, most) in ways {
        let mut wire = Wire::connect(world.gateway.address).await;
        wire.send(&bytes).await;
        if most == 0 {
            wire.end().await;
        } else {
            // To end the connection at once would look like a client that leaves.
            wire.send(request("GET /v1/models HTTP/1.1", "connection: close\r\n", "")).await;
        }
        let answer = wire.rest().await;
        let calls = paid(&world, way, &mut left).await;
        assert!((least..=most).contains(&calls), "{way}: {calls} calls, {answer}");
    }
}
