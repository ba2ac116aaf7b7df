//! The credits end in the middle of a socket.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_is_finished_and_the_next_is_refused() {
    let world = Setup::new().account("a", 2).start().await;
    let mut socket = open(&world, REALTIME, "a").await;
    socket.respond().await;
    socket.say(&create("hold=after:3")).await;
    socket.until("response.output_text.delta").await;
    world.provider.holds(1).await;
    socket.say(&json!({ "type": "response.create", "event_id": "mine" })).await;
    let error = socket.until("error").await;
    assert_eq!(error["error"]["code"], "credits_held", "{error}");
    world.provider.release().await;
    socket.until("response.done").await;
    assert_eq!(world.left("a").await, 0);
    // Nothing is held any more: they are gone.
    socket.say(&json!({ "type": "response.create", "event_id": "mine" })).await;
    let error = socket.until("error").await;
    assert_eq!(error["error"]["code"], "insufficient_quota");
    assert_eq!(error["error"]["event_id"], "mine");
    assert_eq!(error["status"], 402);
    assert_eq!(socket.end().await, Some((1008, "insufficient_quota".to_owned())));
    world.provider.last_is("answered").await;
    assert_eq!(world.left("a").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_the_provider_begins_and_nobody_can_pay_is_cut() {
    for on_exhausted in ["'finish'", "'cut'"] {
        let world =
            Setup::new().set("metering.on_exhausted", on_exhausted).account("a", 1).start().await;
        let mut socket = open(&world, REALTIME, "a").await;
        socket.respond().await;
        assert_eq!(world.left("a").await, 0);
        socket.say(&json!({ "type": "input_audio_buffer.append", "audio": "c3BlZWNo" })).await;
        let error = socket.next().await.unwrap();
        assert_eq!(error["error"]["code"], "insufficient_quota", "{error}");
        assert_eq!(socket.end().await, Some((1008, "insufficient_quota".to_owned())));
        assert_eq!(world.left("a").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn google_knows_no_error_event_so_the_goodbye_says_it() {
    let world = Setup::new().account("a", 1).provider("google", "gemini").start().await;
    let path = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
    let mut socket = open(&world, path, "a").await;
    let turn = json!({ "clientContent": { "turns": [], "turnComplete": true } });
    socket.say(&turn).await;
    while socket.next().await.unwrap()["serverContent"]["turnComplete"] != true {}
    assert_eq!(world.left("a").await, 0);
    socket.say(&turn).await;
    let (code, reason) = socket.end().await.unwrap();
    assert_eq!(code, 1008);
    assert!(reason.starts_with("You have used all your AI credits."), "{reason}");
}

/// A response runs while its account comes to owe; the client asks for another. What it hears until the goodbye.
async fn owes_in_the_middle(on_exhausted: &str) -> (World, Vec<Value>, Option<CloseFrame>) {
    let world =
        Setup::new().set("metering.on_exhausted", on_exhausted).account("a", 10).start().await;
    let mut socket = open(&world, REALTIME, "a").await;
    socket.say(&create("hold=after:2")).await;
    socket.until("response.output_text.delta").await;
    world.provider.holds(1).await;
    world.gateway.run(&["void", "a", "10", "--source", "test:a"]);
    socket.say(&json!({ "type": "response.create" })).await;
    let error = socket.next().await.unwrap();
    assert_eq!(error["error"]["code"], "credits_owed", "{error}");
    world.provider.release().await;
    let mut heard = Vec::new();
    let goodbye = loop {
        match socket.next().await {
            Ok(event) => heard.push(event["type"].clone()),
            Err(goodbye) => break goodbye,
        }
    };
    world.resolved().await;
    (world, heard, goodbye)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_responses_that_run_are_finished_or_cut_as_is_configured() {
    for (on_exhausted, done) in [("'finish'", true), ("'cut'", false)] {
        let (mut world, heard, goodbye) = owes_in_the_middle(on_exhausted).await;
        assert_eq!(heard.contains(&json!("response.done")), done, "{heard:?}");
        assert_eq!(u16::from(goodbye.unwrap().code), 1008);
        let books = world.stop().await;
        // Its first words had come, so it costs its price either way.
        assert_eq!(books.charges("a").await.len(), 1, "{on_exhausted}");
        assert_eq!(books.audit().await.open_holds, 0);
    }
}
