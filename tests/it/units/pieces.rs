//! What providers bill by the piece: searches and pages.

use serde_json::{Value, json};

use crate::harness::{Canned, Setup};

const PRICES: &str = "
    [[price.rule]]
    operation = 'document'
    page = '0.001'
    [[price.rule]]
    operation = 'rerank'
    search = '0.002'
    [[price.rule]]
    model = '*'
    input = 1
    output = 10
    search = '0.01'
";

/// A call of a provider, which answers it.
struct Case {
    dialect: &'static str,
    path: &'static str,
    body: Value,
    kind: &'static str,
    answer: String,
    /// µ.
    held: u64,
    charged: u64,
}

/// The answer of a file of `tests/fixtures/usage`.
fn fixture(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/usage");
    let text = std::fs::read_to_string(format!("{folder}/{name}.txt")).unwrap();
    text.split_once("\n\n").unwrap().1.to_owned()
}

#[track_caller]
fn told(micros: u64) -> String {
    creditgate::credit::Credits::from_micros(micros).unwrap().to_string()
}

async fn check(case: Case) {
    let Case { dialect, path, body, kind, answer, held, charged } = case;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n");
    let canned = Canned::answering((head + &answer).into_bytes()).await;
    let setup = Setup::new().prices(PRICES).account("a", 100).provider("p", dialect);
    let mut world = setup.upstream(canned.address).start().await;
    let ask = world.ask("POST", &format!("/p{path}")).of("a");
    let got = ask.header("anthropic-version", "2023-06-01").json(&body).open().await;
    assert_eq!(got.status, 200, "{path}");
    assert_eq!(got.headers["x-credits-held"].to_str().unwrap(), told(held), "{path}");
    // Not a byte is another one.
    assert!(got.whole().await.body == answer.as_bytes(), "{path}");
    world.resolved().await;
    let books = world.stop().await;
    let charges: Vec<u64> = books.charges("a").await.into_values().collect();
    assert_eq!(charges, [charged], "{path}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_of_a_response_are_charged_once_each() {
    let tools = json!([{ "type": "web_search" }]);
    for (file, stream, kind) in [
        ("openai_response_search", false, "application/json"),
        ("openai_response_search_stream", true, "text/event-stream"),
    ] {
        check(Case {
            dialect: "openai",
            path: "/v1/responses",
            body: json!({ "model": "m", "input": "Unicorns", "tools": tools, "stream": stream,
                "max_output_tokens": 100, "max_tool_calls": 4 }),
            kind,
            answer: fixture(file),
            // Four searches, a hundred tokens, and two of the request.
            held: 40_000 + 1_000 + 2,
            charged: 20_000 + 8_510 + 600,
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_that_a_number_tells_are_charged() {
    let tool = json!({ "type": "web_search_20250305", "name": "web_search", "max_uses": 5 });
    check(Case {
        dialect: "anthropic",
        path: "/v1/messages",
        body: json!({ "model": "m", "messages": [], "tools": [tool], "max_tokens": 10 }),
        kind: "application/json",
        answer: fixture("anthropic_search"),
        held: 50_000 + 100 + 3,
        charged: 20_000 + 6_039 + 9_310,
    })
    .await;
    let content = json!([{ "parts": [{ "text": "Unicorns" }] }]);
    check(Case {
        dialect: "gemini",
        path: "/v1beta/models/m:streamGenerateContent?alt=sse",
        body: json!({ "contents": content, "tools": [{ "google_search": {} }],
            "generationConfig": { "maxOutputTokens": 10 } }),
        kind: "text/event-stream",
        answer: fixture("gemini_grounded_stream"),
        held: 30_000 + 100 + 6,
        charged: 20_000 + 79 + 60,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ranking_is_charged_by_its_search_units() {
    let ranking = |answer: String, charged| Case {
        dialect: "cohere",
        path: "/v2/rerank",
        body: json!({ "model": "rerank-v3.5", "query": "Unicorns", "documents": ["a", "b"] }),
        kind: "application/json",
        answer,
        held: 2_000,
        charged,
    };
    check(ranking(fixture("cohere_rerank"), 6_000)).await;
    // One that doesn't say is charged as it was counted.
    check(ranking(r#"{"results":[]}"#.to_owned(), 2_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_is_charged_by_its_pages() {
    let document = json!({ "type": "document_url", "document_url": "https://a.example/b.pdf" });
    check(Case {
        dialect: "mistral",
        path: "/v1/ocr",
        body: json!({ "model": "mistral-ocr-latest", "document": document }),
        kind: "application/json",
        answer: fixture("mistral_ocr"),
        held: 10_000,
        charged: 29_000,
    })
    .await;
}
