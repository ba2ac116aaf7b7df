//! What is made through one account is nobody else's, though all share the provider's key; on both ledgers.

use serde_json::{Value, json};

use crate::harness::{Answer, Canned, Fleet, RedisServer, SOON, Setup, World, eventually};

mod dialects;
mod lists;

/// A gateway whose accounts `a` and `b` have credits, on a file or on Redis.
async fn world(setup: Setup, redis: Option<&RedisServer>) -> World {
    let setup = setup.account("a", 50).account("b", 50);
    match redis {
        Some(redis) => setup.ledger_on(redis).start().await,
        None => setup.start().await,
    }
}

/// Runs `test` on each ledger.
async fn on_both(test: impl AsyncFn(Option<&RedisServer>)) {
    test(None).await;
    test(Some(&RedisServer::start(&[]))).await;
}

async fn post(world: &World, account: &str, path: &str, body: &Value) -> Answer {
    world.ask("POST", path).of(account).json(body).send().await
}

/// A file of `account`; its id.
async fn upload(world: &World, account: &str) -> String {
    let form = "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nwords\r\n--x--\r\n";
    let answer = world
        .ask("POST", "/v1/files")
        .of(account)
        .header("content-type", "multipart/form-data; boundary=x")
        .body(form)
        .send()
        .await;
    assert_eq!(answer.status, 200);
    answer.json()["id"].as_str().unwrap().to_owned()
}

async fn respond(world: &World, account: &str, more: Value) -> Answer {
    let mut body = json!({ "model": "sim-small", "input": "Hello." });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    post(world, account, "/v1/responses", &body).await
}

