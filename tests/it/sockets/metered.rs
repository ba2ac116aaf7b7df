//! What a response costs.

use super::*;
use crate::harness::SOON;
use crate::harness::eventually;

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
