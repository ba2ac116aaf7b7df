use super::*;
use crate::credit::{Unit, Usage};

fn said(protocol: Protocol, event: &str) -> ClientEvent {
    let mut reader = ClientReader::new(protocol);
    reader.feed(event.as_bytes());
    let whole = reader.event();
    event.as_bytes().chunks(1).for_each(|byte| reader.feed(byte));
    assert_eq!(reader.event(), whole, "{event} byte by byte");
    whole
}

fn heard(protocol: Protocol, event: &str) -> ServerEvent {
    let mut reader = ServerReader::new(protocol);
    // What came before leaves no trace.
    reader.feed(br#"{"type":"response.done","response":{"id":"r0","usage":{"output_tokens":9}}}"#);
    reader.event();
    reader.feed(event.as_bytes());
    let whole = reader.event();
    event.as_bytes().chunks(1).for_each(|byte| reader.feed(byte));
    assert_eq!(reader.event(), whole, "{event} byte by byte");
    whole
}

#[test]
fn what_asks_for_a_response_is_seen_however_it_is_written() {
    use Protocol::{Live, Realtime, Responses};
    for (protocol, event, begins) in [
        (Realtime, r#"{"type":"response.create"}"#, true),
        (Realtime, r#"{"response":{"instructions":"type"},"type":"response.create"}"#, true),
        (Realtime, r#"{"type":"response\u002ecreate"}"#, true),
        (Realtime, r#"{"type":"input_audio_buffer.append","type":"response.create"}"#, true),
        (Realtime, r#"{"type":"response.create","type":"input_audio_buffer.append"}"#, true),
        (Realtime, r#"{"type":"response.cancel"}"#, false),
        (Realtime, r#"{"item":{"type":"response.create"},"type":"x"}"#, false),
        (Responses, r#"{"type":"response.create","model":"m"}"#, true),
        (Live, r#"{"clientContent":{"turns":[],"turnComplete":true}}"#, true),
        (Live, r#"{"client_content":{"turn_complete":true}}"#, true),
        (Live, r#"{"clientContent":{"turns":[],"turnComplete":false}}"#, false),
        (Live, r#"{"clientContent":{"turns":[]}}"#, false),
        (Live, r#"{"type":"response.create"}"#, false),
        (Live, r#"{"setup":{"model":"models/m"}}"#, false),
    ] {
        let event_said = said(protocol, event);
        assert_eq!((event_said.begins, event_said.is_obscure), (begins, false), "{event}");
    }
    for (protocol, event) in [
        (Realtime, r#"{"ty\u0070e":"response.create"}"#),
        (Realtime, r#"{"type":"a","ty\u0070e":1}"#),
        (Live, r#"{"clientC\u006fntent":{"turnComplete":true}}"#),
        (Live, r#"{"clientContent":{"turnC\u006fmplete":true}}"#),
        (Responses, r#"{"type":"response.create","mod\u0065l":"m"}"#),
    ] {
        assert!(said(protocol, event).is_obscure, "{event}");
    }
    let many = format!(r#"{{"type":"response.create"{}}}"#, r#","model":"m""#.repeat(100));
    let many = said(Responses, &many);
    assert_eq!((many.is_obscure, many.models.len()), (true, 32));
    let long = "x".repeat(300);
    assert!(said(Responses, &format!(r#"{{"model":"{long}"}}"#)).is_obscure);
}

#[test]
fn what_an_event_says_of_its_response_is_read() {
    let event = r#"{"type":"response.create","event_id":"e1","stream_id":"l1","model":"m\u002d1","input":"four letters","max_output_tokens":12}"#;
    let expected = ClientEvent {
        begins: true,
        models: vec!["m-1".to_owned()],
        transcriber: None,
        things: Vec::new(),
        id: Some("e1".to_owned()),
        lane: Some("l1".to_owned()),
        tokens: 3,
        output_tokens_max: Some(12),
        is_obscure: false,
    };
    assert_eq!(said(Protocol::Responses, event), expected);
    let event = r#"{"setup":{"model":"models/m","generationConfig":{"maxOutputTokens":7}}}"#;
    let setup = said(Protocol::Live, event);
    assert_eq!((setup.models, setup.output_tokens_max), (vec!["m".to_owned()], Some(7)));
    let event = r#"{"type":"session.update","session":{"model":"m","audio":{"input":{"transcription":{"model":"t"}}}}}"#;
    let update = said(Protocol::Realtime, event);
    assert_eq!((update.models, update.transcriber), (vec!["m".to_owned()], Some("t".to_owned())));
    let event = r#"{"type":"session.update","session":{"model":"ft\u003am:a","audio":{"output":{"voice":{"id":"voice_1"}}},"tools":[{"voice":{"id":"x"},"model":"ft:x"}]}}"#;
    assert_eq!(said(Protocol::Realtime, event).things, ["ft:m:a", "voice_1"]);
    let event = r#"{"session":{"audio":{"output":{"vo\u0069ce":{"id":"voice_1"}}}}}"#;
    assert!(said(Protocol::Realtime, event).is_obscure);
    // Sound is no text.
    let event = format!(r#"{{"type":"input_audio_buffer.append","audio":"{}"}}"#, "A".repeat(4000));
    assert_eq!(said(Protocol::Realtime, &event).tokens, 0);
}

#[test]
fn what_a_provider_says_is_told_apart() {
    use Protocol::{Live, Realtime, Responses};
    for (protocol, event, expected) in [
        (Realtime, r#"{"type":"session.created"}"#, ""),
        (Realtime, r#"{"type":"response.created","response":{"id":"r1"}}"#, "begins r1"),
        (
            Realtime,
            r#"{"type":"response.output_audio.delta","response_id":"r1","delta":"AA=="}"#,
            "output r1",
        ),
        (Realtime, r#"{"type":"response.output_text.delta","response_id":"r1","delta":""}"#, "r1"),
        (Realtime, r#"{"type":"response.output_item.done","response_id":"r1"}"#, "r1"),
        (Realtime, r#"{"type":"conversation.item.done","item":{"id":"i1"}}"#, ""),
        (
            Realtime,
            r#"{"type":"response.done","response":{"id":"r1","status":"completed"}}"#,
            "Whole r1",
        ),
        (
            Realtime,
            r#"{"type":"response.done","response":{"id":"r1","status":"cancelled"}}"#,
            "Cancelled r1",
        ),
        (
            Realtime,
            r#"{"type":"response.done","response":{"id":"r1","status":"failed"}}"#,
            "Failed r1",
        ),
        (Realtime, r#"{"type":"error","error":{"event_id":"e1"}}"#, "error"),
        (
            Realtime,
            r#"{"type":"conversation.item.input_audio_transcription.completed","item_id":"i1"}"#,
            "output Whole Transcription i1",
        ),
        (Responses, r#"{"type":"response.output_text.delta","delta":"x"}"#, "output"),
        (Responses, r#"{"type":"response.output_item.done"}"#, "output"),
        (Responses, r#"{"type":"response.completed","response":{"id":"r1"}}"#, "Whole r1"),
        (Live, r#"{"setupComplete":{}}"#, ""),
        (Live, r#"{"serverContent":{"modelTurn":{"parts":[{"text":"x"}]}}}"#, "output"),
        (
            Live,
            r#"{"serverContent":{"modelTurn":{"parts":[{"inlineData":{"data":"AA=="}}]}}}"#,
            "output",
        ),
        (Live, r#"{"serverContent":{"inputTranscription":{"text":"x"}}}"#, ""),
        (Live, r#"{"toolCall":{"functionCalls":[{"name":"f"}]}}"#, "output"),
        (Live, r#"{"serverContent":{"turnComplete":true}}"#, "Whole"),
        (Live, r#"{"serverContent":{"generationComplete":true}}"#, ""),
    ] {
        let heard = heard(protocol, event);
        let ended = heard.ended.map(|finish| format!("{finish:?}"));
        let words = [
            heard.begins.then(|| "begins".to_owned()),
            heard.output.then(|| "output".to_owned()),
            ended,
            heard.error.is_some().then(|| "error".to_owned()),
            (heard.of == Of::Transcription).then(|| "Transcription".to_owned()),
            heard.id,
        ];
        let words: Vec<String> = words.into_iter().flatten().collect();
        assert_eq!(words.join(" "), expected, "{event}");
    }
}

#[test]
fn work_is_read_where_each_protocol_tells_it() {
    use Unit::{AudioInput, AudioOutput, AudioSecond, CachedInput, Input, Output};
    let usage = |amounts: &[(Unit, u64)]| {
        amounts.iter().fold(Usage::NOTHING, |usage, (unit, amount)| usage.with(*unit, *amount))
    };
    let event = r#"{"type":"response.done","response":{"usage":{"input_tokens":100,"input_token_details":{"text_tokens":40,"audio_tokens":60,
        "cached_tokens":30,"cached_tokens_details":{"text_tokens":10,"audio_tokens":20}},"output_tokens":50,"output_token_details":{"audio_tokens":45}}}}"#;
    let realtime = heard(Protocol::Realtime, event).report;
    assert!(realtime.tells_tokens);
    let expected =
        usage(&[(Input, 30), (CachedInput, 30), (AudioInput, 40), (Output, 5), (AudioOutput, 45)]);
    assert_eq!(realtime.usage, expected);
    let event = r#"{"type":"conversation.item.input_audio_transcription.completed","usage":{"type":"duration","seconds":3.5}}"#;
    let transcription = heard(Protocol::Realtime, event).report;
    assert!(transcription.tells_seconds);
    assert_eq!(transcription.usage, usage(&[(AudioSecond, 3_500)]));
    let event = r#"{"usageMetadata":{"promptTokenCount":10,"promptTokensDetails":[{"modality":"AUDIO","tokenCount":6}],"responseTokenCount":8,
        "responseTokensDetails":[{"modality":"AUDIO","tokenCount":5}]}}"#;
    let live = heard(Protocol::Live, event).report;
    assert!(live.tells_tokens);
    assert_eq!(live.usage, usage(&[(Input, 4), (AudioInput, 6), (Output, 3), (AudioOutput, 5)]));
    let event = r#"{"type":"response.completed","response":{"usage":{"input_tokens":5,"output_tokens":7}}}"#;
    assert_eq!(heard(Protocol::Responses, event).report.usage, usage(&[(Input, 5), (Output, 7)]));
}
