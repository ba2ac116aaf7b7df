//! Where the bytes of Google's resumable uploads go. Its libraries send no key there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::harness::{Canned, Fleet, Process, RedisServer, free_port};

/// Begins an upload as `google-genai` does, with the key in Google's header.
fn start(ask: Ask, account: &str) -> Ask {
    ask.header("x-goog-api-key", &key_of(account))
        .header("x-goog-upload-protocol", "resumable")
        .header("x-goog-upload-command", "start")
        .header("x-goog-upload-header-content-type", "text/plain")
        .json(&json!({ "file": { "displayName": "notes" } }))
}

/// The address of an upload that was begun.
async fn begun(gateway: &Process, account: &str) -> String {
    let answer = start(gateway.ask("POST", FILES), account).send().await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    assert_eq!(answer.header("x-goog-upload-status"), Some("active"));
    answer.header("x-goog-upload-url").unwrap().to_owned()
}

/// Sends a piece as `google-genai` does: without a key, and with what is said of the JSON before.
fn piece(ask: Ask, command: &str, offset: usize, bytes: &[u8]) -> Ask {
    ask.header("x-goog-upload-command", command)
        .header("x-goog-upload-offset", &offset.to_string())
        .header("content-type", "application/json")
        .body(bytes.to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bytes_of_an_upload_come_through_the_gateway() {
    // Nothing of it is held in memory.
    let limits = setup().set("limits.metered_body", "'64KiB'");
    let world = limits.set("limits.buffered_bodies", "'64KiB'").start().await;
    let address = begun(&world.gateway, "a").await;
    let path = below(&world, &address);
    let start = format!("{FILES}?upload_id=sim1&upload_protocol=resumable&creditgate_ticket=");
    assert!(path.starts_with(&start), "{path}");
    assert_tells_no_secret(&address);

    let bytes: Vec<u8> = (0..3_u32 << 18).flat_map(u32::to_be_bytes).collect();
    let (first, second) = bytes.split_at(1 << 20);
    world.provider.forget().await;
    let answer = piece(world.ask("POST", path), "upload", 0, first).send().await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    assert_eq!(answer.header("x-goog-upload-status"), Some("active"));
    let finalize = "upload, finalize";
    let answer = piece(world.ask("POST", path), finalize, first.len(), second).send().await;
    assert_eq!(answer.header("x-goog-upload-status"), Some("final"), "{:?}", answer.body);
    let file = answer.json()["file"].clone();
    assert_eq!(file["sha256Hash"], STANDARD.encode(Sha256::digest(&bytes)));
    for seen in world.provider.seen().await {
        assert_eq!(seen.path, "/upload/v1beta/files?upload_id=sim1&upload_protocol=resumable");
        assert!(seen.headers.contains_key("x-goog-api-key"), "{seen:?}");
    }

    // It is the file of its account, and has cost nothing.
    let file = format!("/gemini/v1beta/{}", file["name"].as_str().unwrap());
    assert_refused(&world.ask("GET", &file).of("a").send().await, 200);
    assert_refused(&world.ask("GET", &file).of("b").send().await, 404);
    let content = world.ask("GET", &format!("{file}:download?alt=media")).of("a").send().await;
    assert_eq!(content.body, bytes);
    assert_eq!(world.left("a").await, 50);
    let log = world.gateway.log();
    assert!(!log.contains("creditgate_ticket") && !log.contains("upload_id"), "{log}");
    assert_tells_no_secret(&log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_is_gone_on_with_by_its_account_only() {
    let world = setup().start().await;
    let (own, others) = (begun(&world.gateway, "a").await, begun(&world.gateway, "b").await);
    let (own, others) = (below(&world, &own), below(&world, &others));
    let bare = own.split("&creditgate_ticket").next().unwrap();
    let (_, ticket) = own.split_once("creditgate_ticket=").unwrap();
    let (_, others_ticket) = others.split_once("creditgate_ticket=").unwrap();
    let forged = format!("{}{}", &ticket[..ticket.len() - 4], "AAAA");
    world.provider.forget().await;
    let go_on = |path: &str| piece(world.ask("POST", path), "upload", 0, b"x");
    for (what, ask, status) in [
        ("nothing", go_on(bare), 401),
        ("a forged ticket", go_on(&own.replace(ticket, &forged)), 401),
        ("no ticket's text", go_on(&own.replace(ticket, "%ff")), 401),
        ("the ticket of another upload", go_on(&own.replace(ticket, others_ticket)), 401),
        ("another upload", go_on(&own.replace("sim1", "sim2")), 401),
        ("a second upload", go_on(&format!("{own}&upload_id=sim2")), 401),
        ("a hidden upload", go_on(&format!("{own}&upload%5Fid=sim2")), 401),
        ("another's key", go_on(own).of("b"), 404),
        ("another's key alone", go_on(bare).of("b"), 404),
        ("another's key and ticket", go_on(&own.replace(ticket, others_ticket)).of("b"), 404),
        ("one's own key alone", go_on(bare).of("a"), 404),
        ("a wrong key", go_on(own).bearer("cg_wrong"), 401),
        ("an unlisted path", go_on(&own.replace("/files", "/brand/new")), 401),
        ("another provider", go_on(&own.replace("/gemini", "/anthropic")), 401),
    ] {
        let answer = ask.send().await;
        assert_eq!(answer.status, status, "{what}: {:?}", answer.body);
    }
    for method in ["GET", "DELETE", "PATCH"] {
        let answer = world.ask(method, bare).of("b").send().await;
        assert_refused(&answer, 404);
    }
    // A ticket is a key to nothing else.
    for path in ["/gemini/v1beta/files", "/gemini/v1beta/models/m:generateContent", FILES] {
        let path = format!("{path}?creditgate_ticket={ticket}");
        assert_refused(&world.ask("POST", &path).body("{}").send().await, 401);
    }
    assert_eq!(world.provider.seen().await.len(), 0);
    // With the key or without.
    assert_refused(&go_on(own).of("a").send().await, 200);
    let ask = piece(world.ask("POST", own), "upload, finalize", 1, b"y");
    assert_refused(&ask.send().await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_is_worth_what_its_key_is_worth() {
    let world = setup().start().await;
    let address = begun(&world.gateway, "a").await;
    let path = below(&world, &address);
    assert_refused(&piece(world.ask("POST", path), "upload", 0, b"x").send().await, 200);
    let keys = world.gateway.run(&["key", "list", "a"]);
    let key = keys["keys"][0]["id"].as_str().unwrap();
    world.gateway.run(&["key", "revoke", key]);
    assert_refused(&piece(world.ask("POST", path), "upload", 1, b"x").send().await, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_key_begins_an_upload_for_the_account_that_it_names() {
    let world = setup().service_key("cg_service").start().await;
    let ask = world.ask("POST", FILES).bearer("cg_service").header("x-credits-account", "a");
    let ask = ask.header("x-goog-upload-command", "start").json(&json!({}));
    let address = ask.send().await.header("x-goog-upload-url").unwrap().to_owned();
    let path = below(&world, &address);
    let ask = piece(world.ask("POST", path), "upload, finalize", 0, b"x");
    let file = ask.send().await.json()["file"]["name"].as_str().unwrap().to_owned();
    let file = format!("/gemini/v1beta/{file}");
    assert_refused(&world.ask("GET", &file).of("a").send().await, 200);
    assert_refused(&world.ask("GET", &file).of("b").send().await, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_began_at_one_gateway_goes_on_at_another() {
    let fleet = Fleet::start(setup(), RedisServer::start(&[]), 2).await;
    let address = begun(&fleet.gateways[0], "a").await;
    let (_, path) = address.split_once(FILES).unwrap();
    let other = fleet.gateways[1].ask("POST", &format!("{FILES}{path}"));
    assert_refused(&piece(other, "upload, finalize", 0, b"x").send().await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_elsewhere_is_not_followed_and_gets_no_ticket() {
    const ELSEWHERE: &str = "https://storage.test/upload/v1beta/files?upload_id=1";
    // Neither another host, nor what is no upload at the provider's own.
    for address in
        [ELSEWHERE, "http://HERE/elsewhere?upload_id=1", "/upload/v1beta/files?upload_id=1"]
    {
        let headers = format!("x-goog-upload-url: {address}\r\ncontent-length: 0\r\n");
        let provider = Canned::start(canned(&headers, b"")).await;
        let world = setup().upstream(provider.address).start().await;
        let answer = start(world.ask("POST", FILES), "a").send().await;
        assert_eq!(answer.header("x-goog-upload-url"), Some(address));
        assert!(world.gateway.log().contains("leads past the gateway"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_older_protocols_address_leads_back_too() {
    // The provider is found at an address that the answer has to name.
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let location =
        format!("http://{address}/upload/v1beta/files?uploadType=resumable&upload_id=Z&key=k");
    let headers = format!("location: {location}\r\ncontent-length: 0\r\n");
    let provider = Canned::start_at(address, canned(&headers, b"")).await;
    let world = setup().upstream(provider.address).start().await;
    let path = format!("{FILES}?uploadType=resumable");
    let answer = world.ask("POST", &path).of("a").json(&json!({})).send().await;
    let location = answer.header("location").unwrap().to_owned();
    let path = below(&world, &location);
    let start = format!("{FILES}?uploadType=resumable&upload_id=Z&creditgate_ticket=");
    assert!(path.starts_with(&start), "{path}");
    // Its bytes are put there.
    let ask = world.ask("PUT", path).header("content-range", "bytes 0-0/1").body("x");
    assert_refused(&ask.send().await, 200);
    let sent = provider.heads().pop().unwrap();
    assert!(sent.starts_with("PUT /upload/v1beta/files?uploadType=resumable&upload_id=Z HTTP/1.1"));
    assert!(sent.to_ascii_lowercase().contains(&format!("host: {address}")), "{sent}");
}
