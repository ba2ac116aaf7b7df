//! The provider says what work it was.

use serde_json::{Value, json};

use super::{INPUT, PRICES, chat, setup};
use crate::harness::{SOON, Setup, eventually};

/// A call: its path, its body, what the provider is told to report, and the charge in µ, computed by hand.
fn calls() -> Vec<(&'static str, Value, &'static str, u64)> {
    let asking = |mut body: Value| {
        body["stream_options"] = json!({ "include_usage": true });
        body
    };
    let thinker = "input-tokens=1000,cached-tokens=200,output-tokens=50,reasoning-tokens=40";
    let tokens = "input-tokens=70,output-tokens=3";
    let answer = |stream: bool| json!({ "model": "m", "input": "Hello", "stream": stream });
    vec![
        // 800 × 1.25 + 200 × 0.125 + 10 × 10 + 40 × 20
        ("/v1/chat/completions", chat("thinker", false), thinker, 1_925),
        ("/v1/chat/completions", chat("thinker", true), thinker, 1_925),
        ("/v1/chat/completions", asking(chat("thinker", true)), thinker, 1_925),
        // 7 × 1.25 + 0.25, and the minimum
        ("/v1/chat/completions", chat("thinker", false), "input-tokens=7,output-tokens=0", 500),
        // 401 × 1.25 = 501.25, rounded up
        ("/v1/chat/completions", chat("thinker", false), "input-tokens=401,output-tokens=0", 502),
        // 70 + 3 × 10
        ("/v1/chat/completions", chat("m", true), tokens, 100),
        ("/v1/completions", json!({ "model": "m", "prompt": "Hello" }), tokens, 100),
        ("/v1/completions", json!({ "model": "m", "prompt": "Hi", "stream": true }), tokens, 100),
        ("/v1/responses", answer(false), tokens, 100),
        ("/v1/responses", answer(true), tokens, 100),
        ("/v1/embeddings", json!({ "model": "m", "input": ["a", "b"] }), "input-tokens=9", 9),
        // Two pictures at 0.04, and one whose model works in tokens.
        (
            "/v1/images/generations",
            json!({ "model": "painter", "prompt": "A hat", "n": 2 }),
            "",
            80_000,
        ),
        ("/v1/images/generations", json!({ "model": "m", "prompt": "A hat" }), tokens, 100),
        // Five characters at 15 µ.
        ("/v1/audio/speech", json!({ "model": "m", "input": "Grüße", "voice": "v" }), "", 75),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn is_charged_to_the_millionth() {
    let mut world = setup().start().await;
    let mut expected = Vec::new();
    for (path, body, switches, charge) in calls() {
        let answer = world.ask("POST", path).of("a").json(&body).sim(switches).open().await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.headers.contains_key("x-credits-held"), "{path}");
        assert!(!answer.headers.contains_key("x-credits-charged"), "{path}");
        expected.push((answer.request_id().unwrap(), charge, path, switches));
        answer.whole().await;
    }
    for (model, switches, charge) in
        [("listener", "seconds=12", 1_200), ("m", "input-tokens=30,output-tokens=4", 70)]
    {
        let form = format!(
            "--cut\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--cut\r\n\
             content-disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\nID3\r\n--cut--\r\n"
        );
        let ask = world.ask("POST", "/v1/audio/transcriptions").of("a").body(form);
        let ask = ask.header("content-type", "multipart/form-data; boundary=cut").sim(switches);
        let answer = ask.open().await;
        assert_eq!(answer.status, 200, "{model}");
        expected.push((answer.request_id().unwrap(), charge, "transcription", switches));
        answer.whole().await;
    }
    world.resolved().await;
    let books = world.stop().await;
    let charges = books.charges("a").await;
    for (id, charge, path, switches) in expected {
        assert_eq!(charges.get(&id), Some(&charge), "{path} {switches}");
    }
    assert_eq!(books.audit().await.open_holds, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_head_says_what_is_held_and_the_balance_what_was_charged() {
    let world = setup().start().await;
    let mut body = chat("m", false);
    body["n"] = json!(2);
    let ask = world.ask("POST", "/v1/chat/completions").of("a").json(&body);
    let answer = ask.sim("input-tokens=10,output-tokens=1").send().await;
    // 8 tokens at 1, and twice 1000 at 10.
    assert_eq!(INPUT + 2 * 1000 * 10, 20_008);
    assert_eq!(answer.header("x-credits-held"), Some("0.020008"));
    assert_eq!(answer.header("x-credits-remaining"), Some("99.979992"));
    world.resolved().await;
    assert_eq!(world.credits("a").await["remaining"].to_string(), "99.99998");

    let failed = world.ask("POST", "/v1/chat/completions").of("a").json(&body).sim("status=500");
    let failed = failed.send().await;
    assert_eq!(failed.header("x-credits-charged"), Some("0"));
    assert_eq!(failed.header("x-credits-held"), None);
    assert_eq!(failed.header("x-credits-remaining"), Some("99.99998"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_and_the_metrics_tell_the_units() {
    let world = Setup::new().prices(PRICES).account("a", 100).start().await;
    let ask = || world.ask("POST", "/v1/chat/completions").of("a").json(&chat("thinker", true));
    ask().sim("input-tokens=1000,cached-tokens=200,output-tokens=50").send().await;
    ask().sim("no-usage").send().await;
    let lines = eventually("two requests are logged", SOON, async || {
        let lines = world.gateway.lines();
        let lines: Vec<_> =
            lines.into_iter().filter(|line| line["target"] == "creditgate::request").collect();
        (lines.len() == 2).then_some(lines)
    })
    .await;
    assert_eq!(lines[0]["charged_by"], "reported");
    assert_eq!(lines[0]["usage"], "800 input, 200 cached_input, 50 output");
    assert_eq!(lines[0]["credits_charged"], "0.001525");
    assert_eq!(lines[1]["charged_by"], "estimated");
    assert_eq!(lines[1]["usage"], "8 input, 7 output");

    let explain = async |line: &Value| {
        let path = format!("/admin/v1/explain/{}", line["request"].as_str().unwrap());
        world.admin("GET", &path).send().await.json()
    };
    world.resolved().await;
    let told = explain(&lines[0]).await;
    assert_eq!(told["charged_by"], "reported");
    assert_eq!(told["usage"], json!({ "input": 800, "cached_input": 200, "output": 50 }));
    let told = told["explanation"].as_str().unwrap().to_owned();
    assert!(told.contains("reported: 800 input, 200 cached_input, 50 output"), "{told}");
    assert_eq!(explain(&lines[1]).await["charged_by"], "estimated");

    let metrics = world.metrics().await;
    let count = |name: &str| metrics.get(name).copied().unwrap_or_default();
    assert_eq!(count(r#"creditgate_charges_total{basis="reported"}"#), 1);
    assert_eq!(count(r#"creditgate_charges_total{basis="estimated"}"#), 1);
    assert_eq!(count(r#"creditgate_work_units_total{unit="input"}"#), 808);
    assert_eq!(count(r#"creditgate_work_units_total{unit="cached_input"}"#), 200);
    // 1525, and the minimum.
    assert_eq!(count("creditgate_charged_microcredits_total"), 2_025);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_is_explained_with_its_prices() {
    let world = setup().start().await;
    let ask = world.admin("POST", "/admin/v1/route");
    let asked = json!({ "method": "POST", "path": "/v1/chat/completions", "model": "thinker" });
    let routed = ask.json(&asked).send().await.json();
    assert_eq!(routed["credits"], Value::Null);
    assert_eq!(routed["rates"]["cached_input"].to_string(), "0.125");
    assert_eq!(routed["rule"], "rule 4");
    let explanation = routed["explanation"].as_str().unwrap();
    assert!(explanation.contains("(input 1.25, cached_input 0.125, output 10, reasoning 20)"));
}
