//! The one change that the gateway makes to what passes: a chat stream tells its usage only if it is asked to
//! (`stream_options.include_usage`), in one chunk more before its end. Where the price needs that and the client did not
//! ask, the gateway does, and takes the chunk out again. All other bytes stay as they are, in both directions.

use std::ops::Range;
use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use memchr::memchr2;
use memchr::memmem::Finder;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::sse::Scanner;
use super::{Dialect, Operation};

/// What becomes of the request of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nothing: the client asked itself, or the stream tells its usage unasked.
    Already,
    /// The request with the question in it; the answer has a chunk that the client doesn't expect.
    Added(Bytes),
}

/// A field is given twice, so that what the provider will read can't be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GivenTwice(pub &'static str);

/// Asks for the usage of the stream that `body` asks for.
///
/// A `body` that isn't an object, or whose options are none, is left for the provider to refuse.
pub fn ask(dialect: Dialect, operation: Operation, body: &Bytes) -> Result<Asked, GivenTwice> {
    let tells_when_asked = match dialect {
        Dialect::OpenAi | Dialect::Azure | Dialect::DeepSeek => {
            matches!(operation, Operation::Chat | Operation::Completion)
        }
        // These tell their usage unasked, each in its own way.
        Dialect::Anthropic
        | Dialect::Gemini
        | Dialect::Vertex
        | Dialect::OpenRouter
        | Dialect::Mistral
        | Dialect::Cohere
        | Dialect::Ollama
        | Dialect::Bedrock => false,
    };
    let text = std::str::from_utf8(body).ok().filter(|_| tells_when_asked);
    text.map_or(Ok(Asked::Already), |text| {
        Ok(change(text)?.map_or(Asked::Already, |change| {
            let (place, put) = change;
            let mut changed = BytesMut::with_capacity(body.len() + put.len());
            changed.extend_from_slice(&body[..place.start]);
            changed.extend_from_slice(put.as_bytes());
            changed.extend_from_slice(&body[place.end..]);
            Asked::Added(changed.freeze())
        }))
    })
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default, deserialize_with = "given")]
    stream_options: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Options<'a> {
    #[serde(borrow, default, deserialize_with = "given")]
    include_usage: Option<&'a RawValue>,
}

