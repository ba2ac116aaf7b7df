//! What is remembered beside credits and keys goes on where it was: repeated calls, tasks, jobs, whose things are whose.

use serde_json::{Value, json};

use super::super::Server;
use super::gateway::moved;
use crate::harness::{Answer, Ask, SOON, Setup, World, chat_body, eventually};

const SERVICE: &str = "cg_service";

/// µ for a token, for what a report is for another sum, and a credit for all else.
const PRICES: &str = "
    [[price.rule]]
    feature = 'report'
    model = 'measured'
    input = 2
    output = 20
    [[price.rule]]
    model = 'measured'
    input = 1
    output = 10
    [[price.rule]]
    feature = 'report'
    credits = 3
    [[price.rule]]
    model = '*'
    credits = 1
";

fn of_service(world: &World, path: &str, body: &Value, (name, value): (&str, &str)) -> Ask {
    let ask = world.ask("POST", path).bearer(SERVICE).header("x-credits-account", "a");
    ask.header(name, value).json(body)
}

fn charged(answer: &Answer) -> (u16, Option<&str>) {
    (answer.status.as_u16(), answer.header("x-credits-charged"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_remembered_of_calls_goes_on() {
    let server = Server::start(&[]);
    let setup = Setup::new().prices(PRICES).account("a", 100).service_key(SERVICE);
    let mut world = setup.set("tasks.calls", "3").start().await;
    let keyed = |ask: Ask, key| ask.header("idempotency-key", key);
    let task = |world: &World| {
        of_service(world, "/v1/chat/completions", &chat_body(false), ("x-credits-task", "t"))
    };
    let report = |world: &World| {
        of_service(
            world,
            "/v1/chat/completions",
            &chat_body(false),
            ("x-credits-feature", "report"),
        )
    };
    assert_eq!(charged(&keyed(world.chat("a"), "whole").send().await), (200, Some("1")));
    // The second attempt is the first of three that cost nothing.
    for expected in ["1", "0"] {
        let mut broken = keyed(world.stream("a").sim("break=after:2"), "broken").open().await;
        assert_eq!(broken.headers["x-credits-charged"], expected);
        assert!(broken.rest().await.is_err());
        world.resolved().await;
    }
    assert_eq!(keyed(world.chat("a").sim("status=500"), "failed").send().await.status, 500);
    for expected in ["1", "0"] {
        assert_eq!(charged(&task(&world).send().await), (200, Some(expected)));
    }
    assert_eq!(charged(&report(&world).send().await), (200, Some("3")));
    assert_eq!(world.left("a").await, 94);

    world.stop().await.close().await;
    moved(&mut world, &server).await;
    let again = keyed(world.chat("a"), "whole").send().await;
    assert_eq!((again.status.as_u16(), again.code()), (422, "idempotency_key_used".into()));
    for _ in 0..2 {
        let mut broken = keyed(world.stream("a").sim("break=after:2"), "broken").open().await;
        assert_eq!(broken.headers["x-credits-charged"], "0");
        assert!(broken.rest().await.is_err());
        world.resolved().await;
    }
    assert_eq!(keyed(world.stream("a"), "broken").send().await.status, 422);
    assert_eq!(charged(&keyed(world.chat("a"), "failed").send().await), (200, Some("1")));
    // The third call of the task, and the first of the next.
    for expected in ["0", "1"] {
        assert_eq!(charged(&task(&world).send().await), (200, Some(expected)));
    }
    assert_eq!(charged(&report(&world).send().await), (200, Some("3")));
    assert_eq!(world.left("a").await, 89);
    assert_eq!(world.verify().await["clean"], json!(true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_corrected_after_the_move_at_the_rates_of_their_beginning() {
    let server = Server::start(&[]);
    let setup = Setup::new().prices(PRICES).account("a", 100).service_key(SERVICE);
    let mut world = setup.start().await;
    let body = |input| json!({ "model": "measured", "input": input, "background": true });
    let own = world.ask("POST", "/v1/responses").of("a").json(&body("Hello")).send().await;
    let body = body("Hello again");
    let report = of_service(&world, "/v1/responses", &body, ("x-credits-feature", "report"));
    let report = report.send().await;
    let path = |begun: &Answer| format!("/v1/responses/{}", begun.json()["id"].as_str().unwrap());
    let paths = [path(&own), path(&report)];
    world.resolved().await;

    world.stop().await.close().await;
    moved(&mut world, &server).await;
    for path in &paths {
        let poll = world.ask("GET", path).of("a").sim("input-tokens=70,output-tokens=3");
        assert_eq!(poll.send().await.status, 200);
    }
    // 100 for one and 200 for the other.
    eventually("both charges are corrected", SOON, async || {
        let left = world.credits("a").await["remaining"].to_string();
        (left == "99.9997").then_some(())
    })
    .await;
    world.resolved().await;
    let books = world.stop().await;
    let entries = books.entries("a").await;
    assert_eq!(entries.iter().filter(|entry| entry.fact.name() == "correct").count(), 2);
    assert!(books.audit().await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn things_stay_their_accounts_and_choices_its_own() {
    let server = Server::start(&[]);
    let mut world = Setup::new().account("a", 9).account("b", 9).account("poor", 0).start().await;
    let form = "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nw\r\n--x--\r\n";
    let upload = world.ask("POST", "/v1/files").of("a").body(form);
    let file = upload.header("content-type", "multipart/form-data; boundary=x").send().await;
    let body = json!({ "model": "m", "input": "Hello" });
    let response = world.ask("POST", "/v1/responses").of("a").json(&body).send().await;
    let paths = [("files", &file), ("responses", &response)]
        .map(|(kind, made)| format!("/v1/{kind}/{}", made.json()["id"].as_str().unwrap()));
    world.gateway.run(&["account", "exhausted", "poor", "429"]);
    assert_eq!(world.chat("poor").send().await.status, 429);
    world.resolved().await;

    world.stop().await.close().await;
    moved(&mut world, &server).await;
    for path in &paths {
        assert_eq!(world.ask("GET", path).of("a").send().await.status, 200, "{path}");
        assert_eq!(world.ask("GET", path).of("b").send().await.status, 404, "{path}");
    }
    let refused = world.chat("poor").send().await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "insufficient_quota".into()));
    world.gateway.run(&["account", "exhausted", "poor", "plan"]);
    assert_eq!(world.chat("poor").send().await.status, 402);
}
