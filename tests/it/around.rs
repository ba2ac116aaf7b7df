//! Ways around the meter: whatever is tried, what reaches the provider as AI work is charged to the account whose key came
//! with it, or nothing reaches the provider.

mod callers;
mod endings;
mod http1;
mod http2;
mod requests;

use crate::harness::{Setup, World};

/// What `a`, who tries, and `b`, who should pay for it, have at first.
const CREDITS: u64 = 200;

const CHAT: &str = "/v1/chat/completions";
const BODY: &str = r#"{"model":"m","messages":[]}"#;

fn setup() -> Setup {
    let credits = u32::try_from(CREDITS).unwrap();
    Setup::new().account("a", credits).account("b", credits)
}

/// Fails if `a` has not paid for each call that the provider worked for since the last time, or anybody else has. Returns
/// how many there were.
async fn paid(world: &World, way: &str, left: &mut u64) -> u64 {
    world.resolved().await;
    let seen = world.provider.seen().await;
    let works = |path: &str| path.split('?').next().unwrap().eq_ignore_ascii_case(CHAT);
    let calls =
        seen.iter().filter(|seen| works(&seen.path) && seen.method == "POST").count() as u64;
    for seen in &seen {
        let text = format!("{:?}", seen.headers);
        assert!(!text.contains("cg_secret"), "{way}: a key went to the provider: {text}");
        assert!(!seen.headers.keys().any(|name| name.starts_with("x-credits-")), "{way}: {text}");
    }
    let now = world.left("a").await;
    assert_eq!(*left - now, calls, "{way}: paid for, and worked for: {seen:#?}");
    assert_eq!(world.left("b").await, CREDITS, "{way}");
    *left = now;
    world.provider.forget().await;
    calls
}