/// A value that is given, be it null.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// What must stand where in `text`; nothing if the question is there already, or can't be put.
fn change(text: &str) -> Result<Option<(Range<usize>, &'static str)>, GivenTwice> {
    let body: Body<'_> = match serde_json::from_str(text) {
        Ok(body) => body,
        Err(error) => return unreadable(&error, "stream_options"),
    };
    let Some(options) = body.stream_options.filter(|options| options.get() != "null") else {
        return Ok(match body.stream_options {
            Some(null) => Some((place(text, null.get()), r#"{"include_usage":true}"#)),
            // A request has a model, so another member follows.
            None => first_member(text, r#""stream_options":{"include_usage":true},"#),
        });
    };
    let place_of_options = place(text, options.get());
    let told: Options<'_> = match serde_json::from_str(options.get()) {
        Ok(told) => told,
        Err(error) => return unreadable(&error, "include_usage"),
    };
    Ok(match told.include_usage {
        Some(include) if include.get() == "true" => None,
        Some(include) => Some((place(text, include.get()), "true")),
        None => {
            let is_empty = options.get()[1..].trim_start().starts_with('}');
            let put = if is_empty { r#""include_usage":true"# } else { r#""include_usage":true,"# };
            let inside = place_of_options.start + 1;
            options.get().starts_with('{').then_some((inside..inside, put))
        }
    })
}

fn unreadable<T>(error: &serde_json::Error, field: &'static str) -> Result<Option<T>, GivenTwice> {
    // serde's only name for it is its sentence.
    if error.to_string().starts_with("duplicate field") { Err(GivenTwice(field)) } else { Ok(None) }
}

fn first_member(text: &str, put: &'static str) -> Option<(Range<usize>, &'static str)> {
    let inside = text.find('{')? + 1;
    Some((inside..inside, put))
}

/// Where `part`, which was borrowed from `text`, stands in it.
fn place(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - text.as_ptr().addr();
    start..start + part.len()
}

/// Takes the chunk that only says the usage out of a stream, and lets all else pass.
///
/// An event is held back until it is whole, which the events of a provider are when they come; one that is too long to
/// be that chunk passes as it comes.
#[derive(Debug, Default)]
pub struct Sieve {
    /// The event that has begun.
    held: Bytes,
    ends: Ends,
    /// The event that has begun is too long to be the chunk.
    is_long: bool,
}

/// Longest event that is held back.
const HELD_BYTES_MAX: usize = 64 << 10;

impl Sieve {
    /// Takes the next piece of a stream and returns what of it, and of what was held back, may pass: possibly nothing.
    pub fn feed(&mut self, piece: Bytes) -> Bytes {
        let known = self.held.len();
        let mut bytes = joined(std::mem::take(&mut self.held), piece);
        let mut start = 0;
        // What passes, once something was left out; before that it is a part of `bytes`.
        let mut sifted: Option<BytesMut> = None;
        for end in self.ends.find(&bytes, known) {
            let event = &bytes[start..end];
            let is_left_out = !std::mem::take(&mut self.is_long) && is_the_chunk(event);
            match (&mut sifted, is_left_out) {
                (None, true) => sifted = Some(BytesMut::from(&bytes[..start])),
                (Some(sifted), false) => sifted.extend_from_slice(event),
                (None, false) | (Some(_), true) => {}
            }
            start = end;
        }
        let begun = bytes.split_off(start);
        let passed = sifted.map_or(bytes, BytesMut::freeze);
        self.is_long |= begun.len() > HELD_BYTES_MAX;
        if self.is_long {
            return joined(passed, begun);
        }
        self.held = begun;
        passed
    }

    /// Whether anything is held back.
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// What is held back of an event that never became whole.
    pub fn finish(&mut self) -> Bytes {
        let held = std::mem::take(&mut self.held);
        if self.ends.after_blank && is_the_chunk(&held) { Bytes::new() } else { held }
    }
}

/// Finds the ends of the events of a stream.
#[derive(Debug, Default)]
struct Ends {
    /// The current line has bytes already.
    in_line: bool,
    /// The last byte was a carriage return: a line feed after it ends no other line.
    after_return: bool,
    /// The same, and its line was blank: the event ends here, or after the line feed.
    after_blank: bool,
}

impl Ends {
    /// The ends in `bytes`, of which the first `known` have been seen before.
    fn find(&mut self, bytes: &[u8], known: usize) -> Vec<usize> {
        let mut ends = Vec::new();
        let mut at = known;
        while at < bytes.len() {
            let is_second = std::mem::take(&mut self.after_return) && bytes[at] == b'\n';
            if std::mem::take(&mut self.after_blank) {
                ends.push(if is_second { at + 1 } else { at });
            }
            if is_second {
                at += 1;
                continue;
            }
            let Some(length) = memchr2(b'\n', b'\r', &bytes[at..]) else {
                self.in_line = true;
                break;
            };
            self.in_line |= length > 0;
            at += length + 1;
            self.after_return = bytes[at - 1] == b'\r';
            if !std::mem::take(&mut self.in_line) {
                self.after_blank = self.after_return;
                if !self.after_return {
                    ends.push(at);
                }
            }
        }
        ends
    }
}

static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"usage\""));

/// Whether an event only says the usage: a chunk without choices.
fn is_the_chunk(event: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Chunk {
        choices: Vec<IgnoredAny>,
        usage: Option<IgnoredAny>,
    }
    // Where a stream tells its usage, every other chunk has `null` for it.
    let is_told = |at: usize| {
        let value = event[at + USAGE.needle().len()..].trim_ascii_start().strip_prefix(b":");
        !value.is_some_and(|value| value.trim_ascii_start().starts_with(b"null"))
    };
    if !USAGE.find_iter(event).any(is_told) {
        return false;
    }
    let mut found = false;
    Scanner::default().feed(event, |event| {
        // As text: what is passed over in bytes need not be any, and what is no JSON is not ours to take out.
        let Ok(text) = std::str::from_utf8(event.data) else { return };
        let chunk = serde_json::from_str::<Chunk>(text);
        found |= chunk.is_ok_and(|chunk| chunk.choices.is_empty() && chunk.usage.is_some());
    });
    found
}

