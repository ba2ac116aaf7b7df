//! Addresses of the provider's in its answers lead back through the gateway, and nowhere else.

use serde_json::{Value, json};

use crate::harness::{Answer, Ask, PROVIDER_KEY, Setup, TOKEN, World, key_of};

mod batches;
mod uploads;

const FILES: &str = "/gemini/upload/v1beta/files";

fn setup() -> Setup {
    let setup = Setup::new().provider("anthropic", "anthropic").provider("gemini", "gemini");
    setup.account("a", 50).account("b", 50)
}

/// Answers of JSON with these headers, as a provider writes them.
fn canned(headers: &str, body: &[u8]) -> &'static [u8] {
    let head = format!("HTTP/1.1 200 OK\r\n{headers}connection: close\r\n\r\n");
    [head.as_bytes(), body].concat().leak()
}

/// The path and query of an address, which must be the gateway's.
#[track_caller]
fn below<'a>(world: &World, address: &'a str) -> &'a str {
    let gateway = format!("http://{}", world.gateway.address);
    address.strip_prefix(&gateway).unwrap_or_else(|| panic!("{address} is not below {gateway}"))
}

/// Nothing that is secret stands in `text`.
#[track_caller]
fn assert_tells_no_secret(text: &str) {
    for secret in [PROVIDER_KEY, TOKEN, &key_of("a"), &key_of("b")] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{:?}", answer.body);
}
