//! The client leaves, and the work decides the charge.

use super::{INPUT, chat, setup, stream};
use crate::harness::World;

/// A client that reads its stream up to the first word, and leaves. The provider waits.
async fn leave(world: &World, switches: &str) -> creditgate::credit::Id {
    let mut answer = stream(world, "a", switches).await;
    answer.until("\"content\":\"The \"").await;
    answer.request_id().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_is_read_on_and_what_is_reported_is_charged() {
    let mut world = setup().start().await;
    let id = leave(&world, "hold=after:2,input-tokens=70,output-tokens=3").await;
    world.provider.holds(1).await;
    world.provider.release().await;
    world.provider.last_is("answered").await;
    world.resolved().await;
    // The same before any word, and in the middle of a body.
    let early = stream(&world, "a", "hold=after:1,input-tokens=80,output-tokens=3").await;
    let early_id = early.request_id().unwrap();
    drop(early);
    world.provider.holds(1).await;
    world.provider.release().await;
    world.provider.last_is("answered").await;
    let ask = world.ask("POST", "/v1/chat/completions").of("a").json(&chat("m", false));
    let mut body = ask.sim("hold=after:1,input-tokens=90,output-tokens=3").open().await;
    body.until("\"object\"").await;
    let body_id = body.request_id().unwrap();
    drop(body);
    world.provider.release().await;
    world.provider.last_is("answered").await;
    world.resolved().await;
    let books = world.stop().await;
    let charges = books.charges("a").await;
    for (id, charge) in [(id, 100), (early_id, 110), (body_id, 120)] {
        assert_eq!(charges.get(&id), Some(&charge));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn or_the_providers_call_is_ended_and_what_had_come_is_counted() {
    let mut world = setup().set("metering.on_disconnect", "'cancel'").start().await;
    let id = leave(&world, "hold=after:2").await;
    world.provider.last_is("cancelled").await;
    let early = stream(&world, "a", "hold=after:1").await;
    drop(early);
    world.provider.last_is("cancelled").await;
    world.resolved().await;
    let books = world.stop().await;
    let charges = books.charges("a").await;
    assert_eq!(charges.into_iter().collect::<Vec<_>>(), [(id, INPUT + 10)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_read_on_for_longer_than_the_limit() {
    let mut world = setup().set("metering.drain_limit", "'200ms'").start().await;
    let id = leave(&world, "hold=after:2").await;
    world.provider.last_is("cancelled").await;
    world.resolved().await;
    let books = world.stop().await;
    assert_eq!(books.charges("a").await.into_iter().collect::<Vec<_>>(), [(id, INPUT + 10)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_stops_does_not_read_on() {
    let mut world = setup().start().await;
    let id = leave(&world, "hold=after:2").await;
    world.provider.holds(1).await;
    let books = world.stop().await;
    world.provider.last_is("cancelled").await;
    assert_eq!(books.charges("a").await.into_iter().collect::<Vec<_>>(), [(id, INPUT + 10)]);
    assert_eq!(books.audit().await.open_holds, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_price_per_call_is_not_read_on_for() {
    let world = crate::harness::Setup::new().account("a", 10).start().await;
    leave(&world, "hold=after:2").await;
    world.provider.last_is("cancelled").await;
    assert_eq!(world.left("a").await, 9);
}
