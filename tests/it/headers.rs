//! What passes in each direction beside the body, and what the gateway adds.

use serde_json::{Value, json};

use crate::harness::{Canned, Setup, World, key_of};

async fn world() -> World {
    Setup::new().account("a", 10).start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_concerns_this_hop_or_the_caller_stays_here() {
    let world = world().await;
    let ask = world.chat("a");
    let private = [
        ("x-named", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("proxy-authorization", "Basic cHJveHk="),
        ("proxy-connection", "keep-alive"),
        ("cookie", "session=1"),
        ("x-credits-account", "a"),
        ("x-credits-feature", "f"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-host", "inside"),
        ("forwarded", "for=10.0.0.1"),
        ("x-real-ip", "10.0.0.1"),
        ("via", "1.1 inside"),
        ("openai-organization", "org-of-the-caller"),
        ("openai-project", "project-of-the-caller"),
    ];
    let ask = private.iter().fold(ask, |ask, (name, value)| ask.header(name, value));
    let ask = ask.header("connection", "keep-alive, X-Named");
    let ask = ask
        .header("x-passes", "yes")
        .header("openai-beta", "assistants=v2")
        .header("user-agent", "test/1");
    assert_eq!(ask.send().await.status, 200);
    let seen = world.provider.only().await;
    for (name, _) in private {
        assert!(!seen.headers.contains_key(name), "{name} went upstream");
    }
    assert!(!seen.headers.contains_key("connection"));
    for (name, value) in
        [("x-passes", "yes"), ("openai-beta", "assistants=v2"), ("user-agent", "test/1")]
    {
        assert_eq!(seen.headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(seen.headers["host"], world.provider.address.to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_provider_gets_its_own_key_and_never_the_callers() {
    let canned = Canned::start(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
    let world = Setup::new().account("a", 10).upstream(canned.address).start().await;
    let key = key_of("a");
    let path = format!("/v1/models?key={key}&limit=2&%6bey={key}");
    let ask = world.ask("GET", &path).of("a").header("x-api-key", &key).header("api-key", &key);
    assert_eq!(ask.header("x-goog-api-key", &key).send().await.status, 200);
    assert_eq!(world.chat("a").send().await.status, 200);
    let heads = canned.heads();
    assert_eq!(heads.len(), 2);
    for head in &heads {
        assert!(!head.contains(&key), "{head}");
        assert!(
            head.to_lowercase().contains("authorization: bearer provider-key-of-the-tests"),
            "{head}"
        );
    }
    assert!(heads[0].starts_with("GET /v1/models?limit=2 HTTP/1.1"), "{}", heads[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_the_providers_own_stays_there() {
    let canned = Canned::start(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close, X-Named\r\nx-named: 1\r\n\
          keep-alive: timeout=5\r\nproxy-authenticate: Basic\r\nset-cookie: a=b\r\nopenai-organization: org\r\n\
          x-ratelimit-remaining-requests: 3\r\nx-credits-remaining: 999\r\nx-credits-forged: 1\r\n\
          x-request-id: req_upstream\r\nopenai-processing-ms: 7\r\ntransfer-encoding: chunked\r\n\r\n\
          2\r\n{}\r\n0\r\n\r\n",
    )
    .await;
    let world = Setup::new().account("a", 10).upstream(canned.address).start().await;
    let answer = world.chat("a").send().await;
    assert_eq!(&answer.body[..], b"{}");
    for name in [
        "x-named",
        "keep-alive",
        "proxy-authenticate",
        "set-cookie",
        "openai-organization",
        "x-ratelimit-remaining-requests",
        "x-credits-forged",
    ] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert_eq!(answer.header("x-credits-remaining"), Some("9"));
    assert_eq!(answer.header("x-request-id"), Some("req_upstream"));
    assert_eq!(answer.header("openai-processing-ms"), Some("7"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_metered_answer_says_what_it_cost_and_what_is_left() {
    let setup = Setup::new().set("plan.monthly.monthly_credits", "3");
    let mut world = setup.account_on("monthly", "a", 5).start().await;
    for ask in [world.chat("a"), world.stream("a")] {
        let answer = ask.send().await;
        let left = world.left("a").await;
        assert_eq!(answer.header("x-credits-charged"), Some("1"));
        assert_eq!(answer.header("x-credits-remaining"), Some(left.to_string().as_str()));
        let plan = (left - 5).to_string();
        assert_eq!(answer.header("x-credits-plan-remaining"), Some(plan.as_str()));
        assert_eq!(answer.header("x-credits-purchased-remaining"), Some("5"));
        let reset = answer.header("x-credits-reset").unwrap();
        assert_eq!(world.credits("a").await["plan"]["resets_at"], reset);
        chrono::DateTime::parse_from_rfc3339(reset).unwrap();
        assert!(answer.header("x-credits-request-id").unwrap().starts_with("req_"));
    }
    let free = world.ask("GET", "/v1/models").of("a").send().await;
    assert!(free.headers.keys().all(|name| !name.as_str().starts_with("x-credits-")));
    let failed = world.chat("a").sim("status=500").send().await;
    assert_eq!(failed.header("x-credits-charged"), Some("0"));
    assert_eq!(failed.header("x-credits-remaining"), Some("6"));

    let books = world.stop().await;
    assert_eq!(books.charges("a").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_these_headers_can_be_switched_off() {
    let names =
        ["charged", "remaining", "plan_remaining", "purchased_remaining", "reset", "request_id"];
    let setup = Setup::new().account("a", 10);
    let off =
        names.iter().fold(setup, |setup, name| setup.set(&format!("headers.{name}"), "false"));
    let world = off.start().await;
    let answer = world.chat("a").send().await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.headers.keys().all(|name| !name.as_str().starts_with("x-credits-")),
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_balance_is_free_and_says_what_ends_when() {
    let setup = Setup::new().set("plan.monthly.monthly_credits", "3");
    let world = setup.account_on("monthly", "a", 5).start().await;
    let mut answers = Vec::new();
    for path in ["/credits", "/v1/credits", "/v1/credits/"] {
        let answer = world.ask("GET", path).of("a").send().await;
        assert_eq!((answer.status.as_u16(), path), (200, path));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        answers.push(answer.json());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    let balance = &answers[0];
    assert_eq!(balance["account"], "a");
    assert_eq!(balance["active"], true);
    assert_eq!(
        (&balance["remaining"], &balance["held"], &balance["owed"]),
        (&json!(8), &json!(0), &json!(0))
    );
    let plan = &balance["plan"];
    assert_eq!(plan["name"], "monthly");
    assert_eq!((&plan["monthly_credits"], &plan["remaining"]), (&json!(3), &json!(3)));
    let lots: Vec<(&Value, &Value)> = balance["lots"]
        .as_array()
        .unwrap()
        .iter()
        .map(|lot| (&lot["kind"], &lot["remaining"]))
        .collect();
    assert_eq!(lots, [(&json!("plan"), &json!(3)), (&json!("purchased"), &json!(5))]);
    assert_eq!(balance["lots"][0]["ends_at"], plan["resets_at"]);
    assert_eq!(balance["ends_next"]["kind"], "plan");
    assert!(world.provider.seen().await.is_empty(), "the balance is the gateway's own");
}
