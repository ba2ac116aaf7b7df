//! Two gateways, one key.

use http::StatusCode;

use crate::harness::{Fleet, RedisServer, Setup};

const CALLERS: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_callers_with_one_key_one_is_charged() {
    let setup = Setup::new().account("a", 100);
    let fleet = Fleet::start(setup, RedisServer::start(&[]), 2).await;
    for key in ["plain", "held"] {
        let switches = if key == "held" { "delay=300ms" } else { "" };
        let calls: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let ask = fleet.gateways[caller % 2].chat("a").header("idempotency-key", key);
                tokio::spawn(ask.sim(switches).send())
            })
            .collect();
        let mut served = 0;
        for call in calls {
            let answer = call.await.unwrap();
            match answer.status {
                StatusCode::OK => served += 1,
                StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => {}
                other => panic!("{other}: {}", answer.json()),
            }
        }
        assert_eq!(served, 1, "{key}");
        fleet.resolved().await;
    }
    assert_eq!(fleet.provider.seen().await.len(), 2);
    assert_eq!(fleet.balance("a").await, 98_000_000);
    fleet.books.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_gateway_has_charged_the_other_sends_again() {
    let setup = Setup::new().account("a", 100).service_key("cg_service");
    let fleet = Fleet::start(setup, RedisServer::start(&[]), 2).await;
    for (attempt, expected) in ["1", "0", "0"].into_iter().enumerate() {
        let ask = fleet.gateways[attempt % 2].stream("a").header("idempotency-key", "k");
        let mut broken = ask.sim("break=after:2").open().await;
        assert_eq!(broken.headers["x-credits-charged"], expected);
        assert!(broken.rest().await.is_err());
        fleet.resolved().await;
    }
    assert_eq!(fleet.balance("a").await, 99_000_000);
    // A task is the same on all gateways, at once and later.
    let calls: Vec<_> = (0..10)
        .map(|caller| {
            let ask = fleet.gateways[caller % 2].ask("POST", "/v1/chat/completions");
            let ask = ask.bearer("cg_service").header("x-credits-account", "a");
            let ask = ask.header("x-credits-task", "t").json(&crate::harness::chat_body(false));
            tokio::spawn(ask.send())
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }
    fleet.resolved().await;
    assert_eq!(fleet.balance("a").await, 98_000_000);
}
