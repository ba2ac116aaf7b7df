//! What outlives a gateway, and what keeps one from starting.

use std::net::TcpListener;

use crate::harness::{Launch, Setup};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_balances_and_keys() {
    let setup = Setup::new().set("plan.monthly.monthly_credits", "3");
    let mut world = setup.account_on("monthly", "a", 5).closed_account("closed", 1).start().await;
    for _ in 0..4 {
        assert_eq!(world.chat("a").send().await.status, 200);
    }
    world.resolved().await;
    let before = world.credits("a").await;
    assert_eq!(before["remaining"], 4);
    world.stop().await.close().await;
    world.restart().await;
    assert_eq!(world.credits("a").await, before);
    assert_eq!(world.chat("closed").send().await.status, 403);
    assert_eq!(world.chat("a").send().await.status, 200);
    assert_eq!(world.left("a").await, 3);

    // And without a word of warning.
    world.gateway.kill();
    world.restart().await;
    assert_eq!(world.left("a").await, 3);
    world.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_gateway_on_the_same_ledger_is_refused() {
    let world = Setup::new().account("a", 5).start().await;
    let (status, words) = world.launch.fail().await;
    assert!(!status.success());
    assert!(
        words.contains("is in use by another gateway") && words.contains("ledger.db"),
        "{words}"
    );
    assert_eq!(world.chat("a").send().await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_named_with_what_to_do() {
    let mut world = Setup::new().start().await;
    world.stop().await.close().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    let (status, words) = Launch { listen, ..world.launch.clone() }.fail().await;
    assert!(!status.success());
    assert!(words.contains(&listen.to_string()) && words.contains("listen"), "{words}");
    assert!(!words.contains("panicked"), "{words}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_configuration_is_shown_with_its_line_and_a_hint() {
    let mut world = Setup::new().start().await;
    world.stop().await.close().await;
    for (text, shown) in [
        ("[limits]\nhold_tll = '5s'\n", &["hold_tll", "2", "^", "hold_ttl"][..]),
        ("[limits]\nhold_ttl = 'soon'\n", &["hold_ttl = 'soon'", "2", "^"]),
        ("[limits\n", &["1", "^"]),
        ("[plan.x]\nmonthly_credits = 2.5\n", &["2.5", "2", "^"]),
    ] {
        std::fs::write(&world.launch.config, text).unwrap();
        let (status, words) = world.launch.fail().await;
        assert_eq!(status.code().map(|code| code != 0), Some(true), "{text}: {status}");
        for part in shown {
            assert!(words.contains(part), "{text}: no {part} in\n{words}");
        }
        assert!(words.contains("gateway.toml"), "{words}");
    }
}
