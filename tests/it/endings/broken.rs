//! The provider fails.

use serde_json::json;
use tokio::net::TcpSocket;

use crate::harness::{Setup, World};

const CREDITS: u32 = 100;

async fn world() -> World {
    Setup::new().account("a", CREDITS).start().await
}

/// What was spent since the last look.
struct Spent(u64);

impl Spent {
    fn nothing() -> Self {
        Self(u64::from(CREDITS))
    }

    async fn since(&mut self, world: &World) -> u64 {
        let left = world.left("a").await;
        std::mem::replace(&mut self.0, left) - left
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_of_the_provider_is_passed_on_and_costs_nothing() {
    let world = world().await;
    for status in [400, 401, 403, 404, 409, 422, 429, 500, 502, 503, 529] {
        for ask in [world.chat("a"), world.stream("a")] {
            let answer = ask.sim(&format!("status={status}")).send().await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.header("x-credits-charged"), Some("0"), "{status}");
            assert_eq!(answer.header("x-credits-remaining"), Some("100"), "{status}");
            let sent = world.provider.last_is("answered").await;
            assert_eq!(answer.sha256(), sent.response_sha256, "{status}");
            // Its credits go back behind the answer, and the next one tells what is left.
            assert_eq!(world.left("a").await, 100);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_down_costs_nothing() {
    // Bound and not listening: nobody else can have the port, and nobody answers on it.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let down = socket.local_addr().unwrap();
    let world = Setup::new().account("a", 1).upstream(down).start().await;
    for ask in [world.chat("a"), world.stream("a"), world.ask("GET", "/v1/models").of("a")] {
        let answer = ask.send().await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (502, "provider_unreachable"));
        assert_eq!(world.left("a").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_before_the_head_costs_nothing() {
    let world = world().await;
    let answer = world.chat("a").sim("break=before-headers").send().await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (502, "provider_unreachable"));
    assert_eq!(world.left("a").await, 100);
    // A call is never sent twice: the provider may have done the work.
    assert_eq!(world.provider.only().await.state, "broken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_does_not_answer_in_time_costs_nothing_and_is_told_to_stop() {
    let setup = Setup::new().account("a", 1);
    let world = setup.set("provider_defaults.header_timeout", "'200ms'").start().await;
    let answer = world.chat("a").sim("hold=before-headers").send().await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (504, "provider_timeout"));
    world.provider.last_is("cancelled").await;
    assert_eq!(world.left("a").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_costs_its_price_from_the_first_output_on() {
    let world = world().await;
    let mut spent = Spent::nothing();
    // The opening event of a chat says only who speaks.
    for (switches, price) in [
        ("break=after-headers", 0),
        ("break=after:0", 0),
        ("break=after:1", 0),
        ("break=after:2", 1),
        ("break=after:4", 1),
        ("break=after:2,tool", 1),
    ] {
        let broke = world.stream("a").sim(switches).breaks().await;
        assert!(broke, "{switches}: the client must see that it broke");
        assert_eq!(spent.since(&world).await, price, "{switches}");
        world.provider.last_is("broken").await;
    }
    let responses = json!({ "model": "m", "input": "Hi", "stream": true });
    let completions = json!({ "model": "m", "prompt": "Hi", "stream": true });
    for (path, body, switches, price) in [
        ("/v1/responses", &responses, "break=after:2", 0),
        ("/v1/responses", &responses, "break=after:6", 1),
        ("/v1/completions", &completions, "break=after:0", 0),
        ("/v1/completions", &completions, "break=after:1", 1),
    ] {
        let ask = world.ask("POST", path).of("a").json(body).sim(switches);
        assert!(ask.breaks().await, "{path} {switches}");
        assert_eq!(spent.since(&world).await, price, "{path} {switches}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_event_is_no_work() {
    let world = world().await;
    let mut spent = Spent::nothing();
    for (switches, price) in
        [("error-event=0", 0), ("error-event=1", 1), ("error-event=0,split=4", 0)]
    {
        let answer = world.stream("a").sim(switches).send().await;
        assert_eq!(answer.sha256(), world.provider.last_is("answered").await.response_sha256);
        assert_eq!(spent.since(&world).await, price, "{switches}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_says_nothing_is_no_work_and_one_that_ends_well_is() {
    let world = world().await;
    let mut spent = Spent::nothing();
    for (switches, price) in [("silent", 0), ("chunks=0", 1), ("chunks=1", 1), ("tool", 1)] {
        world.stream("a").sim(switches).send().await;
        assert_eq!(spent.since(&world).await, price, "{switches}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_json_answer_that_breaks_costs_nothing_and_media_that_began_cost_their_price() {
    let world = world().await;
    let mut spent = Spent::nothing();
    for (path, body, switches, price) in [
        ("/v1/chat/completions", crate::harness::chat_body(false), "break=after:1", 0),
        ("/v1/chat/completions", crate::harness::chat_body(false), "break=after-headers", 0),
        (
            "/v1/audio/speech",
            json!({ "model": "m", "input": "Hi", "voice": "v" }),
            "break=after:1",
            1,
        ),
        (
            "/v1/audio/speech",
            json!({ "model": "m", "input": "Hi", "voice": "v" }),
            "break=after:0",
            0,
        ),
    ] {
        let ask = world.ask("POST", path).of("a").json(&body).sim(switches);
        assert!(ask.breaks().await, "{path} {switches}");
        assert_eq!(spent.since(&world).await, price, "{path} {switches}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_falls_silent_is_cut_off_and_costs_what_it_had_sent() {
    let setup = Setup::new().account("a", CREDITS);
    let world = setup.set("provider_defaults.idle_timeout", "'200ms'").start().await;
    let mut spent = Spent::nothing();
    for (switches, price) in [("hold=after:1", 0), ("hold=after:2", 1)] {
        assert!(world.stream("a").sim(switches).breaks().await, "{switches}");
        world.provider.last_is("cancelled").await;
        assert_eq!(spent.since(&world).await, price, "{switches}");
    }
    // A slow stream is not a silent one.
    world.stream("a").sim("gap=120ms,chunks=4").send().await;
    assert_eq!(spent.since(&world).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_longer_than_a_hold_lives_keeps_it() {
    let setup = Setup::new().account("a", 1).set("limits.hold_ttl", "'3s'");
    let mut world = setup.start().await;
    let mut answer = world.stream("a").sim("hold=after:2").open().await;
    answer.until("\"content\"").await;
    // Longer than the hold would live without a heartbeat.
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let report = world.verify().await;
    assert_eq!((&report["open_holds"], &report["unsettled"]), (&json!(1), &json!([])));
    world.provider.release().await;
    answer.rest().await.unwrap();
    assert_eq!(world.left("a").await, 0);
    let books = world.stop().await;
    assert_eq!(books.charges("a").await.len(), 1);
    assert!(books.audit().await.unsettled.is_empty());
}