fn joined(first: Bytes, second: Bytes) -> Bytes {
    if first.is_empty() {
        return second;
    }
    if second.is_empty() {
        return first;
    }
    let mut both = BytesMut::with_capacity(first.len() + second.len());
    both.extend_from_slice(&first);
    both.extend_from_slice(&second);
    both.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(body: &str, expected: Option<&str>) {
        let asked = ask(Dialect::OpenAi, Operation::Chat, &Bytes::from(body.to_owned()));
        let expected = expected.map_or(Asked::Already, |body| Asked::Added(body.to_owned().into()));
        assert_eq!(asked, Ok(expected), "{body}");
    }

    #[test]
    fn the_question_is_put_in_and_nothing_else_changes() {
        check(
            r#" {"model":"m", "stream":true}"#,
            Some(r#" {"stream_options":{"include_usage":true},"model":"m", "stream":true}"#),
        );
        for (options, asked) in [
            ("null", r#"{"include_usage":true}"#),
            ("{}", r#"{"include_usage":true}"#),
            ("{ }", r#"{"include_usage":true }"#),
            (
                r#"{"include_obfuscation":false}"#,
                r#"{"include_usage":true,"include_obfuscation":false}"#,
            ),
            (r#"{"include_usage":false}"#, r#"{"include_usage":true}"#),
            (r#"{"include_usage" : null , "x":1}"#, r#"{"include_usage" : true , "x":1}"#),
        ] {
            let body =
                |options: &str| format!(r#"{{"a":"ü","stream_options" : {options},"model":"m"}}"#);
            check(&body(options), Some(&body(asked)));
        }
    }

    #[test]
    fn who_asked_is_not_asked_for() {
        check(r#"{"model":"m","stream_options":{"x":1,"include_usage":true}}"#, None);
        for wrong in ["1", "[]", "\"x\"", "true"] {
            check(&format!(r#"{{"model":"m","stream_options":{wrong}}}"#), None);
        }
        check("no JSON", None);
        let body = Bytes::from_static(br#"{"model":"m"}"#);
        for operation in [Operation::Response, Operation::Image] {
            assert_eq!(ask(Dialect::OpenAi, operation, &body), Ok(Asked::Already));
        }
    }

    #[test]
    fn options_that_are_given_twice_are_refused() {
        for (body, field) in [
            (r#"{"stream_options":{},"model":"m","stream_options":null}"#, "stream_options"),
            (r#"{"stream_options":{"include_usage":true,"include_usage":false}}"#, "include_usage"),
        ] {
            let asked = ask(Dialect::OpenAi, Operation::Chat, &Bytes::from_static(body.as_bytes()));
            assert_eq!(asked, Err(GivenTwice(field)));
        }
    }

    const TOLD: &str = r#"data: {"choices":[],"usage":{"prompt_tokens":1}}"#;

    /// Events that are none of the chunks to be left out, though they look like some.
    const OTHERS: [&str; 8] = [
        r#"data: {"choices":[{"delta":{"content":"\"usage\""}}],"usage":null}"#,
        r#"data: {"choices":[],"usage":null,"prompt_filter_results":[]}"#,
        r#"data: {"choices":[{}],"usage":{"prompt_tokens":1}}"#,
        r#"data: {"usage":{"prompt_tokens":1}}"#,
        ": a comment on \"usage\"",
        "event: x\ndata: {\"choices\":[],\ndata: \"usage\":null}",
        "",
        "data: [DONE]",
    ];

    /// What passes of `stream` in `pieces` of which each ends at a cut.
    fn sifted(stream: &[u8], cuts: &[usize]) -> Vec<u8> {
        let (mut sieve, mut passed, mut from) = (Sieve::default(), Vec::new(), 0);
        for &cut in cuts.iter().chain([&stream.len()]) {
            passed.extend_from_slice(&sieve.feed(Bytes::copy_from_slice(&stream[from..cut])));
            assert!(sieve.held.len() <= HELD_BYTES_MAX);
            from = cut;
        }
        passed.extend_from_slice(&sieve.finish());
        passed
    }

    proptest! {
        #[test]
        fn the_chunk_is_left_out_and_every_other_byte_passes(
            events in proptest::collection::vec(0..OTHERS.len() + 2, 0..8),
            // One for the whole stream: after a bare carriage return a line feed would belong to the event before.
            end in prop::sample::select(&["\n", "\r\n", "\r"][..]),
            tail in prop_oneof![Just(""), Just("data: {\"choices\":[],\"usa"), Just("\n")],
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..9),
        ) {
            let (mut stream, mut expected) = (String::new(), String::new());
            for event in events {
                let text = OTHERS.get(event).map_or(TOLD, |event| *event).replace('\n', end) + end + end;
                stream += &text;
                if event < OTHERS.len() {
                    expected += &text;
                }
            }
            if end != "\r" {
                stream += tail;
                expected += tail;
            }
            let stream = stream.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.sort_unstable();
            let passed = sifted(stream, &cuts);
            prop_assert_eq!(String::from_utf8_lossy(&passed), expected);
            let every: Vec<usize> = (0..stream.len()).collect();
            prop_assert_eq!(sifted(stream, &every), passed);
        }
    }

    #[test]
    fn a_long_event_is_not_waited_for() {
        let long = format!("data: {}", "x".repeat(HELD_BYTES_MAX));
        let mut sieve = Sieve::default();
        assert_eq!(sieve.feed(Bytes::from(long.clone())), long);
        assert_eq!(sieve.feed(Bytes::from_static(b"y")), "y");
        let end = format!("\n\n{TOLD}\n\ndata: 1\n\ndata: 2");
        assert_eq!(sieve.feed(end.into()), "\n\ndata: 1\n\n");
        assert_eq!(sieve.finish(), "data: 2");
    }

    #[test]
    fn what_came_whole_passes_uncopied() {
        let piece = Bytes::from_static(b"data: 1\n\ndata: 2\n\n");
        assert_eq!(Sieve::default().feed(piece.clone()).as_ptr(), piece.as_ptr());
    }
}
