//! A disk that is full: no call is let through unpaid, none that ran is forgotten, and nobody has to restart anything.

use crate::harness::{SOON, Setup, World, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_new_calls_keeps_what_ran_and_passes_by_itself() {
    let world = Setup::new().account("a", 20).start().await;
    assert_eq!(world.chat("a").send().await.status, 200);
    world.resolved().await;
    let mut running = world.stream("a").sim("hold=after:2").open().await;
    running.until("data:").await;

    world.gateway.limit_files(Some(1));
    let refused = world.chat("a").send().await;
    assert_eq!(
        (refused.status.as_u16(), refused.code().as_str()),
        (503, "credit_store_unavailable")
    );
    assert!(refused.header("retry-after").is_some());
    ready_is(&world, 503).await;
    assert_eq!(world.chat("a").send().await.status, 503);
    assert_eq!(world.ask("GET", "/v1/models").of("a").send().await.status, 200, "free calls pass");
    assert_eq!(
        world.provider.seen().await.len(),
        3,
        "the refused calls did not reach the provider"
    );

    // The running call ends while nothing can be written: its settlement waits.
    world.provider.release().await;
    running.rest().await.unwrap();
    world.gateway.limit_files(None);
    ready_is(&world, 200).await;
    assert_eq!(world.chat("a").send().await.status, 200);
    assert_eq!(world.left("a").await, 17);
    world.verify().await;
}

async fn ready_is(world: &World, status: u16) {
    eventually(&format!("/ready says {status}"), SOON, async || {
        let answer = world.admin("GET", "/ready").send().await;
        (answer.status == status).then_some(())
    })
    .await;
}
