//! Where the results of Anthropic's batches are.

use std::io::Write as _;
use std::net::SocketAddr;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::harness::{Canned, free_port, sha256};

const BATCHES: &str = "/anthropic/v1/messages/batches";

async fn create(world: &World, account: &str) -> String {
    let request = |id: &str| {
        json!({
            "custom_id": id,
            "params": {
                "model": "sim-small",
                "max_tokens": 1,
                "messages": [{ "role": "user", "content": "Hello." }],
            },
        })
    };
    let body = json!({ "requests": [request("one"), request("two")] });
    let made = world.ask("POST", BATCHES).of(account).json(&body).send().await;
    assert_eq!((made.status.as_u16(), &made.json()["results_url"]), (200, &Value::Null));
    made.json()["id"].as_str().unwrap().to_owned()
}

/// The answer is what the provider sent, but that its addresses lead here.
async fn assert_same_but_for_addresses(world: &World, answer: &Answer) {
    let sent = world.provider.last_is("answered").await;
    let (here, there) = (
        format!("http://{}/anthropic/", world.gateway.address),
        format!("http://{}/", world.provider.address),
    );
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(text.contains(&here), "{text}");
    assert_eq!(sha256(text.replace(&here, &there).as_bytes()), sent.response_sha256);
    assert_eq!(answer.header("content-length"), Some(text.len().to_string().as_str()));
    assert_tells_no_secret(&text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_results_of_a_batch_are_found_here() {
    for tenancy in ["strict", "learn", "off"] {
        let setup = setup().set("provider.anthropic.tenancy", &format!("'{tenancy}'"));
        let world = setup.start().await;
        let id = create(&world, "a").await;
        let path = format!("{BATCHES}/{id}");
        let batch = world.ask("GET", &path).of("a").send().await;
        assert_same_but_for_addresses(&world, &batch).await;
        let address = batch.json()["results_url"].as_str().unwrap().to_owned();
        assert_eq!(below(&world, &address), format!("{path}/results"), "{tenancy}");

        let list = world.ask("GET", BATCHES).of("a").send().await;
        assert_same_but_for_addresses(&world, &list).await;
        assert_eq!(list.json()["data"][0]["results_url"], address);

        let results = world.ask("GET", below(&world, &address)).of("a").send().await;
        assert_eq!(results.sha256(), world.provider.last_is("answered").await.response_sha256);
        assert_eq!(results.body.split(|byte| *byte == b'\n').count(), 3);
        let others = world.ask("GET", below(&world, &address)).of("b").send().await;
        assert_refused(&others, if tenancy == "strict" { 404 } else { 200 });
        assert_eq!(world.left("a").await, 49, "only the batch itself costs");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_is_the_one_by_which_assistants_find_the_gateway() {
    let world = setup().set("public_url", "'https://ai.example.com/gate/'").start().await;
    let id = create(&world, "a").await;
    let path = format!("{BATCHES}/{id}");
    let address = async |ask: Ask| ask.of("a").send().await.json()["results_url"].clone();
    let public = format!("https://ai.example.com/gate{path}/results");
    assert_eq!(address(world.ask("GET", &path)).await, public);

    // Without it, by what the request says; what a proxy might have added is not believed.
    let world = setup().start().await;
    let id = create(&world, "a").await;
    let path = format!("{BATCHES}/{id}");
    let ask = world.ask("GET", &path).header("host", "gate.test:8080");
    let ask = ask.header("x-forwarded-host", "evil.test").header("x-forwarded-proto", "https");
    assert_eq!(address(ask).await, format!("http://gate.test:8080{path}/results"));
    let here = format!("http://{}{path}/results", world.gateway.address);
    assert_eq!(address(world.ask_http2("GET", &path)).await, here);
    // However the path begins that was asked.
    let bare = format!("/v1/messages/batches/{id}");
    let ask = world.ask("GET", &bare).header("anthropic-version", "2023-06-01");
    assert_eq!(address(ask).await, here);
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// The answer to a question about a batch, where the provider answers with `headers` and what `body` says at its address;
/// and how addresses there and here begin.
async fn passed(headers: &str, body: impl Fn(&str) -> Vec<u8>) -> (Answer, [String; 2]) {
    let headers = format!("{headers}content-type: application/json\r\netag: \"x\"\r\n");
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let there = format!("http://{address}/v1");
    let provider = Canned::start_at(address, canned(&headers, &body(&there))).await;
    let setup = setup().set("provider.anthropic.tenancy", "'off'").upstream(address);
    let world = setup.start().await;
    let ask = world.ask("GET", &format!("{BATCHES}/b")).of("a").header("accept-encoding", "gzip");
    let answer = ask.send().await;
    let heads = provider.heads();
    assert!(heads[0].contains("accept-encoding: identity"), "{heads:?}");
    (answer, [there, format!("http://{}/anthropic/v1", world.gateway.address)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_answer_comes_back_plain() {
    let text = |at: &str| format!("{{ \"results_url\" : \"{at}/messages/batches/b/results\" }}");
    let body = |there: &str| gzip(text(there).as_bytes());
    let (answer, [_, here]) = passed("content-encoding: gzip\r\n", body).await;
    assert_eq!((answer.status.as_u16(), answer.body), (200, text(&here).into()));
    let told = |name: &str| answer.headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!(told("content-length"), Some(text(&here).len().to_string().as_str()));
    assert_eq!((told("content-encoding"), told("etag")), (None, None));
    // What can't be read has no address that could be changed, and is not passed on.
    let (answer, _) = passed("content-encoding: gzip\r\n", |_| b"{}".to_vec()).await;
    assert_refused(&answer, 502);
    let spaces = vec![b' '; 65 << 20];
    let (answer, _) = passed("content-encoding: gzip\r\n", |_| gzip(&spaces)).await;
    assert_refused(&answer, 502);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_address_of_the_providers_stays_as_it_is() {
    for body in [
        &br#"{ "results_url":"https://elsewhere.test/v1/messages/batches/b/results" }"#[..],
        br#"{"results_url":7}"#,
        b"[no JSON",
        b"",
    ] {
        let (answer, _) = passed("", |_| body.to_vec()).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, body));
        assert_eq!(answer.header("etag"), Some("\"x\""));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_too_large_to_be_read_is_kept_back() {
    let length = format!("content-length: {}\r\n", 65 << 20);
    let (answer, _) = passed(&length, |_| b"{".to_vec()).await;
    assert_refused(&answer, 502);
}
