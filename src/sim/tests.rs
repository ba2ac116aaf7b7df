mod switched;

use std::fmt::Write as _;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_util::sync::DropGuard;

use super::*;
use crate::provider::sse::Scanner;

const CHAT: &str = "/v1/chat/completions";

struct Sim {
    base: String,
    client: Client<HttpConnector, Full<Bytes>>,
    _stop: DropGuard,
}

/// An answer, and whether its body came whole.
struct Answered {
    status: StatusCode,
    content_type: String,
    body: Vec<u8>,
    whole: bool,
}

impl Sim {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, stop.clone()));
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { base, client, _stop: stop.drop_guard() }
    }

    fn request(&self, method: Method, path: &str, switches: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("authorization", "Bearer sk-secret-abcd")
            .header("x-sim", switches)
    }

    /// `None` if the connection closed without an answer.
    async fn send(&self, request: Request<Full<Bytes>>) -> Option<Answered> {
        let mut response = self.client.request(request).await.ok()?;
        let (mut body, mut whole) = (Vec::new(), true);
        while let Some(frame) = response.body_mut().frame().await {
            match frame {
                Ok(frame) => body.extend_from_slice(frame.data_ref().unwrap()),
                Err(_) => whole = false,
            }
        }
        let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        Some(Answered { status: response.status(), content_type, body, whole })
    }

    async fn get(&self, path: &str) -> Answered {
        let request = self.request(Method::GET, path, "").body(Full::default()).unwrap();
        self.send(request).await.unwrap()
    }

    async fn try_post(&self, path: &str, switches: &str, body: &Value) -> Option<Answered> {
        let request = self.request(Method::POST, path, switches);
        let request = request.header("content-type", "application/json");
        self.send(request.body(body.to_string().into()).unwrap()).await
    }

    async fn post(&self, path: &str, switches: &str, body: &Value) -> Answered {
        self.try_post(path, switches, body).await.unwrap()
    }

    async fn post_form(&self, path: &str, parts: &[(&str, &str)]) -> Answered {
        let mut body = String::new();
        for (name, value) in parts {
            write!(
                body,
                "--X\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            )
            .unwrap();
        }
        body += "--X--\r\n";
        let request = self.request(Method::POST, path, "");
        let request = request.header("content-type", "multipart/form-data; boundary=X");
        self.send(request.body(body.into()).unwrap()).await.unwrap()
    }

    /// The records, once the last of them is no longer open.
    async fn requests(&self) -> Vec<Value> {
        loop {
            let requests = self.get("/_sim/requests").await.json()["requests"].take();
            let requests = requests.as_array().unwrap().clone();
            if requests.last().is_none_or(|last| last["state"] != "open") {
                return requests;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn wait_until_held(&self, held: u64) {
        while self.get("/_sim/counts").await.json()["held"] != held {
            tokio::task::yield_now().await;
        }
    }
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The name and the data of each event.
    fn events(&self) -> Vec<(String, String)> {
        assert!(self.content_type.starts_with("text/event-stream"));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut events = Vec::new();
        Scanner::default()
            .feed(&self.body, |event| events.push((text(event.name), text(event.data))));
        events
    }

    fn datas(&self) -> Vec<Value> {
        let parse = |data: &str| serde_json::from_str(data).unwrap_or_else(|_| data.into());
        self.events().iter().map(|(_, data)| parse(data)).collect()
    }
}

fn chat(stream: bool) -> Value {
    let messages = json!([{ "role": "user", "content": "12345678" }]);
    json!({ "model": "sim-small", "messages": messages, "stream": stream })
}

fn chunk_text(chunks: &[Value]) -> String {
    let content =
        |chunk: &Value| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned);
    chunks.iter().filter_map(content).collect()
}

#[tokio::test]
async fn a_chat_is_answered_at_once_and_as_a_stream() {
    let sim = Sim::start().await;
    let whole = sim.post(CHAT, "", &chat(false)).await.json();
    assert_eq!(whole["object"], "chat.completion");
    assert_eq!(whole["usage"]["prompt_tokens"], 2);
    let text = whole["choices"][0]["message"]["content"].as_str().unwrap();

    let mut asked = chat(true);
    let plain = sim.post(CHAT, "", &asked).await.datas();
    assert_eq!(plain.last().unwrap(), "[DONE]");
    assert_eq!(plain[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(chunk_text(&plain), text);
    assert!(plain.iter().all(|chunk| chunk.get("usage").is_none()));

    asked["stream_options"] = json!({ "include_usage": true });
    let counted = sim.post(CHAT, "", &asked).await.datas();
    assert_eq!(counted.len(), plain.len() + 1);
    let last = &counted[counted.len() - 2];
    assert_eq!((&last["choices"], &last["usage"]), (&json!([]), &whole["usage"]));
    assert_eq!(counted[0]["usage"], Value::Null);
}

#[tokio::test]
async fn a_completion_is_answered_at_once_and_as_a_stream() {
    let sim = Sim::start().await;
    let mut asked = json!({ "model": "sim-small", "prompt": "Hello" });
    let whole = sim.post("/v1/completions", "", &asked).await.json();
    assert_eq!(whole["usage"]["prompt_tokens"], 2);
    asked["stream"] = true.into();
    let chunks = sim.post("/v1/completions", "", &asked).await.datas();
    let text: String =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect();
    assert_eq!(whole["choices"][0]["text"], text);
    assert_eq!(chunks.last().unwrap(), "[DONE]");
}

#[tokio::test]
async fn a_response_is_answered_at_once_and_as_a_stream() {
    let sim = Sim::start().await;
    let mut asked = json!({ "model": "sim-small", "input": "Hello" });
    let whole = sim.post("/v1/responses", "", &asked).await.json();
    assert_eq!(whole["status"], "completed");
    asked["stream"] = true.into();
    let answer = sim.post("/v1/responses", "", &asked).await;
    for (number, ((name, _), data)) in answer.events().iter().zip(answer.datas()).enumerate() {
        assert_eq!((&data["type"], &data["sequence_number"]), (&json!(name), &json!(number)));
    }
    let datas = answer.datas();
    let deltas: String = datas.iter().filter_map(|data| data["delta"].as_str()).collect();
    assert_eq!(whole["output"][0]["content"][0]["text"], deltas);
    let last = datas.last().unwrap();
    assert_eq!(
        (&last["type"], &last["response"]["usage"]),
        (&json!("response.completed"), &whole["usage"])
    );

    let asked = json!({ "model": "sim-small", "input": "Hello", "background": true });
    let queued = sim.post("/v1/responses", "", &asked).await.json();
    assert_eq!((&queued["status"], &queued["usage"]), (&json!("queued"), &Value::Null));
    let id = queued["id"].as_str().unwrap();
    let later = sim.get(&format!("/v1/responses/{id}")).await.json();
    assert_eq!((&later["id"], &later["status"]), (&queued["id"], &json!("completed")));
}

#[tokio::test]
async fn the_other_families_answer_in_their_shape() {
    let sim = Sim::start().await;
    let asked = json!({ "model": "e", "input": ["a", "b"], "dimensions": 2 });
    let embeddings = sim.post("/v1/embeddings", "", &asked).await.json();
    assert_eq!(embeddings["data"][1]["embedding"].as_array().unwrap().len(), 2);
    assert_ne!(embeddings["data"][0]["embedding"], embeddings["data"][1]["embedding"]);
    let asked = json!({ "model": "e", "input": "a", "dimensions": 3, "encoding_format": "base64" });
    let embeddings = sim.post("/v1/embeddings", "", &asked).await.json();
    assert_eq!(embeddings["data"][0]["embedding"].as_str().unwrap().len(), 16);

    let moderated = sim.post("/v1/moderations", "", &json!({ "input": ["a", "b"] })).await.json();
    assert_eq!(moderated["results"][1]["flagged"], false);
    let image =
        sim.post("/v1/images/generations", "", &json!({ "prompt": "a", "n": 2 })).await.json();
    assert_eq!(image["data"].as_array().unwrap().len(), 2);

    let speech =
        sim.post("/v1/audio/speech", "chunks=3", &json!({ "model": "s", "input": "a" })).await;
    assert_eq!((speech.content_type.as_str(), speech.body.len()), ("audio/mpeg", 3 * 1024));
    let parts = [("file", "RIFF"), ("model", "sim-audio")];
    let heard = sim.post_form("/v1/audio/transcriptions", &parts).await.json();
    assert!(heard["text"].as_str().unwrap().starts_with("The simulated"));
    let parts = [("file", "RIFF"), ("model", "sim-audio"), ("stream", "true")];
    let heard = sim.post_form("/v1/audio/transcriptions", &parts).await.datas();
    assert_eq!(heard.last().unwrap()["type"], "transcript.text.done");

    let models = sim.get("/v1/models").await.json();
    assert_eq!(models["data"][0]["id"], "sim-small");
    assert_eq!(sim.get("/v1/models/any%2fone").await.json()["id"], "any/one");
    assert_eq!(sim.get("/v1/vector_stores").await.json()["object"], "simulated");
    assert_eq!(sim.get("/v1/nothing").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_file_is_kept_until_it_is_deleted() {
    let sim = Sim::start().await;
    let parts = [("purpose", "batch"), ("file", "content")];
    let file = sim.post_form("/v1/files", &parts).await.json();
    assert_eq!((&file["bytes"], &file["purpose"]), (&json!(7), &json!("batch")));
    let path = format!("/v1/files/{}", file["id"].as_str().unwrap());
    assert_eq!(sim.get(&path).await.json(), file);
    assert_eq!(sim.get("/v1/files").await.json()["data"], json!([file]));
    assert_eq!(sim.get(&format!("{path}/content")).await.body, b"content");
    let request = sim.request(Method::DELETE, &path, "").body(Full::default()).unwrap();
    assert_eq!(sim.send(request).await.unwrap().json()["deleted"], true);
    assert_eq!(sim.get(&path).await.status, StatusCode::NOT_FOUND);
    let none = sim.post_form("/v1/files", &[("purpose", "batch")]).await;
    assert_eq!(none.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_key_is_needed() {
    let sim = Sim::start().await;
    for key in ["", "Bearer ", "Basic abc"] {
        let uri = format!("{}/v1/models", sim.base);
        let request = Request::get(uri).header("authorization", key).body(Full::default()).unwrap();
        let answer = sim.send(request).await.unwrap();
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.json()["error"]["code"], "invalid_api_key");
    }
}

#[tokio::test]
async fn a_caller_that_leaves_is_noticed() {
    let sim = Sim::start().await;
    for switches in ["hold=before-headers", "hold=after:2"] {
        let asked = chat(true);
        tokio::select! {
            _ = sim.post(CHAT, switches, &asked) => panic!("nobody released it"),
            () = sim.wait_until_held(1) => {}
        }
        sim.wait_until_held(0).await;
        let last = sim.requests().await.pop().unwrap();
        assert_eq!((&last["state"], &last["answered"]), (&json!("cancelled"), &json!(false)));
    }
}

#[tokio::test]
async fn what_was_asked_is_remembered_and_forgotten() {
    let sim = Sim::start().await;
    let mut asked = chat(true);
    asked["model"] = "sim-small+chunks=2".into();
    let answer = sim.post(&format!("{CHAT}?a=b"), "gap=1ms", &asked).await;
    sim.try_post(CHAT, "break=before-headers", &asked).await;
    sim.get("/v1/models").await;

    let requests = sim.requests().await;
    assert_eq!(requests.len(), 3);
    let first = &requests[0];
    assert_eq!(
        (&first["method"], &first["path"]),
        (&json!("POST"), &json!("/v1/chat/completions?a=b"))
    );
    assert_eq!(first["headers"]["authorization"], "...abcd");
    assert_eq!(first["headers"]["x-sim"], "gap=1ms");
    assert_eq!(first["body_bytes"], asked.to_string().len());
    assert_eq!((&first["model"], &first["status"]), (&json!("sim-small"), &json!(200)));
    assert_eq!(first["answered"], true);
    let hash = content::hex(&Sha256::digest(&answer.body));
    assert_eq!(first["response_sha256"], hash);

    let counts = sim.get("/_sim/counts").await.json();
    assert_eq!((&counts["total"], &counts["completed"]), (&json!(3), &json!(2)));
    let chats = &counts["by"]["POST /v1/chat/completions"];
    assert_eq!(*chats, json!({ "total": 2, "completed": 1 }));

    let request = sim.request(Method::DELETE, "/_sim/requests", "").body(Full::default());
    sim.send(request.unwrap()).await.unwrap();
    assert!(sim.requests().await.is_empty());
    assert_eq!(sim.get("/_sim/counts").await.json()["total"], 0);
    assert_eq!(sim.get("/_sim/nothing").await.status, StatusCode::NOT_FOUND);
}
