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
    // The socket goes on, and nothing was charged.
    other.say(&create(json!({}))).await;
    other.until("response.completed").await;
    assert_eq!(world.left("b").await, 9);
    assert_eq!(world.left("a").await, 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_handshake_names_is_its_accounts() {
    let world = setup().account("b", 10).start().await;
    let tuned = "ft:gpt-realtime:acme::1";
    world.gateway.run(&["own", "a", "openai", tuned]);
    world.gateway.run(&["own", "a", "openai", "rtc_1"]);
    let status = async |account: &str, query: &str| {
        let bearer = format!("Bearer {}", key_of(account));
        let path = format!("/v1/realtime?{query}");
        let opened = try_open(&world, &path, &[("authorization", &bearer)]).await;
        opened.map_or_else(|refusal| refusal.status().as_u16(), |_| 101)
    };
    let escaped = "mod%65l=f%74%3Agpt-realtime:acme::1";
    for named in [&format!("model={tuned}"), escaped, "call_id=rtc_1", "model=m&call_id=rtc_1"] {
        assert_eq!(status("b", named).await, 404, "{named}");
        assert_eq!(status("a", named).await, 101, "{named}");
    }
    assert_eq!(status("a", "model=ft:gpt-realtime:other::1").await, 404);
    assert_eq!(world.left("b").await, 10);
    let reached = world.provider.seen().await;
    assert_eq!(reached.len(), 4, "{reached:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_event_of_realtime_names_beyond_its_session_is_its_accounts() {
    let shared = "['voice_everyones']";
    let world = setup().set("provider.openai.shared_ids", shared).start().await;
    world.gateway.run(&["own", "a", "openai", "voice_own"]);
    let mut socket = open(&world, REALTIME, "a").await;
    let voice = |id: &str| json!({ "audio": { "output": { "voice": { "id": id } } } });
    for (session, passes) in [
        (voice("voice_own"), true),
        (voice("voice_everyones"), true),
        (voice("voice_anothers"), false),
        (json!({ "model": "ft:gpt-realtime:other::1" }), false),
        (json!({ "audio": { "output": { "voice": "marin" } } }), true),
    ] {
        socket.say(&json!({ "type": "session.update", "session": session })).await;
        let answer = if passes {
            socket.until("session.updated").await["session"].clone()
        } else {
            socket.until("error").await["error"]["code"].clone()
        };
        assert_eq!(answer, if passes { session } else { json!("not_found") });
    }
    // The items and the conversation are the session's own.
    let item = json!({ "type": "item_reference", "id": "item_1" });
    let response = json!({ "conversation": "none", "input": [item] });
    socket.say(&json!({ "type": "response.create", "response": response })).await;
    socket.until("response.done").await;
    assert_eq!(world.left("a").await, 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_gemini_live_is_resumed_by_its_account_only() {
    let world = setup().account("b", 10).provider("google", "gemini").start().await;
    let path = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
    let setup = |resumption: Value| json!({ "setup": { "model": "models/m", "sessionResumption": resumption } });
    let mut own = open(&world, path, "a").await;
    own.say(&setup(json!({}))).await;
    own.say(&json!({ "clientContent": { "turns": [], "turnComplete": true } })).await;
    let handle = loop {
        let message = own.next().await.unwrap();
        if let Some(handle) = message["sessionResumptionUpdate"]["newHandle"].as_str() {
            break handle.to_owned();
        }
    };
    own.close().await;

    let resumption = json!({ "handle": handle });
    let nested = json!({ "setup": { "model": "models/m", "session_resumption": resumption } });
    let escaped = setup(resumption.clone()).to_string().replace("handle", r"h\u0061ndle");
    for event in [setup(resumption.clone()).to_string(), nested.to_string(), escaped] {
        let mut other = open(&world, path, "b").await;
        other.stream.send(Message::text(event)).await.unwrap();
        let (code, reason) = other.end().await.unwrap();
        assert_eq!(code, 1013);
        assert!(reason.contains("names nothing here"), "{reason}");
    }
    for (account, resumption) in [("a", resumption), ("b", json!({ "handle": "" }))] {
        let mut socket = open(&world, path, account).await;
        socket.say(&setup(resumption)).await;
        assert!(socket.next().await.unwrap()["setupComplete"].is_object());
        socket.close().await;
    }
    assert_eq!((world.left("a").await, world.left("b").await), (9, 10));
}
