//! Compressed bodies: read beside the bytes that pass, which stay the sender's own.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};

use crate::harness::{Ask, Canned, Setup, World};

const CHAT: &str = "/v1/chat/completions";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn brotli(text: &[u8]) -> Vec<u8> {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
    encoder.write_all(text).unwrap();
    encoder.into_inner()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(zstd_safe::compress_bound(text.len()));
    zstd_safe::compress(&mut bytes, text, 3).unwrap();
    bytes
}

type Encode = fn(&[u8]) -> Vec<u8>;

const CODINGS: [(&str, Encode); 4] =
    [("gzip", gzip), ("deflate", zlib), ("br", brotli), ("zstd", zstd)];

fn chat(model: &str) -> Value {
    let message = json!({ "role": "user", "content": "Sixteen letters." });
    json!({ "model": model, "messages": [message], "max_tokens": 1000 })
}

/// A chat whose body is `bytes`, in `coding`.
fn ask(world: &World, coding: &str, bytes: Vec<u8>) -> Ask {
    let ask = world.ask("POST", CHAT).of("a").header("content-type", "application/json");
    ask.header("content-encoding", coding).body(bytes)
}

fn setup() -> Setup {
    let setup = Setup::new().rule("model = 'dear'\ncredits = 3").account("a", 1_000);
    setup.rule("model = 'counted'\ninput = 1\noutput = 10")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_body_is_priced_by_its_text_and_sent_as_it_came() {
    let world = setup().start().await;
    for (coding, compressed) in CODINGS {
        let bytes = compressed(chat("dear").to_string().as_bytes());
        let length = bytes.len();
        let answer = ask(&world, coding, bytes).send().await;
        assert_eq!((answer.status.as_u16(), answer.header("x-credits-charged")), (200, Some("3")));
        assert_eq!(answer.json()["model"], "dear", "{coding}");
        let seen = world.provider.last_is("answered").await;
        assert_eq!(seen.body_bytes, length, "{coding}");
        assert_eq!(seen.headers["content-encoding"], coding);
        assert_eq!(seen.headers["content-length"], length.to_string());

        let bytes = compressed(chat("counted").to_string().as_bytes());
        let answer = ask(&world, coding, bytes).send().await;
        assert_eq!(answer.header("x-credits-held"), Some("0.010008"), "{coding}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_must_be_asked_for_its_usage_is_sent_plain() {
    let world = setup().start().await;
    let mut body = chat("counted");
    body["stream"] = true.into();
    let plain = body.to_string();
    let added = r#""stream_options":{"include_usage":true},"#.len();
    for (coding, compressed) in CODINGS {
        let answer = ask(&world, coding, compressed(plain.as_bytes())).send().await;
        assert!(answer.body.ends_with(b"data: [DONE]\n\n"), "{coding}");
        let seen = world.provider.last_is("answered").await;
        assert_eq!(seen.body_bytes, plain.len() + added, "{coding}");
        assert!(!seen.headers.contains_key("content-encoding"), "{:?}", seen.headers);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_single_reading_is_refused() {
    let world = setup().start().await;
    let text = chat("dear").to_string();
    for (coding, compressed) in CODINGS {
        let whole = compressed(text.as_bytes());
        for (bytes, reason) in [
            ([&whole[..], &whole].concat(), "something follows"),
            ([&whole[..], b"\n"].concat(), "something follows"),
            (whole[..whole.len() - 1].to_vec(), "cut short"),
            (Vec::new(), "cut short"),
            (compressed(b"no JSON"), "not valid JSON"),
        ] {
            let answer = ask(&world, coding, bytes).send().await;
            assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "invalid_request"));
            let message = answer.json()["error"]["message"].to_string();
            assert!(message.contains(reason), "{coding}: {message}");
        }
    }
    for coding in ["compress", "gzip, gzip", "identity, gzip", "aws-chunked"] {
        let answer = ask(&world, coding, gzip(text.as_bytes())).send().await;
        let refused = (answer.status.as_u16(), answer.code());
        assert_eq!(refused, (415, "unsupported_encoding".to_owned()), "{coding}");
        assert_eq!(answer.header("accept-encoding"), Some("gzip, deflate, br, zstd"));
    }
    let twice = ask(&world, "identity", gzip(text.as_bytes())).header("content-encoding", "gzip");
    assert_eq!(twice.send().await.status, 415);
    assert!(world.provider.seen().await.is_empty());
    assert_eq!(world.left("a").await, 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_grows_too_large_is_refused_and_takes_no_memory() {
    let setup = setup().set("limits.metered_body", "'4MiB'");
    let world = setup.set("limits.buffered_bodies", "'5MiB'").start().await;
    let filled = |length: usize| {
        let filler = "word ".repeat(length / 5);
        let mut body = chat("dear");
        body["messages"][0]["content"] = filler.into();
        body.to_string().into_bytes()
    };
    for (coding, compressed) in CODINGS {
        let bomb = ask(&world, coding, compressed(&filled(3 << 20))).send().await;
        assert_eq!(bomb.status, 400, "{coding}");
        assert!(bomb.json()["error"]["message"].to_string().contains("grows"), "{coding}");
        // What it had taken is given back.
        let answer = ask(&world, coding, compressed(&filled(1 << 19))).send().await;
        assert_eq!(answer.status, 200, "{coding}");
    }
    let mut text = Vec::new();
    for number in 0..500_000_u32 {
        write!(text, "{}", number.wrapping_mul(2_654_435_761)).unwrap();
    }
    let answer = ask(&world, "gzip", gzip(&text)).send().await;
    assert!(matches!(answer.status.as_u16(), 413 | 503), "{}", answer.status);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_free_call_passes_whatever_it_is_coded_in() {
    // Where accounts are kept apart, its body is looked into.
    let world = setup().set("provider.openai.tenancy", "'off'").start().await;
    let ask = world.ask("POST", "/v1/vector_stores").of("a").header("content-encoding", "compress");
    ask.body("\x1f\u{9d}any bytes").send().await;
    assert_eq!(world.provider.only().await.headers["content-encoding"], "compress");
}

/// A stream that reports 20 tokens of the request and 5 of the answer.
const STREAM: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n\
    data: {\"choices\":[],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":5}}\n\ndata: [DONE]\n\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_stream_passes_as_it_is_and_is_charged_as_it_reports() {
    for (coding, compressed) in CODINGS {
        let bytes = compressed(STREAM.as_bytes());
        let length = bytes.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: {coding}\r\n\
             content-length: {length}\r\n\r\n"
        );
        let canned = Canned::start([head.as_bytes(), &bytes].concat().leak()).await;
        let mut world = setup().upstream(canned.address).start().await;
        let mut body = chat("counted");
        body["stream"] = true.into();
        let answer = world.ask("POST", CHAT).of("a").json(&body).send().await;
        assert_eq!(answer.body, bytes, "{coding}");
        assert_eq!(answer.header("content-encoding"), Some(coding));
        assert_eq!(answer.header("content-length"), Some(length.to_string().as_str()));
        world.resolved().await;
        let books = world.stop().await;
        let charges: Vec<u64> = books.charges("a").await.into_values().collect();
        assert_eq!(charges, [20 + 5 * 10], "{coding}");
    }
}
