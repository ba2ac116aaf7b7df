//! Hanging up is no discount, and neither is hurry.

use super::{BODY, CHAT, CREDITS, setup};
use crate::harness::{SOON, Setup, Wire, eventually, key_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hangs_up_before_the_request_is_whole_sets_nothing_to_work() {
    let world = setup().start().await;
    let whole = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n{BODY}",
        key_of("a"),
        BODY.len()
    );
    for length in [1, 20, whole.len() - BODY.len(), whole.len() - 1] {
        let mut wire = Wire::connect(world.gateway.address).await;
        wire.send(&whole[..length]).await;
        drop(wire);
    }
    world.resolved().await;
    assert_eq!(world.left("a").await, CREDITS);
    assert!(world.provider.seen().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hangs_up_after_the_first_output_pays() {
    let world = setup().start().await;
    let mut answer = world.stream("a").open().await;
    answer.until("\"content\":").await;
    drop(answer);
    eventually("the call is charged", SOON, async || {
        (world.left("a").await == CREDITS - 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_get_no_more_than_there_is() {
    let world = Setup::new().account("a", 3).start().await;
    let calls: Vec<_> = (0..24).map(|_| tokio::spawn(world.chat("a").send())).collect();
    let mut served = 0;
    for call in calls {
        served += u64::from(call.await.unwrap().status == 200);
    }
    // A call that found all credits held came too early; none was served for nothing.
    assert!((1..=3).contains(&served));
    assert_eq!(world.left("a").await, 3 - served);
    assert_eq!(world.provider.seen().await.len() as u64, served);
}
