//! Speech and transcriptions.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::json;

use super::content::{Answer, Events, event, pieces, reported, tokens};
use super::request::Request;

/// Bytes in each piece of speech.
const PIECE_BYTES: usize = 1024;

/// Bytes that begin like an MP3 file, as they are or as events.
pub(super) fn speech(request: &Request) -> Answer {
    let pieces: Vec<Bytes> = (0..request.switches.chunks)
        .map(|at| {
            let mut piece = if at == 0 { b"ID3\x04\0".to_vec() } else { Vec::new() };
            piece.resize(PIECE_BYTES, at.to_le_bytes()[0]);
            piece.into()
        })
        .collect();
    if request.json["stream_format"] != "sse" {
        return Answer::Raw("audio/mpeg", pieces);
    }
    let content = pieces.iter().map(|piece| {
        event("", &json!({ "type": "speech.audio.delta", "audio": STANDARD.encode(piece) }))
    });
    let usage = usage(request, "");
    let closing = vec![event("", &json!({ "type": "speech.audio.done", "usage": usage }))];
    let content = content.collect();
    Answer::Events(Events { opening: Vec::new(), content, closing, error: error() })
}

/// The text of a recording: an object, plain text, or events.
pub(super) fn transcription(request: &Request) -> Answer {
    let pieces = pieces(&request.switches);
    let text = pieces.concat();
    if matches!(request.form_text("response_format"), Some("text" | "srt" | "vtt")) {
        return Answer::Raw("text/plain; charset=utf-8", vec![Bytes::from(text + "\n")]);
    }
    let usage = usage(request, &text);
    if !request.streams() {
        return Answer::Json(json!({ "text": text, "usage": usage }));
    }
    let content = pieces
        .iter()
        .map(|piece| event("", &json!({ "type": "transcript.text.delta", "delta": piece })))
        .collect();
    let done = json!({ "type": "transcript.text.done", "text": text, "usage": usage });
    let closing = vec![event("", &done)];
    Answer::Events(Events { opening: Vec::new(), content, closing, error: error() })
}

fn usage(request: &Request, answer: &str) -> serde_json::Value {
    if let Some(seconds) = request.switches.seconds {
        return json!({ "type": "duration", "seconds": seconds });
    }
    let tokens = tokens(request, answer);
    let usage = json!({
        "type": "tokens",
        "input_tokens": tokens.input,
        "output_tokens": tokens.output,
        "total_tokens": tokens.input.saturating_add(tokens.output),
    });
    reported(request, usage)
}

fn error() -> Bytes {
    let message = "The simulated provider failed, as it was told to.";
    event("", &json!({ "type": "error", "error": { "message": message, "code": "server_error" } }))
}
