//! Streams: what is found does not depend on the pieces in which they come, and what passes is what came.

use bytes::Bytes;
use creditgate::provider::include_usage::Sieve;
use creditgate::provider::sse::Scanner;
use creditgate::provider::{Dialect, Evidence};
use serde_json::Value;

use super::{pieces, split_once};

/// An event's name and data.
type Found = (Vec<u8>, Vec<u8>);

const KINDS: [&str; 5] = [
    "text/event-stream",
    "application/x-ndjson",
    "application/json",
    "application/vnd.amazon.eventstream",
    "audio/mpeg",
];

/// `bytes` are a head up to a blank line, of which only the length matters, and a stream.
pub fn check(bytes: &[u8]) {
    let (head, stream) = split_once(bytes, b"\n\n");
    let seed = u8::try_from(head.len() % 251).unwrap_or_default() | 1;
    let expected = events(stream);
    for seed in [0, seed] {
        assert_eq!(scanned(pieces(stream, seed)), expected, "in pieces of {seed}");
    }
    assert_eq!(scanned(vec![stream]), expected);
    check_sieve(stream, seed);
    for dialect in Dialect::ALL {
        for kind in KINDS {
            let whole = seen(dialect, kind, vec![stream]);
            for seed in [0, seed] {
                assert_eq!(seen(dialect, kind, pieces(stream, seed)), whole, "{dialect} {kind}");
            }
        }
    }
}

fn scanned(pieces: Vec<&[u8]>) -> Vec<Found> {
    let (mut scanner, mut found) = (Scanner::default(), Vec::new());
    for piece in pieces {
        scanner.feed(piece, |event| {
            assert!(event.whole);
            found.push((event.name.to_vec(), event.data.to_vec()));
        });
    }
    found
}

/// What an answer shows: output, error, end, bytes, and whether it awaits output.
fn seen(dialect: Dialect, kind: &str, pieces: Vec<&[u8]>) -> [bool; 5] {
    let mut evidence = Evidence::for_response(dialect, Some(kind));
    for piece in pieces {
        evidence.feed(piece);
    }
    [
        evidence.saw_output(),
        evidence.saw_error(),
        evidence.saw_done(),
        evidence.saw_bytes(),
        evidence.awaits_output(),
    ]
}

/// The lines of a stream, each with its raw bytes and its end; the last one may have none.
fn lines(mut rest: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut lines = Vec::new();
    while !rest.is_empty() {
        let text = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
        let end = if rest[text..].starts_with(b"\r\n") { 2 } else { 1 };
        let whole = (text + end).min(rest.len());
        lines.push((&rest[..text], &rest[text..whole]));
        rest = &rest[whole..];
    }
    lines
}

/// The events by the letter of the standard (HTML, section 9.2.6).
fn events(stream: &[u8]) -> Vec<Found> {
    let stream = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let (mut found, mut name, mut data) = (Vec::new(), Vec::new(), None::<Vec<u8>>);
    for (line, end) in lines(stream) {
        if end.is_empty() {
            break;
        }
        if line.is_empty() {
            let name = std::mem::take(&mut name);
            found.extend(data.take().map(|data| (name, data)));
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"event" => name = value.to_vec(),
            b"data" => match &mut data {
                None => data = Some(value.to_vec()),
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
            },
            _ => {}
        }
    }
    found
}

/// The sieve leaves out whole events that only tell the usage, and nothing else, however the stream comes.
fn check_sieve(stream: &[u8], seed: u8) {
    let sifted = |pieces: Vec<&[u8]>| {
        let (mut sieve, mut passed) = (Sieve::default(), Vec::new());
        for piece in pieces {
            passed.extend_from_slice(&sieve.feed(Bytes::copy_from_slice(piece)));
        }
        passed.extend_from_slice(&sieve.finish());
        passed
    };
    let whole = sifted(vec![stream]);
    for seed in [0, seed] {
        assert_eq!(sifted(pieces(stream, seed)), whole, "in pieces of {seed}");
    }
    let mut rest = whole.as_slice();
    for event in raw_events(stream) {
        if let Some(after) = rest.strip_prefix(event)
            && !(is_usage(event) && is_whole(event))
        {
            rest = after;
        } else {
            assert!(is_usage(event), "left out: {:?}", String::from_utf8_lossy(event));
        }
    }
    assert!(rest.is_empty(), "put in: {:?}", String::from_utf8_lossy(rest));
}

/// The stream cut behind each blank line.
fn raw_events(stream: &[u8]) -> Vec<&[u8]> {
    let (mut found, mut start, mut at) = (Vec::new(), 0, 0);
    for (line, end) in lines(stream) {
        at += line.len() + end.len();
        if line.is_empty() {
            found.push(&stream[start..at]);
            start = at;
        }
    }
    found.extend((start < stream.len()).then_some(&stream[start..]));
    found
}

fn is_whole(event: &[u8]) -> bool {
    lines(event).last().is_some_and(|(line, end)| line.is_empty() && !end.is_empty())
}

/// Whether the data of an event is a chunk without choices that tells the usage, and as an object.
fn is_usage(event: &[u8]) -> bool {
    let closed = [event, b"\n\n".as_slice()].concat();
    events(&closed).iter().any(|(_, data)| {
        serde_json::from_slice::<Value>(data).is_ok_and(|chunk| {
            chunk["choices"] == Value::Array(Vec::new())
                && !chunk["usage"].is_null()
                && chunk.is_object()
        })
    })
}
