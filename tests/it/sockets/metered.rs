//! What a response costs.

use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;

use super::*;
use crate::harness::{SOON, eventually};

const PRICES: &str = "
    [[price.rule]]
    operation = 'transcription'
    audio_second = '0.0001'
    [[price.rule]]
    model = 'dear'
    input = 2
    output = 20
    [[price.rule]]
    model = '*'
    input = 1
    output = 10
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_response_costs_its_price_under_its_own_id() {
    let mut world = setup().start().await;
    let mut socket = open(&world, REALTIME, "a").await;
    for left in [9, 8, 7] {
        socket.respond().await;
        assert_eq!(world.left("a").await, left);
    }
    let first = socket.headers["x-credits-request-id"].to_str().unwrap().to_owned();
    socket.close().await;
    eventually("the lines of three responses", SOON, async || {
        let lines = world.gateway.lines();
        let of = |line: &&Value| line["socket"] == first && line["credits_charged"] == "1";
        (lines.iter().filter(of).count() == 3).then_some(())
    })
    .await;
    let books = world.stop().await;
    let charges = books.charges("a").await;
    assert_eq!(charges.len(), 3);
    assert!(charges.contains_key(&first.parse().unwrap()));
    assert_eq!(books.audit().await.open_holds, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_the_provider_begins_is_metered_too() {
    let world = setup().start().await;
    let mut socket = open(&world, REALTIME, "a").await;
    let speech = json!({ "type": "input_audio_buffer.append", "audio": "c3BlZWNo" });
    for left in [9, 8] {
        socket.say(&json!({ "type": "input_audio_buffer.append", "audio": "AAAA" })).await;
        socket.say(&speech).await;
        socket.until("response.done").await;
        assert_eq!(world.left("a").await, left);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_the_provider_refuses_costs_nothing() {
    let world = setup().start().await;
    let mut socket = open(&world, REALTIME, "a").await;
    let refused = json!({ "type": "response.create", "event_id": "mine",
        "response": { "metadata": { "refuse": "yes" } } });
    socket.say(&refused).await;
    assert_eq!(socket.until("error").await["error"]["event_id"], "mine");
    assert_eq!(world.left("a").await, 10);
    socket.say(&create("silent")).await;
    socket.until("response.done").await;
    assert_eq!(world.left("a").await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reported_work_is_charged() {
    let mut world = setup().prices(PRICES).start().await;
    let mut socket = open(&world, REALTIME, "a").await;
    socket.say(&create("input-tokens=70,output-tokens=3")).await;
    socket.until("response.done").await;
    socket.say(&create("input-tokens=100,cached-tokens=50,output-tokens=5")).await;
    socket.until("response.done").await;
    socket.say(&json!({ "type": "input_audio_buffer.commit" })).await;
    socket.until("conversation.item.input_audio_transcription.completed").await;
    socket.close().await;
    world.resolved().await;
    let books = world.stop().await;
    let mut charges: Vec<u64> = books.charges("a").await.into_values().collect();
    charges.sort_unstable();
    assert_eq!(charges, [100, 100, 150]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_over_websocket_name_their_model_each_time() {
    let mut world = setup().prices(PRICES).start().await;
    let mut socket =
        open_sim(&world, "/v1/responses", "a", "input-tokens=10,output-tokens=1").await;
    for model in ["m", "dear"] {
        let event = json!({ "model": model, "input": "Hello", "type": "response.create" });
        socket.say(&event).await;
        socket.until("response.completed").await;
    }
    socket.close().await;
    world.resolved().await;
    let books = world.stop().await;
    let charges: Vec<u64> = books.charges("a").await.into_values().collect();
    assert_eq!(charges, [20, 40]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gemini_live_is_metered_by_the_turn() {
    let world = setup().prices(PRICES).provider("google", "gemini").start().await;
    let path = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
    let mut socket = open_sim(&world, path, "a", "input-tokens=10,output-tokens=1").await;
    let complete = async |socket: &mut Socket| loop {
        if socket.next().await.unwrap()["serverContent"]["turnComplete"] == true {
            return;
        }
    };
    socket.say(&json!({ "setup": { "model": "models/dear" } })).await;
    assert!(socket.next().await.unwrap()["setupComplete"].is_object());
    socket.say(&json!({ "clientContent": { "turns": [], "turnComplete": true } })).await;
    complete(&mut socket).await;
    socket.say(&json!({ "realtimeInput": { "audio": { "data": "c3BlZWNo" } } })).await;
    complete(&mut socket).await;
    world.resolved().await;
    let mut world = world;
    socket.close().await;
    let books = world.stop().await;
    assert_eq!(books.charges("a").await.into_values().collect::<Vec<_>>(), [40, 40]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_and_fragmented_messages_pass_as_they_are() {
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
    let world = setup().start().await;
    let mut socket = open(&world, REALTIME, "a").await;
    // Larger than what is kept, with the decisive word at the end.
    let text = "x".repeat(1 << 20);
    let large = format!(r#"{{"response":{{"instructions":"{text}"}},"type":"response.create"}}"#);
    socket.stream.send(Message::text(large)).await.unwrap();
    socket.until("response.done").await;
    assert_eq!(world.left("a").await, 9);
    let parts = [r#"{"type":"resp"#, "onse.cre", r#"ate"}"#];
    for (at, part) in parts.into_iter().enumerate() {
        let opcode = OpCode::Data(if at == 0 { Data::Text } else { Data::Continue });
        let frame = Frame::message(part.as_bytes().to_vec(), opcode, at == 2);
        socket.stream.send(Message::Frame(frame)).await.unwrap();
        socket.stream.send(Message::Ping(vec![7].into())).await.unwrap();
    }
    socket.until("response.done").await;
    assert_eq!(world.left("a").await, 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_hides_what_it_is_is_left_out() {
    let world = setup().start().await;
    let mut socket = open(&world, REALTIME, "a").await;
    let hidden = r#"{"ty\u0070e":"response.create"}"#;
    socket.stream.send(Message::text(hidden)).await.unwrap();
    assert_eq!(socket.until("error").await["error"]["code"], "invalid_request");
    socket.respond().await;
    assert_eq!(world.left("a").await, 9);
}

/// A provider that answers one socket with these events, when so many have come from the client.
async fn scripted(listener: TcpListener, asked: usize, events: Vec<Value>) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut socket = accept_async(stream).await.unwrap();
    for _ in 0..asked {
        socket.next().await.unwrap().unwrap();
    }
    for event in events {
        socket.send(Message::text(event.to_string())).await.unwrap();
    }
    while socket.next().await.is_some_and(|message| message.is_ok()) {}
}

fn created(id: &str, lane: &str) -> Value {
    json!({ "type": "response.created", "stream_id": lane, "response": { "id": id } })
}

fn completed(id: &str, lane: &str) -> Value {
    let usage = json!({ "input_tokens": 10, "output_tokens": 0 });
    let response = json!({ "id": id, "status": "completed", "usage": usage });
    json!({ "type": "response.completed", "stream_id": lane, "response": response })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_that_run_beside_each_other_are_told_apart_by_their_lanes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let said = |lane: &str| json!({ "type": "response.output_text.delta", "stream_id": lane, "delta": "x" });
    let events = vec![
        // The second begins first; the third fails after the fourth has said something, which breaks off.
        created("r2", "two"),
        completed("r2", "two"),
        created("r3", "three"),
        created("r4", "four"),
        said("four"),
        json!({ "type": "error", "stream_id": "three", "sequence_number": 1, "error": { "code": "x" } }),
        json!({ "type": "error", "stream_id": "five", "status": 400, "error": { "code": "x" } }),
        created("r1", "one"),
        completed("r1", "one"),
        // It goes on by itself, with what the client has put in.
        created("r6", "one"),
        completed("r6", "one"),
    ];
    let provider = tokio::spawn(scripted(listener, 5, events));
    let mut world = setup().upstream(address).prices(PRICES).start().await;
    let mut socket = open(&world, "/v1/responses", "a").await;
    let models = [("one", "dear"), ("two", "m"), ("three", "m"), ("four", "m"), ("five", "m")];
    for (lane, model) in models {
        let ask = json!({ "type": "response.create", "model": model, "stream_id": lane, "input": "", "event_id": lane });
        socket.say(&ask).await;
    }
    for id in ["r2", "r1", "r6"] {
        assert_eq!(socket.until("response.completed").await["response"]["id"], id);
    }
    socket.close().await;
    world.resolved().await;
    provider.abort();
    let books = world.stop().await;
    let mut charges: Vec<u64> = books.charges("a").await.into_values().collect();
    charges.sort_unstable();
    // Ten tokens at two, at one, and at the dearer price of a response that nobody asked for; one word is estimated.
    assert_eq!(charges.len(), 4, "{charges:?}");
    assert!(charges.starts_with(&[10]) && charges.ends_with(&[20, 20]), "{charges:?}");
    assert_eq!(books.audit().await.open_holds, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn azures_deployment_is_the_model_of_a_price() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let response = json!({ "id": "r1", "status": "completed" });
    let events =
        vec![created("r1", "one"), json!({ "type": "response.done", "response": response })];
    let provider = tokio::spawn(scripted(listener, 1, events));
    let rule = "model = 'dear'\ncredits = 3";
    let world = setup().rule(rule).provider("azure", "azure").upstream(address).start().await;
    let path = "/azure/openai/realtime?api-version=1&deployment=dear";
    let mut socket = open(&world, path, "a").await;
    assert_eq!(socket.headers["x-credits-held"], "3");
    socket.respond().await;
    assert_eq!(world.left("a").await, 7);
    provider.abort();
}
