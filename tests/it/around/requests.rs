//! Requests that say one thing to the meter and might say another one to the provider.

use serde_json::json;

use super::{BODY, CHAT, CREDITS, paid, setup};
use crate::harness::Canned;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_path_and_no_header_makes_work_free() {
    let world = setup().start().await;
    let mut left = CREDITS;
    for path in [
        "/v1/chat/completions/",
        "//v1//chat/completions",
        "/v1/./chat/completions",
        "/v1/chat/%63ompletions",
        "/v1/models/../chat/completions",
        "/v1/v1/chat/completions",
        "/openai/v1/chat/completions",
        "/openai/chat/completions",
        "/v1/chat/completions;x=/v1/models",
        "/v1/chat;v=1/completions",
        "/V1/Chat/Completions",
        "/v1/chat%2fcompletions",
        "/v1/chat/completions%20",
        "/v1/chat/completions%3f",
        "/v1/chat/completions%23",
        "/v1/chat/completions.json",
        "/v1/models?x=/../../v1/chat/completions",
        "/v1/chat/completions?key=",
        "/v1/chat/completions?model=free",
        "/v1/files/..%2fchat/completions",
        "/credits/../v1/chat/completions",
        "/v1/credits",
        "/v1/chat/completions/%2e",
        "/v1/chat/completions/x/..",
        "/openai/openai/v1/chat/completions",
        "/v1/openai/chat/completions",
    ] {
        for method in ["POST", "PUT", "GET"] {
            world
                .ask(method, path)
                .of("a")
                .json(&json!({ "model": "m", "messages": [] }))
                .send()
                .await;
            paid(&world, &format!("{method} {path}"), &mut left).await;
        }
    }
    for (name, value) in [
        ("x-http-method-override", "POST"),
        ("x-http-method", "POST"),
        ("x-method-override", "POST"),
        ("x-original-url", CHAT),
        ("x-rewrite-url", CHAT),
        ("x-forwarded-path", CHAT),
        ("x-forwarded-prefix", CHAT),
    ] {
        let ask = world.ask("GET", CHAT).of("a").header(name, value).body(BODY);
        ask.send().await;
        assert_eq!(paid(&world, name, &mut left).await, 0);
    }
    assert!(left < CREDITS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_body_names_two_models() {
    let world = setup().rule("model = 'dear*'\ncredits = 7").start().await;
    let json = "application/json";
    for (way, kind, body) in [
        ("twice", json, r#"{"model":"cheap","model":"dear"}"#),
        ("twice, once escaped", json, r#"{"model":"cheap","\u006dodel":"dear"}"#),
        ("twice, once in capitals", json, r#"{"model":"cheap","MODEL":"dear"}"#),
        ("once in capitals", json, r#"{"Model":"dear"}"#),
        ("behind the object", json, r#"{"model":"cheap"}{"model":"dear"}"#),
        ("a mark before it", json, "\u{feff}{\"model\":\"cheap\"}"),
        ("a stream that is a word", json, r#"{"model":"cheap","stream":"true"}"#),
        ("a comment", json, r#"{"model":"cheap"/*"*/,"model":"dear"/*"*/}"#),
        (
            "a half of a character",
            json,
            r#"{"model":"cheap","x":"\ud800","mode\ud800l":"dear","model\ud800":1,"model":2}"#,
        ),
        ("a form", "application/x-www-form-urlencoded", "model=dear&messages="),
        ("a multipart form", "multipart/form-data; boundary=b", BODY),
    ] {
        let answer =
            world.ask("POST", CHAT).of("a").header("content-type", kind).body(body).send().await;
        assert_eq!(answer.status, 400, "{way}");
    }
    // Read as JSON whatever it is called, as what it says.
    let ask = world.ask("POST", CHAT).of("a").header("content-type", "text/plain");
    ask.body(r#"{"mod\u0065l":"d\u0065ar","messages":[]}"#).send().await;
    let seen = world.provider.seen().await;
    assert_eq!((seen.len(), world.left("a").await), (1, CREDITS - 7), "{seen:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_form_is_read_in_two_ways() {
    let world = setup().start().await;
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; {name}\r\n\r\n{value}\r\n")
    };
    let model = part("name=\"model\"", "cheap");
    let end = "--b--\r\n";
    let one = "multipart/form-data; boundary=b";
    for (way, kinds, body) in [
        ("two models", vec![one], model.clone() + &part("name=\"model\"", "dear") + end),
        ("two names", vec![one], model.clone() + &part("name=\"x\"; name=\"model\"", "dear") + end),
        ("an extended name", vec![one], model.clone() + &part("name=\"x\"; name*=utf-8''model", "dear") + end),
        ("line feeds", vec![one], model.clone() + &part("name=\"x\"", "1\n--b\nContent-Disposition: form-data; name=\"model\"\n\ndear") + end),
        ("a boundary behind a head", vec![one], "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n".to_owned() + &part("name=\"model\"", "dear") + end),
        ("a part before the first", vec![one], part("name=\"model\"", "dear").replace("--b", "--c") + &model + end),
        ("a part behind the last", vec![one], model.clone() + end + &part("name=\"model\"", "dear").replace("--b", "--c")),
        ("two boundaries", vec!["multipart/form-data; boundary=b; boundary=c"], model.clone() + end),
        ("two types", vec![one, "multipart/form-data; boundary=c"], model.clone() + end),
        ("two types, one JSON", vec![one, "application/json"], model.clone() + end),
        ("an encoded part", vec![one], "--b\r\nContent-Disposition: form-data; name=\"model\"\r\nContent-Transfer-Encoding: base64\r\n\r\nZGVhcg==\r\n".to_owned() + end),
    ] {
        let mut ask = world.ask("POST", "/v1/audio/transcriptions").of("a");
        for kind in kinds {
            ask = ask.header("content-type", kind);
        }
        assert_eq!(ask.body(body).send().await.status, 400, "{way}");
    }
    let ask =
        world.ask("POST", "/v1/chat/completions").of("a").header("content-encoding", "identity");
    assert_eq!(ask.header("content-encoding", "br").body(BODY).send().await.status, 415);
    assert!(world.provider.seen().await.is_empty());
    assert_eq!(world.left("a").await, CREDITS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_provider_says_of_credits_or_of_other_places_does_not_count() {
    let answer = b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/v1/chat/completions\r\n\
        x-credits-charged: 0\r\nx-credits-remaining: 999999\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let provider = Canned::start(answer).await;
    let world = setup().upstream(provider.address).start().await;
    let answer = world.chat("a").send().await;
    // Not followed, and no work; the figures are the gateway's own.
    assert_eq!(answer.status, 307);
    assert_eq!(answer.header("x-credits-charged"), Some("0"));
    assert_ne!(answer.header("x-credits-remaining"), Some("999999"));
    assert_eq!((provider.heads().len(), world.left("a").await), (1, CREDITS));
}
