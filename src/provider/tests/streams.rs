//! What the streams of each dialect show, however their bytes are cut.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::super::*;

/// What was seen of a stream: output, error, done.
type Seen = (bool, bool, bool);

const NOTHING: Seen = (false, false, false);
const OUTPUT: Seen = (true, false, false);
const ERROR: Seen = (false, true, false);
const DONE: Seen = (false, false, true);

fn see<'a>(
    dialect: Dialect,
    content_type: &str,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Seen {
    let mut evidence = Evidence::for_response(dialect, Some(content_type));
    for piece in pieces {
        evidence.feed(piece);
    }
    (evidence.saw_output(), evidence.saw_error(), evidence.saw_done())
}

fn sse(events: &[(&str, &str)]) -> Vec<u8> {
    let event = |(name, data): &(&str, &str)| match *name {
        "" => format!("data: {data}\r\n\r\n"),
        name => format!("event: {name}\ndata: {data}\n\n"),
    };
    events.iter().map(event).collect::<String>().into_bytes()
}

fn list(elements: &[&str]) -> Vec<u8> {
    format!(" [{}\n]\n", elements.join(",\r\n")).into_bytes()
}

fn lines(lines: &[&str]) -> Vec<u8> {
    let mut text = lines.join("\n");
    text.push('\n');
    text.into_bytes()
}

/// Messages of the binary framing, each with a header of another type before those that matter.
fn binary(messages: &[(&str, &str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, name, payload) in messages {
        let mut headers = b"\x02:t\x08\0\0\0\0\0\0\0\0".to_vec();
        let named = if *kind == "exception" { ":exception-type" } else { ":event-type" };
        for (header, value) in
            [(named, *name), (":message-type", *kind), (":content-type", "application/json")]
        {
            headers.push(u8::try_from(header.len()).unwrap());
            headers.extend_from_slice(header.as_bytes());
            headers.push(7);
            headers.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
            headers.extend_from_slice(value.as_bytes());
        }
        let length = u32::try_from(16 + headers.len() + payload.len()).unwrap();
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(headers.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&headers);
        bytes.extend_from_slice(payload.as_bytes());
        bytes.extend_from_slice(&[0; 4]);
    }
    bytes
}

fn chunk(vendor: &str) -> String {
    format!(r#"{{"bytes":"{}","p":"abc"}}"#, STANDARD.encode(vendor))
}

/// A stream that shows one thing, and its content type.
struct Case {
    dialect: Dialect,
    content_type: &'static str,
    bytes: Vec<u8>,
    seen: Seen,
}

/// Adds a case to a list.
type Add<'a> = &'a mut dyn FnMut(Dialect, &'static str, Vec<u8>, Seen);

const EVENTS: &str = "text/event-stream";

const MESSAGE_START: (&str, &str) =
    ("message_start", r#"{"type":"message_start","message":{"content":[]}}"#);

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |dialect, content_type, bytes, seen| {
        cases.push(Case { dialect, content_type, bytes, seen });
    };
    for more in [anthropic, google, interactions, ollama, cohere, bedrock, openai] {
        more(&mut add);
    }
    cases
}

fn anthropic(add: Add<'_>) {
    let start = MESSAGE_START;
    let ping = ("ping", r#"{"type":"ping"}"#);
    let block = (
        "content_block_start",
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    );
    let stop = ("message_stop", r#"{"type":"message_stop"}"#);
    let end = (
        "message_delta",
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}"#,
    );
    add(Dialect::Anthropic, EVENTS, sse(&[start, block, ping]), NOTHING);
    add(Dialect::Anthropic, EVENTS, sse(&[start, block, end, stop]), DONE);
    for delta in [
        r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"Hi é"}}"#,
        r#"{"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"Hm"}}"#,
        r#"{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":"{"}}"#,
        r#"{"type":"content_block_start","content_block":{"type":"tool_use","id":"t","input":{}}}"#,
        r#"{"type":"content_block_start","content_block":{"type":"redacted_thinking","data":"x"}}"#,
        r#"{"type":"completion","completion":" Hi","stop_reason":null}"#,
    ] {
        add(Dialect::Anthropic, EVENTS, sse(&[start, ping, ("", delta), stop]), OUTPUT);
    }
    let nothing = ("", r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":""}}"#);
    add(Dialect::Anthropic, EVENTS, sse(&[start, nothing]), NOTHING);
    let error = ("error", r#"{"type":"error","error":{"type":"overloaded_error"}}"#);
    add(Dialect::Anthropic, EVENTS, sse(&[start, error]), ERROR);
}

fn google(add: Add<'_>) {
    let usage = r#"{"usageMetadata":{"promptTokenCount":3},"modelVersion":"m"}"#;
    let empty = r#"{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"index":0}]}"#;
    let bare = r#"{"candidates":[{"content":{"role":"model"},"index":0}],"error":null}"#;
    let finish = r#"{"candidates":[{"content":{"parts":[{"text":""}]},"finishReason":"STOP"}]}"#;
    let blocked = r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#;
    let failed = r#"{"error":{"code":503,"message":"a \"]}, [\\","status":"UNAVAILABLE"}}"#;
    let text = r#"{"candidates":[{"content":{"parts":[{"text":"Hi, [\"}]"}]}}]}"#;
    for dialect in [Dialect::Gemini, Dialect::Vertex] {
        let json = "application/json; charset=UTF-8";
        for (chunks, seen) in [
            (vec![usage, empty, bare], NOTHING),
            (vec![usage, text], OUTPUT),
            (vec![text, finish, failed], OUTPUT),
            (vec![empty, finish], DONE),
            (vec![blocked], DONE),
            (vec![failed], ERROR),
            (
                vec![r#"{"candidates":[{"content":{"parts":[{"inlineData":{"data":"x"}}]}}]}"#],
                OUTPUT,
            ),
            (
                vec![r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}}]}}]}"#],
                OUTPUT,
            ),
            (
                vec![r#"{"candidates":[{"content":{"parts":[{"text":"Hm","thought":true}]}}]}"#],
                OUTPUT,
            ),
        ] {
            let framed: Vec<(&str, &str)> = chunks.iter().map(|chunk| ("", *chunk)).collect();
            add(dialect, EVENTS, sse(&framed), seen);
            add(dialect, json, list(&chunks), seen);
        }
        add(dialect, json, list(&["1", "\"a]\\\"\"", "null", "[[1],2]"]), NOTHING);
        // A list in a list, or an object that is no list, is no stream.
        add(dialect, json, text.as_bytes().to_vec(), NOTHING);
    }
}

