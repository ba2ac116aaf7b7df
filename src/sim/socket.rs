//! Sockets: the Realtime API, the Responses API, and Google's Live API, each with text alone. A client that sends
//! the sound `c3BlZWNo` is answered without having asked, as one that is heard speaking.

use futures_util::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{HeaderValue, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::content::{hex, pieces};
use super::control::Exchange;
use super::request::{Request, SWITCHES_HEADER};
use super::script::Script;
use super::switches::{Point, Switches};
use crate::provider::socket::Protocol;

/// The sound of somebody who speaks and is answered.
const SPEECH: &str = "c3BlZWNo";

struct Socket {
    protocol: Protocol,
    stream: WebSocketStream<TokioIo<Upgraded>>,
    switches: Switches,
    exchange: Exchange,
    /// Its part in the ids that are told here, which no other socket has.
    id: String,
    responses: u64,
    /// Google's client wants to be able to go on later.
    resumes: bool,
}

/// What a socket's script ended with.
enum Stopped {
    Broken,
    Lost,
}

impl From<Error> for Stopped {
    fn from(_: Error) -> Self {
        Self::Lost
    }
}

/// Whether a request opens a socket that is spoken here.
pub(super) fn protocol(request: &Request) -> Option<Protocol> {
    let placed = request.placed.as_ref().ok()?;
    Protocol::of(&placed.route, &placed.path)
}

/// Accepts a handshake; nothing if it is none.
pub(super) fn open(
    request: &Request,
    protocol: Protocol,
    exchange: Exchange,
) -> Result<Response<Script>, Exchange> {
    let headers = &request.head.headers;
    let upgrade = request.head.extensions.get::<OnUpgrade>().cloned();
    let (Some(key), Some(upgrade)) = (headers.get(SEC_WEBSOCKET_KEY), upgrade) else {
        return Err(exchange);
    };
    let mut response = Response::new(Script::plain(bytes::Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    exchange.status(StatusCode::SWITCHING_PROTOCOLS);
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
    let offered = headers.get(SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
    let answer = response.headers_mut();
    answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = accept {
        answer.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if offered.is_some_and(|offered| offered.split(',').any(|word| word.trim() == "realtime")) {
        answer.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("realtime"));
    }
    let switches = request.switches.clone();
    // A client makes up a new key for each socket.
    let id = hex(&Sha256::digest(key.as_bytes())[..8]);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let stream =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        let (responses, resumes) = (0, false);
        let mut socket = Socket { protocol, stream, switches, exchange, id, responses, resumes };
        match socket.serve().await {
            Ok(()) => socket.exchange.answered(),
            Err(Stopped::Broken) => socket.exchange.broken(),
            Err(Stopped::Lost) => {}
        }
    });
    Ok(response)
}

/// The member of an object that has two names.
fn either<'v>(object: &'v Value, camel: &str, snake: &str) -> &'v Value {
    object.get(camel).unwrap_or(&object[snake])
}

