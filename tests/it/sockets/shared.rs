//! Gateways that share a ledger, and providers that are reached with TLS.

use tokio::task::JoinSet;

use super::*;
use crate::harness::{Fleet, Front, Provider, RedisServer};
use crate::redis::secure::certificates;

/// Asks for responses until it is refused; how many there were, and the code of the refusal.
async fn ask_on(address: SocketAddr) -> (u32, String) {
    let bearer = format!("Bearer {}", key_of("a"));
    let opened = try_open_at(address, REALTIME, &[("authorization", &bearer)]).await;
    let mut socket = match opened {
        Ok(socket) => socket,
        Err(refusal) => {
            let body: Value = serde_json::from_slice(refusal.body().as_deref().unwrap()).unwrap();
            return (0, body["error"]["code"].as_str().unwrap().to_owned());
        }
    };
    for served in 0.. {
        socket.say(&json!({ "type": "response.create" })).await;
        let refused = loop {
            let event = socket.next().await.unwrap();
            match event["type"].as_str() {
                Some("response.done") => break None,
                Some("error") => break Some(event["error"]["code"].as_str().unwrap().to_owned()),
                _ => {}
            }
        };
        if let Some(code) = refused {
            return (served, code);
        }
    }
    unreachable!()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_on_two_gateways_get_exactly_the_responses_that_are_paid() {
    const CREDITS: u32 = 30;
    let redis = RedisServer::start(&["--appendonly", "yes"]);
    let mut fleet = Fleet::start(Setup::new().account("a", CREDITS), redis, 2).await;
    let mut sockets = JoinSet::new();
    for number in 0..8 {
        sockets.spawn(ask_on(fleet.gateways[number % 2].address));
    }
    let ended = sockets.join_all().await;
    for (_, code) in &ended {
        assert!(matches!(code.as_str(), "insufficient_quota" | "credits_held"), "{ended:?}");
    }
    fleet.resolved().await;
    // Those that ended early may have met credits that others held, and gave back.
    let (_, last) = ask_on(fleet.gateways[0].address).await;
    assert_eq!(last, "insufficient_quota");
    fleet.resolved().await;
    assert_eq!(fleet.balance("a").await, 0);
    let charges = fleet.books.charges("a").await;
    assert_eq!(charges.len(), CREDITS as usize);
    assert!(charges.values().all(|charge| *charge == 1_000_000), "{charges:?}");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_socket_makes_on_one_gateway_is_known_to_the_other() {
    let redis = RedisServer::start(&["--appendonly", "yes"]);
    let setup = Setup::new().account("a", 10).account("b", 10);
    let fleet = Fleet::start(setup, redis, 2).await;
    let open = async |gateway: usize, account: &str| {
        let bearer = format!("Bearer {}", key_of(account));
        let headers = [("authorization", bearer.as_str())];
        try_open_at(fleet.gateways[gateway].address, "/v1/responses", &headers).await.unwrap()
    };
    let ask = json!({ "type": "response.create", "model": "m", "input": "Hello." });
    let mut first = open(0, "a").await;
    first.say(&ask).await;
    let made = first.until("response.completed").await["response"]["id"].clone();
    let mut next = ask;
    next["previous_response_id"] = made;
    let mut other = open(1, "b").await;
    other.say(&next).await;
    assert_eq!(other.until("error").await["error"]["code"], "not_found");
    let mut own = open(1, "a").await;
    own.say(&next).await;
    own.until("response.completed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_goes_to_its_provider_with_tls_and_with_http_1_alone() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let provider = Provider::start().await;
    for http2 in ["auto", "only"] {
        let front = Front::tls(provider.address, folder.path(), &["h2", "http/1.1"]).await;
        let world = setup()
            .set("provider.openai.http2", &format!("'{http2}'"))
            .base_url(&format!("https://{}/v1", front.address))
            .trust(folder.path().join("ca.pem"))
            .start()
            .await;
        let mut socket = open(&world, REALTIME, "a").await;
        socket.respond().await;
        socket.close().await;
        assert_eq!(world.left("a").await, 9);
        assert!(front.protocols().iter().all(|protocol| protocol != "h2"), "{http2}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_to_a_certificate_that_is_not_trusted_is_refused() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificates(ours.path());
    certificates(theirs.path());
    let provider = Provider::start().await;
    let front = Front::tls(provider.address, theirs.path(), &["http/1.1"]).await;
    let base_url = format!("https://{}/v1", front.address);
    let trusted = ours.path().join("ca.pem");
    let world = setup().base_url(&base_url).trust(trusted).start().await;
    let bearer = format!("Bearer {}", key_of("a"));
    let refusal = try_open(&world, REALTIME, &[("authorization", &bearer)]).await.err().unwrap();
    assert_eq!(refusal.status(), 502);
    assert!(provider.seen().await.is_empty());
    assert_eq!(world.left("a").await, 10);
}
