//! Who is refused, and how it is said: in the words of the dialect, at once, and without a request upstream.

mod credits;
mod keys;

use crate::harness::{Answer, World};

/// What every refusal has, and what none has.
async fn check_refusal(world: &World, answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code));
    let error = &answer.json()["error"];
    let message = error["message"].as_str().unwrap();
    assert!(message.ends_with('.') && message.len() > 20, "{message}");
    assert!(error["type"].is_string() && error.get("param").is_some(), "{error}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    assert_eq!(answer.header("transfer-encoding"), None);
    assert!(answer.header("x-request-id").is_some_and(|id| id.starts_with("req_")));
    assert_eq!(world.provider.seen().await.len(), 0, "nothing reaches the provider");
}

/// The same for one that a library must not repeat.
async fn check_final_refusal(world: &World, answer: &Answer, status: u16, code: &str) {
    check_refusal(world, answer, status, code).await;
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    for name in ["retry-after", "retry-after-ms"] {
        assert_eq!(answer.header(name), None);
    }
}
