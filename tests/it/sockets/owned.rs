//! What a socket names must be its account's.

use super::*;

const RESPONSES: &str = "/v1/responses";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_made_through_a_socket_is_continued_by_its_account_only() {
    let world = setup().account("b", 10).start().await;
    let create = |more: Value| {
        let mut event = json!({ "type": "response.create", "model": "m", "input": "Hello." });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let mut own = open(&world, RESPONSES, "a").await;
    own.say(&create(json!({}))).await;
    let made = own.until("response.completed").await["response"]["id"].clone();
    let more = create(json!({ "previous_response_id": made }));
    own.say(&more).await;
    own.until("response.completed").await;

    let mut other = open(&world, RESPONSES, "b").await;
    let nested = json!({ "type": "response.create", "response": { "model": "m", "input": [{ "type": "item_reference", "id": made }] } });
    let escaped = more.to_string().replace("previous_response_id", r"previous_respons\u0065_id");
    for event in [more.to_string(), nested.to_string(), escaped] {
        other.stream.send(Message::text(event)).await.unwrap();
        let error = other.until("error").await;
        assert!(
            matches!(error["error"]["code"].as_str(), Some("not_found" | "invalid_request")),
            "{error}"
        );
    }
    // What is said over HTTP is the same.
    let body = json!({ "model": "m", "input": "x", "previous_response_id": made });
    let ask = world.ask("POST", RESPONSES);
    assert_eq!(ask.of("b").json(&body).send().await.status, 404);
    // The socket goes on, and nothing was charged. (The simulated provider counts anew in each socket: from here on `b` has a
    // response of this name, too.)
    other.say(&create(json!({}))).await;
    other.until("response.completed").await;
    assert_eq!(world.left("b").await, 9);
    assert_eq!(world.left("a").await, 8);
}