#[track_caller]
fn assert_not_found(answer: &Answer) {
    assert_eq!(answer.status, 404, "{:?}", answer.body);
    assert_eq!(answer.code(), "not_found");
    assert_eq!(answer.header("x-should-retry"), Some("false"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_its_accounts() {
    on_both(async |redis| {
        let world = world(Setup::new(), redis).await;
        let file = upload(&world, "a").await;
        let paths = [format!("/v1/files/{file}"), format!("/v1/files/{file}/content")];
        for path in &paths {
            assert_eq!(world.ask("GET", path).of("a").send().await.status, 200);
        }
        world.provider.forget().await;
        // However it is written.
        let escaped = format!("/v1//files/./%66{}", &file[1..]);
        let unlisted = format!("/v1/files/{file}/brand/new");
        for path in paths.iter().chain([&escaped, &unlisted]) {
            assert_not_found(&world.ask("GET", path).of("b").send().await);
        }
        assert_not_found(&world.ask("DELETE", &paths[0]).of("b").send().await);
        assert_not_found(&world.ask("PUT", &paths[0]).of("b").send().await);
        // One that was never made sounds the same.
        assert_not_found(&world.ask("GET", "/v1/files/file-none").of("b").send().await);
        assert_eq!(world.provider.seen().await.len(), 0);
        assert_eq!(world.ask("DELETE", &paths[0]).of("a").send().await.status, 200);
        eventually("a deleted file is forgotten", SOON, async || {
            let answer = world.ask("GET", &paths[0]).of("a").send().await;
            (answer.status == 404 && answer.code() == "not_found").then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_is_continued_by_its_account_only() {
    on_both(async |redis| {
        let world = world(Setup::new(), redis).await;
        let made = respond(&world, "a", json!({})).await.json();
        let id = made["id"].as_str().unwrap();
        let streamed = world
            .ask("POST", "/v1/responses")
            .of("a")
            .json(&json!({ "model": "sim-small", "input": "x", "stream": true }))
            .sim("split=7")
            .send()
            .await;
        let text = String::from_utf8(streamed.body.to_vec()).unwrap();
        let streamed = text.split("\"id\":\"resp_").nth(1).unwrap().split('"').next().unwrap();
        for id in [id, &format!("resp_{streamed}")] {
            let more = json!({ "previous_response_id": id });
            assert_eq!(respond(&world, "a", more.clone()).await.status, 200);
            assert_not_found(&respond(&world, "b", more).await);
            assert_not_found(
                &world.ask("GET", &format!("/v1/responses/{id}")).of("b").send().await,
            );
            let path = format!("/v1/responses/{id}/input_items");
            assert_not_found(&world.ask("GET", &path).of("b").send().await);
        }
        let item = made["output"][0]["id"].as_str().unwrap();
        for reference in [json!({ "type": "item_reference", "id": item }), json!({ "id": item })] {
            let more = json!({ "input": [reference] });
            assert_eq!(respond(&world, "a", more.clone()).await.status, 200);
            assert_not_found(&respond(&world, "b", more).await);
        }
        // A refusal costs nothing.
        assert_eq!(world.left("b").await, 50);
        world.verify().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_way_of_writing_a_body_hides_an_id() {
    let world = world(Setup::new(), None).await;
    let file = upload(&world, "a").await;
    let bodies = [
        format!(
            r#"{{"model":"m","input":[{{"role":"user","content":[{{"type":"input_file","file_id":"{file}"}}]}}]}}"#
        ),
        format!(
            r#"{{"model":"m","tools":[{{"type":"code_interpreter","container":{{"type":"auto","file_ids":[["{file}"]]}}}}]}}"#
        ),
        format!(r#"{{"model":"m","file_id":"none","file_id":"{file}"}}"#),
        format!(r#"{{"model":"m","fi\u006ce_id":"{file}"}}"#),
        format!(r#"{{"model":"m","file_id":"\u0066{}"}}"#, &file[1..]),
        format!(r#"{{"model":"m","conversation":{{"id":"{file}"}}}}"#),
        format!(r#"{{"model":"m","conversation":"{file}"}}"#),
        r#"{"model":"ft:m:a::1","input":"x"}"#.to_owned(),
    ];
    world.provider.forget().await;
    for body in &bodies {
        let ask = world.ask("POST", "/v1/responses").of("b");
        assert_not_found(
            &ask.header("content-type", "application/json").body(body.clone()).send().await,
        );
    }
    // Free calls name things as well, whatever their body is said to be.
    let store = format!(r#"{{"file_ids":["{file}"]}}"#);
    for kind in ["application/json", "text/plain", "application/octet-stream"] {
        let ask = world.ask("POST", "/v1/vector_stores").of("b").header("content-type", kind);
        assert_not_found(&ask.body(store.clone()).send().await);
    }
    assert_eq!(world.provider.seen().await.len(), 0);
    // What a customer writes freely names nothing.
    let free = json!({
        "metadata": { "file_id": file },
        "tools": [{ "type": "function", "name": "f", "parameters": { "file_id": file } }],
    });
    assert_eq!(respond(&world, "b", free).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_gateway_has_seen_made_another_knows_at_once() {
    let setup = Setup::new().account("a", 50).account("b", 50);
    let fleet = Fleet::start(setup, RedisServer::start(&[]), 2).await;
    let body = json!({ "model": "sim-small", "input": "Hello." });
    for _ in 0..5 {
        let made = fleet.gateways[0].ask("POST", "/v1/responses").of("a").json(&body).send().await;
        let id = made.json()["id"].as_str().unwrap().to_owned();
        let more = json!({ "model": "m", "input": "x", "previous_response_id": id });
        let ask = |account: &str| {
            fleet.gateways[1].ask("POST", "/v1/responses").of(account).json(&more).send()
        };
        assert_eq!(ask("a").await.status, 200);
        assert_eq!(ask("b").await.status, 404);
        let path = format!("/v1/responses/{id}");
        let read = fleet.gateways[1].ask("GET", &path).of("a").send().await;
        assert_eq!(read.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_things_are_used_by_all_and_changed_by_nobody() {
    let setup = Setup::new().set("provider.openai.shared_ids", "['file-*', 'ft:*']");
    let world = world(setup, None).await;
    let form = upload(&world, "a").await;
    let path = format!("/v1/files/{form}");
    assert_eq!(world.ask("GET", &path).of("b").send().await.status, 200);
    let chat = json!({ "model": "ft:m", "messages": [{ "role": "user", "content": [{ "type": "file", "file": { "file_id": form } }] }] });
    assert_eq!(post(&world, "b", "/v1/chat/completions", &chat).await.status, 200);
    assert_not_found(&world.ask("DELETE", &path).of("b").send().await);
    assert_eq!(world.ask("DELETE", &path).of("a").send().await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_can_learn_before_it_refuses() {
    let mut world = world(Setup::new().set("provider.openai.tenancy", "'learn'"), None).await;
    let file = upload(&world, "a").await;
    let path = format!("/v1/files/{file}");
    assert_eq!(world.ask("GET", &path).of("b").send().await.status, 200);
    world.stop().await.close().await;
    let strict =
        std::fs::read_to_string(&world.launch.config).unwrap().replace("'learn'", "'strict'");
    std::fs::write(&world.launch.config, strict).unwrap();
    world.restart().await;
    assert_not_found(&world.ask("GET", &path).of("b").send().await);
    assert_eq!(world.ask("GET", &path).of("a").send().await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_can_be_switched_off() {
    let world = world(Setup::new().set("provider.openai.tenancy", "'off'"), None).await;
    let file = upload(&world, "a").await;
    assert_eq!(world.ask("GET", &format!("/v1/files/{file}")).of("b").send().await.status, 200);
    let more = json!({ "previous_response_id": "resp_of_another" });
    assert_eq!(respond(&world, "b", more).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_account_owns_outlives_the_gateway() {
    on_both(async |redis| {
        let mut world = world(Setup::new(), redis).await;
        let file = upload(&world, "a").await;
        let made = respond(&world, "a", json!({})).await.json();
        world.stop().await.close().await;
        world.restart().await;
        let path = format!("/v1/files/{file}");
        assert_eq!(world.ask("GET", &path).of("a").send().await.status, 200);
        assert_not_found(&world.ask("GET", &path).of("b").send().await);
        let more = json!({ "previous_response_id": made["id"] });
        assert_eq!(respond(&world, "a", more).await.status, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_gives_a_thing_to_an_account() {
    on_both(async |redis| {
        let world = world(Setup::new(), redis).await;
        let path = "/v1/responses/resp_from_before";
        assert_not_found(&world.ask("GET", path).of("a").send().await);
        let given = world.gateway.run(&["own", "a", "openai", "resp_from_before"]);
        assert_eq!(
            given,
            json!({ "account": "a", "provider": "openai", "id": "resp_from_before" })
        );
        assert_eq!(world.ask("GET", path).of("a").send().await.status, 200);
        assert_not_found(&world.ask("GET", path).of("b").send().await);
        let unknown = world.gateway.command(&["own", "a", "nobody", "x"]).output().unwrap();
        assert!(!unknown.status.success());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_can_tell_whose_a_thing_is_while_the_ledger_is_away() {
    let redis = RedisServer::start(&[]);
    let setup = Setup::new().set("outage.on_outage", "'allow'").set("outage.allowance", "5");
    let world = world(setup, Some(&redis)).await;
    let file = upload(&world, "a").await;
    let made = respond(&world, "a", json!({})).await.json();
    // The same request would get an answer of the same id.
    assert_eq!(respond(&world, "b", json!({ "input": "Mine." })).await.status, 200);
    world.resolved().await;
    drop(redis);
    let more = json!({ "previous_response_id": made["id"] });
    assert_eq!(respond(&world, "b", more.clone()).await.status, 503);
    // What is known here needs no ledger.
    assert_eq!(respond(&world, "a", more).await.status, 200);
    assert_eq!(world.ask("GET", &format!("/v1/files/{file}")).of("a").send().await.status, 200);
    assert_eq!(world.ask("GET", &format!("/v1/files/{file}")).of("b").send().await.status, 503);
}
