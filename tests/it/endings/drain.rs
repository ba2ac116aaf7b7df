//! The gateway is told to stop.

use tokio::net::TcpStream;

use crate::harness::{SOON, Setup, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_ends_whole_and_is_charged_and_nothing_new_begins() {
    let mut world = Setup::new().account("a", 10).start().await;
    let mut stream = world.stream("a").sim("hold=after:2").open().await;
    stream.until("\"content\"").await;
    let waiting = tokio::spawn(world.chat("a").sim("hold=before-headers").send());
    world.provider.holds(2).await;

    world.gateway.terminate();
    eventually("new connections are refused", SOON, async || {
        TcpStream::connect(world.gateway.address).await.is_err().then_some(())
    })
    .await;
    let ready = world.admin("GET", "/ready").send().await;
    assert_eq!(ready.status, 503);
    assert_eq!(world.admin("GET", "/live").send().await.status, 200);

    world.provider.release().await;
    stream.rest().await.unwrap();
    assert!(stream.read.ends_with(b"data: [DONE]\n\n"));
    assert_eq!(waiting.await.unwrap().status, 200);
    let books = world.stop_began().await;
    assert_eq!(books.charges("a").await.len(), 2);
    assert_eq!(books.audit().await.open_holds, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_for_too_long_is_cut_and_charged_for_what_it_had_sent() {
    let setup = Setup::new().account("a", 10).set("limits.drain", "'300ms'");
    let mut world = setup.start().await;
    let mut with_output = world.stream("a").sim("hold=after:2").open().await;
    with_output.until("\"content\":\"The \"").await;
    let mut without = world.stream("a").sim("hold=after:1").open().await;
    without.until("role").await;

    let id = with_output.request_id().unwrap();
    let books = world.stop().await;
    assert!(with_output.rest().await.is_err() && without.rest().await.is_err());
    let charges = books.charges("a").await;
    assert_eq!(charges.into_iter().collect::<Vec<_>>(), [(id, 1_000_000)]);
    assert_eq!(books.audit().await.open_holds, 0);
}
