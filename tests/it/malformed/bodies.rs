//! Bodies.

use serde_json::json;

use super::check_untouched;
use crate::harness::{Setup, World};

const CHAT: &str = "/v1/chat/completions";

async fn world() -> World {
    Setup::new().set("limits.metered_body", "'64KiB'").account("a", 10).start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_no_request_is_refused_with_a_reason() {
    let world = world().await;
    let deep = [r#"{"model":"m","messages":"#, &"[".repeat(30_000)].concat();
    let long = format!(r#"{{"model":"{}"}}"#, "m".repeat(257));
    let cases: &[(&[u8], &str)] = &[
        (b"", "empty"),
        (b"hello", "not valid JSON"),
        (b"{\"model\":\"m\"", "not valid JSON"),
        (b"{\"model\":\"m\"} trailing", "not valid JSON"),
        (b"{\"model\":\"m\"}{\"model\":\"n\"}", "not valid JSON"),
        (b"[1]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"{}", "names no model"),
        (b"{\"messages\":[]}", "names no model"),
        (b"{\"model\":\"\"}", "names no model"),
        (b"{\"model\":7}", "wrong type"),
        (b"{\"model\":null}", ""),
        (b"{\"model\":[\"m\"]}", "wrong type"),
        (b"{\"model\":\"m\",\"stream\":\"yes\"}", "wrong type"),
        (b"{\"model\":\"m\",\"model\":\"n\"}", "given twice"),
        (b"{\"model\":\"m\",\"mod\\u0065l\":\"n\"}", "given twice"),
        (b"{\"model\":\"m\",\"x\":\"\xff\"}", "UTF-8"),
        (b"\xef\xbb\xbf{\"model\":\"m\"}", ""),
        (deep.as_bytes(), "deeper"),
        (long.as_bytes(), "longer than 256 bytes"),
    ];
    for (body, reason) in cases {
        let ask = world.ask("POST", CHAT).of("a").header("content-type", "application/json");
        let answer = ask.body(body.to_vec()).send().await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]);
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (400, "invalid_request"),
            "{shown}"
        );
        let json = answer.json();
        let message = json["error"]["message"].as_str().unwrap();
        assert!(message.contains(reason), "{shown}: {message}");
        assert_eq!(json["error"]["type"], "invalid_request_error");
    }
    check_untouched(&world, "a", 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deep_body_that_is_valid_is_no_trouble() {
    let world = world().await;
    let body = [r#"{"model":"m","x":"#, &"[".repeat(20_000), &"]".repeat(20_000), "}"].concat();
    let ask = world.ask("POST", CHAT).of("a").header("content-type", "application/json");
    // Passed on or refused, but answered.
    assert!([200, 400].contains(&ask.body(body).send().await.status.as_u16()));
    assert_eq!(world.chat("a").send().await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_large_is_refused_with_413() {
    let world = world().await;
    let limit = 64 * 1024;
    let body = |length: usize| {
        let empty = json!({ "model": "m", "x": "" }).to_string().len();
        json!({ "model": "m", "x": "x".repeat(length - empty) })
    };
    let ask = world.ask("POST", CHAT).of("a").json(&body(limit + 1));
    let answer = ask.send().await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (413, "request_too_large"));
    check_untouched(&world, "a", 10).await;
    assert_eq!(world.ask("POST", CHAT).of("a").json(&body(limit)).send().await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_can_not_be_read_is_refused() {
    let world = world().await;
    let body = r#"{"model":"m","messages":[]}"#;
    let ask = world.ask("POST", CHAT).of("a").header("content-encoding", "gzip").body(body);
    assert_eq!(ask.send().await.status, 400);
    let form = "multipart/form-data; boundary=cut";
    let ask = world.ask("POST", CHAT).of("a").header("content-type", form).body(body);
    assert_eq!(ask.send().await.status, 400);
    let ask = world.ask("POST", "/v1/audio/transcriptions").of("a").header("content-type", form);
    assert_eq!(ask.body("--cut\r\nno form").send().await.status, 400);
    let ask = world.ask("POST", "/v1/audio/transcriptions").of("a");
    assert_eq!(ask.json(&json!({ "model": "m" })).send().await.status, 400);
    check_untouched(&world, "a", 10).await;
}