impl Socket {
    async fn serve(&mut self) -> Result<(), Stopped> {
        if self.protocol == Protocol::Realtime {
            let session =
                json!({ "id": "sess_sim", "object": "realtime.session", "type": "realtime" });
            self.say(json!({ "type": "session.created", "session": session })).await?;
        }
        while let Some(message) = self.stream.next().await {
            let text = match message? {
                Message::Text(text) => text.as_str().to_owned(),
                Message::Binary(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Message::Close(_) => {
                    // Says the same, and waits for the end.
                    while self.stream.next().await.is_some() {}
                    return Ok(());
                }
                _ => continue,
            };
            let event: Value = serde_json::from_str(&text).unwrap_or_default();
            if let Some(switches) = event["response"]["metadata"][SWITCHES_HEADER].as_str() {
                let mut own = Switches::default();
                if own.apply(switches).is_ok() {
                    self.switches = own;
                }
            }
            self.answer(&event).await?;
        }
        Err(Stopped::Lost)
    }

    async fn answer(&mut self, event: &Value) -> Result<(), Stopped> {
        match self.protocol {
            Protocol::Live if event.get("setup").is_some() => {
                let setup = &event["setup"];
                self.resumes = either(setup, "sessionResumption", "session_resumption").is_object();
                self.say(json!({ "setupComplete": {} })).await
            }
            Protocol::Live => {
                // Google's parsers take both spellings of a name, and its library mixes them.
                let content = either(event, "clientContent", "client_content");
                let is_asked = either(content, "turnComplete", "turn_complete") == true;
                let input = either(event, "realtimeInput", "realtime_input");
                let speaks = input["audio"]["data"] == SPEECH;
                if is_asked || speaks { self.turn().await } else { Ok(()) }
            }
            Protocol::Realtime | Protocol::Responses => match event["type"].as_str() {
                Some("response.create") => self.respond(event).await,
                Some("input_audio_buffer.append") if event["audio"] == SPEECH => {
                    self.respond(event).await
                }
                Some("input_audio_buffer.commit") => self.transcribe().await,
                Some("session.update") => {
                    self.say(json!({ "type": "session.updated", "session": event["session"] }))
                        .await
                }
                Some(_) => Ok(()),
                None => self.fail(event, "The event has no type.").await,
            },
        }
    }

    async fn respond(&mut self, event: &Value) -> Result<(), Stopped> {
        if self.switches.status.is_some() || event["response"]["metadata"]["refuse"] == "yes" {
            return self.fail(event, "The simulated provider was told to fail.").await;
        }
        let realtime = self.protocol == Protocol::Realtime;
        self.responses += 1;
        let id = format!("resp_{}_{}", self.id, self.responses);
        let pieces = pieces(&self.switches);
        let text = pieces.concat();
        let response = |status: &str, usage: Value| {
            let object = if realtime { "realtime.response" } else { "response" };
            let model = &event["model"];
            json!({ "id": id, "object": object, "status": status, "model": model, "created_at": 0, "output": [],
                "parallel_tool_calls": true, "tool_choice": "auto", "tools": [], "usage": usage })
        };
        let mut said = vec![
            json!({ "type": "response.created", "response": response("in_progress", Value::Null) }),
        ];
        let item = format!("item_{}_{}", self.id, self.responses);
        let delta = |piece: &str| {
            json!({ "type": "response.output_text.delta", "response_id": id, "item_id": item, "output_index": 0,
                "content_index": 0, "delta": piece, "logprobs": [] })
        };
        if !self.switches.silent {
            said.extend(pieces.iter().map(|piece| delta(piece)));
        }
        let done = if realtime { "response.done" } else { "response.completed" };
        let status = if self.switches.silent { "failed" } else { "completed" };
        let usage = self.usage(&text, realtime);
        said.push(json!({ "type": done, "response": response(status, usage) }));
        self.play(said).await
    }

    fn usage(&self, text: &str, realtime: bool) -> Value {
        let switches = &self.switches;
        if switches.no_usage {
            return Value::Null;
        }
        let output = text.chars().count().div_ceil(4) as u64;
        let (input, output) =
            (switches.input_tokens.unwrap_or(10), switches.output_tokens.unwrap_or(output));
        let details = if realtime { "token_details" } else { "tokens_details" };
        json!({
            "total_tokens": input.saturating_add(output),
            "input_tokens": input,
            format!("input_{details}"): { "cached_tokens": switches.cached_tokens },
            "output_tokens": output,
            format!("output_{details}"): { "reasoning_tokens": switches.reasoning_tokens },
        })
    }

    async fn transcribe(&mut self) -> Result<(), Stopped> {
        let name = "conversation.item.input_audio_transcription";
        let seconds = self.switches.seconds.unwrap_or(1);
        let at = |kind: &str| json!({ "type": format!("{name}.{kind}"), "item_id": "item_in", "content_index": 0 });
        let (mut delta, mut done) = (at("delta"), at("completed"));
        delta["delta"] = "simulated".into();
        done["transcript"] = "simulated".into();
        done["usage"] = json!({ "type": "duration", "seconds": seconds });
        self.play(vec![delta, done]).await
    }

    async fn turn(&mut self) -> Result<(), Stopped> {
        self.responses += 1;
        let pieces = pieces(&self.switches);
        let text = pieces.concat();
        let mut said: Vec<Value> = pieces
            .iter()
            .map(|piece| json!({ "serverContent": { "modelTurn": { "parts": [{ "text": piece }] } } }))
            .collect();
        said.push(json!({ "serverContent": { "generationComplete": true } }));
        let mut last = json!({ "serverContent": { "turnComplete": true } });
        let output = text.chars().count().div_ceil(4) as u64;
        if !self.switches.no_usage {
            let (input, output) = (
                self.switches.input_tokens.unwrap_or(10),
                self.switches.output_tokens.unwrap_or(output),
            );
            last["usageMetadata"] = json!({
                "promptTokenCount": input,
                "responseTokenCount": output,
                "totalTokenCount": input.saturating_add(output),
            });
        }
        said.push(last);
        if self.resumes {
            let handle = format!("{}/{}", self.id, self.responses);
            said.push(
                json!({ "sessionResumptionUpdate": { "newHandle": handle, "resumable": true } }),
            );
        }
        self.play(said).await
    }

    /// Sends events as the switches say.
    async fn play(&mut self, events: Vec<Value>) -> Result<(), Stopped> {
        for (at, event) in events.into_iter().enumerate() {
            self.say(event).await?;
            let here = Some(Point::After(at + 1));
            if self.switches.hold_at == here {
                Arc::clone(self.exchange.log()).held().await;
            }
            if self.switches.break_at == here {
                return Err(Stopped::Broken);
            }
            if !self.switches.gap.is_zero() {
                tokio::time::sleep(self.switches.gap).await;
            }
        }
        Ok(())
    }

    async fn fail(&mut self, event: &Value, message: &str) -> Result<(), Stopped> {
        let error = json!({ "type": "invalid_request_error", "code": "simulated", "message": message,
            "param": null, "event_id": event["event_id"] });
        self.say(json!({ "type": "error", "error": error })).await
    }

    async fn say(&mut self, mut event: Value) -> Result<(), Stopped> {
        let message = if self.protocol == Protocol::Live {
            // Google sends its JSON as bytes.
            Message::binary(event.to_string())
        } else {
            event["event_id"] = format!("event_{}", self.responses).into();
            Message::text(event.to_string())
        };
        Ok(self.stream.send(message).await?)
    }
}
