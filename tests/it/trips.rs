//! What a call asks of Redis: one script before its provider is asked, and one after the answer, on nobody's time.

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::harness::{RedisServer, SOON, Setup, eventually, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_metered_call_asks_redis_once_before_its_provider_however_old_its_key_is() {
    let redis = RedisServer::start(&[]);
    let world = Setup::new().ledger_on(&redis).account("a", 9).account("b", 9).start().await;
    for account in ["a", "b"] {
        assert_eq!(world.chat(account).send().await.status, 200);
    }
    world.resolved().await;
    let mut commands = Commands::watch(&redis).await;
    // Free calls look up a key again that was read some time ago: the other account's is as old by then.
    eventually("the key of `b` is read again", SOON, async || {
        assert_eq!(world.ask("GET", "/v1/models").of("b").send().await.status, 200);
        (!commands.so_far().await.is_empty()).then_some(())
    })
    .await;
    let held = world.chat("a").sim("hold=before-headers");
    let answer = tokio::spawn(held.send());
    world.provider.holds(1).await;
    assert_eq!(commands.so_far().await, ["FCALL"], "the hold");
    world.provider.release().await;
    assert_eq!(answer.await.unwrap().status, 200);
    let settled = eventually("it is settled", SOON, async || {
        let seen = commands.so_far().await;
        (!seen.is_empty()).then_some(seen)
    });
    assert_eq!(settled.await, ["FCALL"], "the settlement");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_a_response_is_costs_no_further_trip() {
    let redis = RedisServer::start(&[]);
    let world = Setup::new().ledger_on(&redis).account("a", 9).account("b", 9).start().await;
    let body = json!({ "model": "sim-small", "input": "x" });
    let made = world.ask("POST", "/v1/responses").of("a").json(&body).send().await;
    world.resolved().await;
    let more = json!({ "model": "m", "input": "x", "previous_response_id": made.json()["id"] });
    // The script is known to the server from here on.
    assert_eq!(world.ask("POST", "/v1/responses").of("a").json(&more).send().await.status, 200);
    world.resolved().await;
    let mut commands = Commands::watch(&redis).await;
    let held = world.ask("POST", "/v1/responses").of("a").json(&more).sim("hold=before-headers");
    let answer = tokio::spawn(held.send());
    world.provider.holds(1).await;
    assert_eq!(commands.so_far().await, ["FCALL"], "the hold");
    world.provider.release().await;
    assert_eq!(answer.await.unwrap().status, 200);
}

/// What clients say to a server, without what scripts do and without looking whether it is there.
struct Commands {
    lines: UnboundedReceiver<String>,
    /// Its end would end what is heard.
    _monitor: tokio::net::tcp::OwnedWriteHalf,
    redis: TcpStream,
}

impl Commands {
    async fn watch(redis: &RedisServer) -> Self {
        let address = redis.url().replace("redis://", "");
        let (from, mut to) = TcpStream::connect(&address).await.unwrap().into_split();
        to.write_all(b"MONITOR\r\n").await.unwrap();
        let mut from = BufReader::new(from).lines();
        assert_eq!(soon("MONITOR", from.next_line()).await.unwrap().unwrap(), "+OK");
        let (heard, lines) = unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(line)) = from.next_line().await {
                let _ = heard.send(line);
            }
        });
        Self { lines, _monitor: to, redis: TcpStream::connect(address).await.unwrap() }
    }

    /// The commands since the last question.
    async fn so_far(&mut self) -> Vec<String> {
        // A word of our own marks the place up to which everything has been heard.
        self.redis.write_all(b"ECHO mark\r\n").await.unwrap();
        let mut commands = Vec::new();
        loop {
            let line = soon("MONITOR", self.lines.recv()).await.unwrap();
            let Some((from, said)) = line.split_once("] ") else { continue };
            let command = said.split('"').nth(1).unwrap_or_default().to_ascii_uppercase();
            match command.as_str() {
                "ECHO" => return commands,
                "PING" | "ROLE" | "INFO" => {}
                _ if from.ends_with(" lua") => {}
                _ => commands.push(command),
            }
        }
    }
}
