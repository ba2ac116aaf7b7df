//! Either side goes away, or the gateway stops.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_pays_for_what_it_saw() {
    let world = setup().start().await;
    let mut socket = open(&world, REALTIME, "a").await;
    socket.say(&create("hold=after:1")).await;
    socket.until("response.created").await;
    drop(socket);
    assert_eq!(world.left("a").await, 10);
    let mut socket = open(&world, REALTIME, "a").await;
    socket.say(&create("hold=after:2")).await;
    socket.until("response.output_text.delta").await;
    drop(socket);
    assert_eq!(world.left("a").await, 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_breaks_off_is_paid_for_what_came() {
    let world = setup().start().await;
    let mut socket = open(&world, REALTIME, "a").await;
    socket.say(&create("break=after:1")).await;
    assert_eq!(socket.end().await, None);
    assert_eq!(world.left("a").await, 10);
    let mut socket = open(&world, REALTIME, "a").await;
    socket.say(&create("break=after:3")).await;
    assert_eq!(socket.end().await, None);
    assert_eq!(world.left("a").await, 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_is_read_on_for_a_client_that_left() {
    let prices = "
        [[price.rule]]
        model = '*'
        input = 1
        output = 10
    ";
    let mut world = setup().prices(prices).start().await;
    let mut socket = open(&world, REALTIME, "a").await;
    socket.say(&create("hold=after:2,input-tokens=70,output-tokens=3")).await;
    socket.until("response.output_text.delta").await;
    world.provider.holds(1).await;
    drop(socket);
    world.provider.release().await;
    world.resolved().await;
    let books = world.stop().await;
    assert_eq!(books.charges("a").await.into_values().collect::<Vec<_>>(), [100]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_socket_is_closed() {
    let world = setup().set("limits.socket_idle_timeout", "'300ms'").start().await;
    let mut socket = open(&world, REALTIME, "a").await;
    assert_eq!(socket.end().await, Some((1001, "idle".to_owned())));
    assert_eq!(world.left("a").await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_frames_end_the_socket() {
    use tokio::io::AsyncWriteExt;
    let world = setup().start().await;
    let mut socket = open(&world, REALTIME, "a").await;
    socket.until("session.created").await;
    socket.stream.get_mut().write_all(&[0xFF; 16]).await.unwrap();
    assert_eq!(socket.end().await, None);
    assert_eq!(world.left("a").await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_stops_lets_a_response_end_and_says_goodbye() {
    let mut world = setup().start().await;
    let mut quiet = open(&world, REALTIME, "a").await;
    let mut busy = open(&world, REALTIME, "a").await;
    busy.say(&create("hold=after:2")).await;
    busy.until("response.output_text.delta").await;
    world.provider.holds(1).await;
    world.gateway.terminate();
    let goodbye = Some((1001, "the gateway is stopping".to_owned()));
    assert_eq!(quiet.end().await, goodbye);
    world.provider.release().await;
    busy.until("response.done").await;
    assert_eq!(busy.end().await, goodbye);
    let books = world.stop_began().await;
    assert_eq!(books.charges("a").await.len(), 1);
    assert_eq!(books.audit().await.open_holds, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_takes_longer_than_the_stop_is_cut() {
    let mut world = setup().set("limits.drain", "'200ms'").start().await;
    let mut socket = open(&world, REALTIME, "a").await;
    socket.say(&create("hold=after:2")).await;
    socket.until("response.output_text.delta").await;
    world.provider.holds(1).await;
    let books = world.stop().await;
    assert_eq!(books.charges("a").await.len(), 1);
    assert_eq!(books.audit().await.open_holds, 0);
}
