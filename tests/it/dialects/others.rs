//! The services whose dialects the simulated provider does not speak: what they get, and what their answers cost.

use serde_json::json;

use crate::harness::{Ask, Canned, PROVIDER_KEY, Setup, World, key_of};

/// A gateway to one provider that answers `answer` to everything.
async fn world(dialect: &str, answer: &'static [u8]) -> (World, Canned) {
    let canned = Canned::start(answer).await;
    let setup = Setup::new()
        .provider("other", dialect)
        .set("provider.other.tenancy", "'off'")
        .upstream(canned.address);
    let rule = "model = 'dear*'\ncredits = 5";
    let world = setup.set("price.default.credits", "1").rule(rule).account("a", 100).start().await;
    (world, canned)
}

async fn check(world: &World, ask: Ask, charged: u64) {
    let before = world.left("a").await;
    let answer = ask.send().await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    assert_eq!(before - world.left("a").await, charged, "{:?}", answer.body);
}

const JSON: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

const CHAT: &str = r#"{"model":"x","messages":[]}"#;
const DEAR: &str = r#"{"model":"dear","messages":[]}"#;
const SEVERAL: &str = r#"{"model":"x","models":["y","dear"],"messages":[]}"#;
const CLAUDE: &str = "/v1/projects/p/locations/l/publishers/anthropic/models";
const GOOGLE: &str = "/v1/projects/p/locations/l/publishers/google/models";
const BEARER: &str = "authorization: Bearer ";

/// Dialect, path, body; what is sent, before what the provider's key stands, and the price.
#[rustfmt::skip]
fn services() -> Vec<(&'static str, String, &'static str, String, &'static str, u64)> {
    [
        ("azure", "/openai/deployments/dear/chat/completions?api-version=1", CHAT, "=", "api-key: ", 5),
        ("azure", "/v1/chat/completions", DEAR, "/openai/v1/chat/completions", "api-key: ", 5),
        ("azure", "/anthropic/v1/messages", CHAT, "=", "x-api-key: ", 1),
        ("vertex", &format!("{GOOGLE}/dear:generateContent"), "{}", "=", BEARER, 5),
        ("vertex", &format!("{CLAUDE}/dear:streamRawPredict"), "{}", "=", BEARER, 5),
        ("vertex", &format!("{CLAUDE}/count-tokens:rawPredict"), "{}", "=", BEARER, 0),
        ("bedrock", "/model/dear.v1%3A0/converse", "{}", "/model/dear.v1:0/converse", BEARER, 5),
        ("bedrock", "/model/arn%3Aaws%2Fdear/invoke", "{}", "/model/arn:aws%2Fdear/invoke", BEARER, 1),
        ("ollama", "/api/chat", DEAR, "=", BEARER, 5),
        ("ollama", "/api/show", DEAR, "=", BEARER, 0),
        ("cohere", "/v2/rerank", CHAT, "=", BEARER, 1),
        ("mistral", "/v1/conversations/c", "{}", "=", BEARER, 1),
        ("deepseek", "/v1/chat/completions", CHAT, "/chat/completions", BEARER, 1),
        ("deepseek", "/anthropic/v1/messages", CHAT, "=", "x-api-key: ", 1),
        ("openrouter", "/v1/chat/completions", CHAT, "/api/v1/chat/completions", BEARER, 1),
        ("openrouter", "/api/v1/chat/completions", SEVERAL, "=", BEARER, 5),
    ]
    .map(|(dialect, path, body, sent, header, charged)| {
        let sent = if sent == "=" { path } else { sent };
        (dialect, path.to_owned(), body, sent.to_owned(), header, charged)
    })
    .into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_gets_its_own_paths_and_its_key() {
    for (dialect, path, body, sent, header, charged) in services() {
        let (world, canned) = world(dialect, JSON).await;
        let ask = world.ask("POST", &format!("/other{path}")).header("api-key", &key_of("a"));
        check(&world, ask.header("content-type", "application/json").body(body), charged).await;
        let head = canned.heads().pop().unwrap();
        assert!(head.starts_with(&format!("POST {sent} HTTP/1.1")), "{dialect}: {head}");
        assert!(head.contains(&format!("\r\n{header}{PROVIDER_KEY}")), "{dialect}: {head}");
        assert!(!head.contains(&key_of("a")), "{dialect}: {head}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_lines_costs_from_its_first_word_on() {
    let begun: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n{\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":false}\n";
    let spoken: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n{\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"done\":false}\n";
    let failed: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n{\"error\":\"out of memory\"}\n";
    for (answer, charged) in [(begun, 0), (spoken, 1), (failed, 0)] {
        let (world, _canned) = world("ollama", answer).await;
        let ask = world.ask("POST", "/other/api/chat").of("a");
        check(&world, ask.json(&json!({ "model": "m", "messages": [] })), charged).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_has_the_form_of_the_service() {
    for (dialect, path, status, expected) in [
        ("ollama", "/other/api/chat", 402, "{\"error\":\"You have used"),
        ("cohere", "/other/v2/chat", 402, "{\"message\":\"You have used"),
        (
            "mistral",
            "/other/v1/chat/completions",
            402,
            "{\"object\":\"error\",\"message\":\"You have used",
        ),
        ("bedrock", "/other/model/m/converse", 403, "{\"message\":\"You have used"),
        (
            "azure",
            "/other/openai/deployments/d/embeddings",
            402,
            "{\"error\":{\"message\":\"You have used",
        ),
        (
            "azure",
            "/other/anthropic/v1/messages",
            402,
            "{\"type\":\"error\",\"error\":{\"type\":\"billing_error\"",
        ),
    ] {
        let setup = Setup::new().provider("other", dialect).account("broke", 0);
        let world = setup.start().await;
        let body = json!({ "model": "m", "messages": [] });
        let answer = world.ask("POST", path).of("broke").json(&body).send().await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, status, "{dialect}: {text}");
        assert!(text.starts_with(expected), "{dialect}: {text}");
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        assert!(world.provider.seen().await.is_empty());
    }
}
