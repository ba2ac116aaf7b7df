//! Where a request goes, and what the provider gets of it.

use serde_json::json;

use super::{CONTENT, MESSAGES, content, content_body, message, message_body, three};
use crate::harness::{Canned, PROVIDER_KEY, Setup, key_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_serves_the_libraries_of_all_three() {
    let world = three().account("a", 100).start().await;
    let (key, mut left) = (key_of("a"), 100);
    let chat = crate::harness::chat_body(false);
    for (path, header, value, body, sent) in [
        (
            "/v1/chat/completions",
            "authorization",
            format!("Bearer {key}"),
            &chat,
            "/v1/chat/completions",
        ),
        ("/chat/completions", "api-key", key.clone(), &chat, "/v1/chat/completions"),
        (MESSAGES, "x-api-key", key.clone(), &message_body(false), MESSAGES),
        (
            "/v1/v1/messages?beta=true",
            "authorization",
            format!("Bearer {key}"),
            &message_body(false),
            "/v1/messages?beta=true",
        ),
        ("/messages", "authorization", format!("Bearer {key}"), &message_body(true), MESSAGES),
        ("/anthropic/v1/messages", "x-api-key", key.clone(), &message_body(false), MESSAGES),
        (CONTENT, "x-goog-api-key", key.clone(), &content_body(), CONTENT),
        (
            "/v1/models/sim-small:generateContent",
            "x-goog-api-key",
            key.clone(),
            &content_body(),
            "/v1/models/sim-small:generateContent",
        ),
        (
            "/models/sim-small%3AgenerateContent",
            "authorization",
            format!("Bearer {key}"),
            &content_body(),
            CONTENT,
        ),
        (
            "/gemini/v1beta/models/sim-small:generateContent",
            "x-goog-api-key",
            key.clone(),
            &content_body(),
            CONTENT,
        ),
        (
            "/v1beta/models/team/sim-small:streamGenerateContent?alt=sse",
            "x-goog-api-key",
            key.clone(),
            &content_body(),
            "/v1beta/models/team/sim-small:streamGenerateContent?alt=sse",
        ),
        (
            "/v1beta/openai/chat/completions",
            "authorization",
            format!("Bearer {key}"),
            &chat,
            "/v1beta/openai/chat/completions",
        ),
    ] {
        let answer = world.ask("POST", path).header(header, &value).json(body).send().await;
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
        assert_eq!(answer.header("x-credits-charged"), Some("1"), "{path}");
        left -= 1;
        assert_eq!(world.left("a").await, left, "{path}");
        assert_eq!(world.provider.last_is("answered").await.path, sent, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_several_know_a_path_the_headers_decide() {
    let world = three().account("a", 1).start().await;
    let key = key_of("a");
    for (path, headers, mark) in [
        ("/v1/models", &[("authorization", format!("Bearer {key}"))][..], "\"object\":\"list\""),
        ("/v1/models", &[("x-api-key", key.clone())], "\"has_more\""),
        (
            "/v1/models",
            &[
                ("authorization", format!("Bearer {key}")),
                ("anthropic-version", "2026-10-21".to_owned()),
            ],
            "\"has_more\"",
        ),
        ("/v1/models", &[("x-goog-api-key", key.clone())], "\"supportedGenerationMethods\""),
        (&format!("/v1/models?key={key}"), &[], "\"supportedGenerationMethods\""),
        (&format!("/v1beta/models?key={key}&pageSize=5"), &[], "\"supportedGenerationMethods\""),
    ] {
        let ask = headers
            .iter()
            .fold(world.ask("GET", path), |ask, (name, value)| ask.header(name, value));
        let answer = ask.send().await;
        assert_eq!(answer.status, 200, "{path} {headers:?}");
        let body = String::from_utf8_lossy(&answer.body);
        assert!(body.contains(mark), "{path} {headers:?}: {body}");
        let seen = world.provider.last_is("answered").await;
        assert!(!seen.path.contains("key="), "{}", seen.path);
    }
    assert_eq!(world.left("a").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_providers_key_is_where_it_wants_it_and_no_other_is() {
    let canned = Canned::start(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
    let world = three().account("a", 10).upstream(canned.address).start().await;
    let key = key_of("a");
    let everywhere = |ask: crate::harness::Ask| {
        let ask = ask.bearer(&key).header("x-api-key", &key).header("api-key", &key);
        ask.header("x-goog-api-key", &key).header("x-goog-user-project", "the-callers")
    };
    let message = world.ask("POST", MESSAGES).header("anthropic-version", "2023-06-01");
    everywhere(message.json(&message_body(false))).send().await;
    let path = format!("{CONTENT}?key={key}&alt=json");
    everywhere(world.ask("POST", &path).json(&content_body())).send().await;
    let path = format!("/v1beta/openai/models?key={key}");
    everywhere(world.ask("GET", &path)).send().await;
    let heads = canned.heads();
    for (head, first, header) in [
        (&heads[0], "POST /v1/messages HTTP/1.1", format!("x-api-key: {PROVIDER_KEY}")),
        (
            &heads[1],
            &format!("POST {CONTENT}?alt=json HTTP/1.1"),
            format!("x-goog-api-key: {PROVIDER_KEY}"),
        ),
        (
            &heads[2],
            "GET /v1beta/openai/models HTTP/1.1",
            format!("authorization: Bearer {PROVIDER_KEY}"),
        ),
    ] {
        assert!(head.starts_with(first), "{head}");
        assert!(head.contains(&header), "{head}");
        assert!(!head.contains(&key) && !head.contains("the-callers"), "{head}");
        assert_eq!(head.matches(PROVIDER_KEY).count(), 1, "{head}");
    }
    assert!(heads[0].contains("anthropic-version: 2023-06-01"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_has_its_price_wherever_the_dialect_names_it() {
    let setup = three()
        .set("provider.gemini.tenancy", "'off'")
        .set("price.default.credits", "1")
        .account("a", 100);
    let world = setup.rule("model = 'dear*'\ncredits = 5").start().await;
    let mut body = message_body(false);
    body["model"] = "dear-one".into();
    let dear_message = world.ask("POST", MESSAGES).of("a").json(&body);
    for (ask, charged) in [
        (message(&world, "a", false), "1"),
        (dear_message, "5"),
        (content(&world, "a", CONTENT), "1"),
        (content(&world, "a", "/v1beta/models/dear-one:generateContent"), "5"),
        (content(&world, "a", "/v1beta/models/%64ear-one:generateContent"), "5"),
        (content(&world, "a", "/v1beta/tunedModels/dear-one:generateContent"), "5"),
        (content(&world, "a", "/v1beta/models/cheap:embedContent"), "1"),
    ] {
        let answer = ask.send().await;
        assert_eq!(answer.header("x-credits-charged"), Some(charged), "{:?}", answer.body);
    }
    let batch = json!({ "requests": [{ "params": { "model": "m" } }, { "params": { "model": "dear-one" } }] });
    let answer = world.ask("POST", "/v1/messages/batches").of("a").json(&batch).send().await;
    assert_eq!(answer.header("x-credits-charged"), Some("5"), "{:?}", answer.body);
    // Two names for one model: whichever the provider takes, it is not sent.
    let twice = r#"{"model":"sim-small","model":"dear-one","max_tokens":1,"messages":[]}"#;
    let answer = world.ask("POST", MESSAGES).of("a").body(twice).send().await;
    assert_eq!(answer.status, 400);
    let long = format!("/v1beta/models/{}:generateContent", "x".repeat(300));
    assert_eq!(content(&world, "a", &long).send().await.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_without_its_key_is_refused_and_the_others_serve() {
    let setup = three().set("provider.anthropic.key", "{ env = 'NOT_SET' }").account("a", 10);
    let world = setup.start().await;
    for ask in [message(&world, "a", false), message(&world, "a", true)] {
        let answer = ask.send().await;
        assert_eq!(answer.status, 403);
        let error = &answer.json()["error"];
        assert_eq!(error["type"], "permission_error");
        assert_eq!(error["details"]["error_code"], "provider_not_available");
        assert_eq!(answer.header("x-should-retry"), Some("false"));
    }
    let stranger = world.ask("POST", MESSAGES).bearer("cg_unknown").json(&message_body(false));
    assert_eq!(stranger.send().await.status, 401);
    let free = world.ask("GET", "/anthropic/v1/models").of("a").send().await;
    assert_eq!(free.status, 403);
    assert!(world.provider.seen().await.is_empty());
    assert_eq!(content(&world, "a", CONTENT).send().await.status, 200);
    assert_eq!(world.chat("a").send().await.status, 200);
    assert_eq!(world.left("a").await, 8);
    let told = world.gateway.lines().iter().any(|line| {
        line["level"] == "WARN"
            && line.to_string().contains("NOT_SET")
            && line["provider"] == "anthropic"
    });
    assert!(told, "{}", world.gateway.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_key_there_is_nothing_to_serve() {
    let world = Setup::new().account("a", 1).start().await;
    let text = "[provider.a]\ndialect = 'openai'\nbase_url = 'http://127.0.0.1:9'\nkey = { env = 'NOT_SET' }\n";
    let mut launch = world.launch.clone();
    launch.config = launch.folder.join("none.toml");
    std::fs::write(&launch.config, format!("default_provider = 'a'\n{text}")).unwrap();
    let (status, log) = launch.fail().await;
    assert!(!status.success());
    assert!(log.contains("the provider `a` can't be used") && log.contains("NOT_SET"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_api_explains_where_a_request_goes() {
    let world = three().account("a", 1).start().await;
    for (method, path, dialect, provider, operation, decision) in [
        ("POST", MESSAGES, None, "anthropic", "chat", "metered"),
        ("POST", CONTENT, None, "gemini", "chat", "metered"),
        ("POST", "/v1beta/models/m:countTokens", None, "gemini", "other", "free"),
        ("GET", "/v1/models", None, "openai", "other", "free"),
        ("GET", "/v1/models", Some("anthropic"), "anthropic", "other", "free"),
        ("POST", "/v1beta/auth_tokens", None, "gemini", "session", "refused"),
        ("GET", "/v1/organizations/users", None, "anthropic", "other", "refused"),
    ] {
        let mut asked = json!({ "method": method, "path": path });
        if let Some(dialect) = dialect {
            asked["dialect"] = dialect.into();
        }
        let routed = world.admin("POST", "/admin/v1/route").json(&asked).send().await.json();
        let found =
            ["provider", "operation", "decision"].map(|name| routed[name].as_str().unwrap());
        assert_eq!(found, [provider, operation, decision], "{method} {path}: {routed}");
    }
}