fn interactions(add: Add<'_>) {
    for (word, seen) in [
        ("interaction.created", NOTHING),
        ("content.start", NOTHING),
        ("interaction.status_update", NOTHING),
        ("step.start", NOTHING),
        ("step.delta", OUTPUT),
        ("content.delta", OUTPUT),
        ("interaction.completed", DONE),
        ("error", ERROR),
    ] {
        let data = format!(r#"{{"event_type":"{word}","index":0,"delta":{{"text":"x"}}}}"#);
        add(Dialect::Gemini, EVENTS, sse(&[("", &data)]), seen);
    }
}

fn ollama(add: Add<'_>) {
    let ndjson = "application/x-ndjson";
    let say = r#"{"model":"m","message":{"role":"assistant","content":"Hi"},"done":false}"#;
    let think = r#"{"message":{"role":"assistant","content":"","thinking":"Hm"},"done":false}"#;
    let hush = r#"{"message":{"role":"assistant","content":""},"done":false}"#;
    let done = r#"{"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop"}"#;
    add(Dialect::Ollama, ndjson, lines(&[hush, "", hush]), NOTHING);
    add(Dialect::Ollama, ndjson, lines(&[hush, say, done]), OUTPUT);
    add(Dialect::Ollama, ndjson, lines(&[think]), OUTPUT);
    add(Dialect::Ollama, ndjson, lines(&[r#"{"response":"Hi","done":false}"#]), OUTPUT);
    add(Dialect::Ollama, ndjson, lines(&[hush, done]), DONE);
    add(Dialect::Ollama, ndjson, lines(&[r#"{"error":"no such model"}"#]), ERROR);
}

fn cohere(add: Add<'_>) {
    let begin =
        ("", r#"{"type":"message-start","delta":{"message":{"role":"assistant","content":[]}}}"#);
    let open = (
        "",
        r#"{"type":"content-start","delta":{"message":{"content":{"type":"text","text":""}}}}"#,
    );
    let words = ("", r#"{"type":"content-delta","delta":{"message":{"content":{"text":"Hi"}}}}"#);
    let over = ("", r#"{"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":{}}}"#);
    let broken = ("", r#"{"type":"message-end","delta":{"finish_reason":"ERROR"}}"#);
    add(Dialect::Cohere, EVENTS, sse(&[begin, open]), NOTHING);
    add(Dialect::Cohere, EVENTS, sse(&[begin, open, words, over]), OUTPUT);
    add(Dialect::Cohere, EVENTS, sse(&[begin, over]), DONE);
    add(Dialect::Cohere, EVENTS, sse(&[begin, broken]), ERROR);
    let stream = "application/stream+json";
    let v1 = r#"{"is_finished":false,"event_type":"text-generation","text":"Hi"}"#;
    let v1_start = r#"{"is_finished":false,"event_type":"stream-start","generation_id":"g"}"#;
    let v1_end = r#"{"is_finished":true,"event_type":"stream-end","finish_reason":"COMPLETE"}"#;
    let plain = r#"{"text":"Hi","is_finished":false}"#;
    let plain_end = r#"{"is_finished":true,"finish_reason":"COMPLETE","response":{}}"#;
    add(Dialect::Cohere, stream, lines(&[plain, plain_end]), OUTPUT);
    add(Dialect::Cohere, stream, lines(&[plain_end]), DONE);
    add(Dialect::Cohere, stream, lines(&[v1_start]), NOTHING);
    add(Dialect::Cohere, stream, lines(&[v1_start, v1, v1_end]), OUTPUT);
    add(Dialect::Cohere, stream, lines(&[v1_start, v1_end]), DONE);
}

fn bedrock(add: Add<'_>) {
    let aws = "application/vnd.amazon.eventstream";
    let role = ("event", "messageStart", r#"{"role":"assistant"}"#);
    let delta = ("event", "contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"Hi"}}"#);
    let tool = ("event", "contentBlockStart", r#"{"start":{"toolUse":{"name":"f"}}}"#);
    let stopped = ("event", "messageStop", r#"{"stopReason":"end_turn"}"#);
    let metadata = ("event", "metadata", r#"{"usage":{"inputTokens":3}}"#);
    let thrown = ("exception", "throttlingException", r#"{"message":"slow down"}"#);
    add(Dialect::Bedrock, aws, binary(&[role]), NOTHING);
    add(Dialect::Bedrock, aws, binary(&[role, delta, stopped, metadata]), OUTPUT);
    add(Dialect::Bedrock, aws, binary(&[role, tool]), OUTPUT);
    add(Dialect::Bedrock, aws, binary(&[role, stopped, metadata]), DONE);
    add(Dialect::Bedrock, aws, binary(&[role, thrown]), ERROR);
    for (vendor, seen) in [
        (MESSAGE_START.1, NOTHING),
        (r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"Hi"}}"#, OUTPUT),
        (r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{}}"#, DONE),
        (r#"{"generation":"Hi","stop_reason":null}"#, OUTPUT),
        (r#"{"generation":"","stop_reason":null}"#, NOTHING),
        (r#"{"generation":"","stop_reason":"stop"}"#, DONE),
        (r#"{"outputText":"Hi","completionReason":null}"#, OUTPUT),
        (r#"{"messageStart":{"role":"assistant"}}"#, NOTHING),
        (r#"{"metadata":{"usage":{}}}"#, NOTHING),
        (r#"{"a new vendor's word":"Hi"}"#, OUTPUT),
        ("an agent's text", OUTPUT),
        (r#"{"contentBlockDelta":{"delta":{"text":"Hi"}}}"#, OUTPUT),
    ] {
        add(Dialect::Bedrock, aws, binary(&[("event", "chunk", &chunk(vendor))]), seen);
    }
}

fn openai(add: Add<'_>) {
    let conversation =
        ("message.output.delta", r#"{"type":"message.output.delta","content":"Hi"}"#);
    let started = ("conversation.response.started", r#"{"type":"conversation.response.started"}"#);
    let finished = ("conversation.response.done", r#"{"type":"conversation.response.done"}"#);
    let chat = ("", r#"{"choices":[{"delta":{"content":"Hi"}}]}"#);
    add(Dialect::Mistral, EVENTS, sse(&[started, conversation, finished]), OUTPUT);
    add(Dialect::Mistral, EVENTS, sse(&[started, finished]), DONE);
    for dialect in [Dialect::OpenAi, Dialect::Mistral, Dialect::Azure, Dialect::OpenRouter] {
        add(dialect, EVENTS, sse(&[chat, ("", "[DONE]")]), OUTPUT);
        add(dialect, EVENTS, sse(&[("", "[DONE]")]), DONE);
    }
}

#[test]
fn each_stream_shows_what_it_carries() {
    for case in cases() {
        let Case { dialect, content_type, bytes, seen } = &case;
        let shown = String::from_utf8_lossy(bytes);
        let at_once = see(*dialect, content_type, [bytes.as_slice()]);
        assert_eq!(at_once, *seen, "{dialect} {content_type} {shown}");
        let byte_by_byte = see(*dialect, content_type, bytes.chunks(1));
        assert_eq!(byte_by_byte, *seen, "{dialect} {content_type} {shown} byte by byte");
    }
}

#[test]
fn what_is_not_framed_as_it_says_shows_nothing_but_bytes() {
    for (dialect, content_type, bytes) in [
        (Dialect::Gemini, "application/json", &b"{\"candidates\":[]}"[..]),
        (Dialect::Bedrock, "application/vnd.amazon.eventstream", b"\0\0\0\x01\0\0\0\0\0\0\0\0"),
        (
            Dialect::Bedrock,
            "application/vnd.amazon.eventstream",
            b"\xff\xff\xff\xff\0\0\0\0\0\0\0\0",
        ),
    ] {
        let mut evidence = Evidence::for_response(dialect, Some(content_type));
        evidence.feed(bytes);
        assert!(evidence.saw_bytes() && !evidence.is_readable() && !evidence.awaits_output());
    }
    // Nothing has come yet, so that it is not known what it will be.
    let evidence = Evidence::for_response(Dialect::Gemini, Some("application/json"));
    assert!(!evidence.awaits_output() && !evidence.is_readable());
    let mut evidence = Evidence::for_response(Dialect::Gemini, Some("application/json"));
    evidence.feed(b"[");
    assert!(evidence.awaits_output() && evidence.is_readable());
}

/// An event longer than what is kept is known by its beginning, in each framing.
#[test]
fn a_long_event_is_output() {
    let long = "x".repeat(sse::EVENT_BYTES_MAX);
    let text = format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{long}"}}]}}}}]}}"#);
    let line = format!(r#"{{"response":"{long}","done":false}}"#);
    let delta = format!(r#"{{"delta":{{"text":"{long}"}}}}"#);
    let message = binary(&[("event", "contentBlockDelta", &delta), ("event", "messageStop", "{}")]);
    for (dialect, content_type, bytes) in [
        (Dialect::Gemini, "application/json", list(&[&text])),
        (Dialect::Ollama, "application/x-ndjson", lines(&[&line])),
        (Dialect::Bedrock, "application/vnd.amazon.eventstream", message),
    ] {
        for size in [bytes.len(), 4096, 65_537] {
            assert_eq!(see(dialect, content_type, bytes.chunks(size)), OUTPUT, "{dialect} {size}");
        }
    }
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        case in any::<prop::sample::Index>(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let cases = cases();
        let Case { dialect, content_type, bytes, seen } = &cases[case.index(cases.len())];
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let starts = std::iter::once(0).chain(cuts.iter().copied());
        let ends = cuts.iter().copied().chain([bytes.len()]);
        let pieces = starts.zip(ends).map(|(start, end)| &bytes[start..end]);
        prop_assert_eq!(see(*dialect, content_type, pieces), *seen);
    }

    #[test]
    fn any_bytes_are_taken(
        dialect in prop::sample::select(Dialect::ALL.to_vec()),
        content_type in prop::sample::select(vec![
            "text/event-stream",
            "application/json",
            "application/x-ndjson",
            "application/vnd.amazon.eventstream",
        ]),
        pieces in proptest::collection::vec(any::<Vec<u8>>(), 0..6),
    ) {
        let whole = pieces.concat();
        let in_pieces = see(dialect, content_type, pieces.iter().map(Vec::as_slice));
        prop_assert_eq!(in_pieces, see(dialect, content_type, [whole.as_slice()]));
    }
}
