//! The network between a gateway and its Redis: it delays replies, cuts connections and loses replies for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::RedisServer;

/// How long a reply that is late may be so.
const LATE: Duration = Duration::from_millis(30);

/// What becomes of a thousand replies; the others pass.
#[derive(Clone, Copy, Default)]
pub struct Weather {
    /// So many are lost, and nothing more is heard on their connection, which stays open.
    pub lost: u32,
    /// So many are cut off with their connection, before their first byte or in the middle.
    pub cut: u32,
    /// So many are late.
    pub late: u32,
}

/// A proxy to a server. It ends with the value.
pub struct Network {
    url: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    upstream: String,
    weather: Weather,
    calm: AtomicBool,
    spoiled: AtomicUsize,
    /// What is asked on connections before this one waits.
    dammed: watch::Sender<usize>,
    connections: AtomicUsize,
}

impl Network {
    /// A network to `server` in this weather. The same `seed` spoils the same replies of each connection.
    pub async fn to(server: &RedisServer, weather: Weather, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let upstream = server.url().trim_start_matches("redis://").to_owned();
        let (calm, spoiled) = (AtomicBool::new(false), AtomicUsize::new(0));
        let (dammed, connections) = (watch::Sender::new(0), AtomicUsize::new(0));
        let state = State { upstream, weather, calm, spoiled, dammed, connections };
        let state = Arc::new(state);
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(seed);
            loop {
                let Ok((client, _)) = listener.accept().await else { return };
                let random = StdRng::seed_from_u64(random.random());
                tokio::spawn(forward(client, random, Arc::clone(&shared)));
            }
        });
        Self { url, state, task }
    }

    /// Where the server is, seen through this network.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on everything passes, or no longer.
    pub fn calm(&self, calm: bool) {
        self.state.calm.store(calm, Ordering::Relaxed);
    }

    /// What is asked from now on waits on its way, on connections that are open.
    pub fn dam(&self) {
        self.state.dammed.send_replace(self.state.connections.load(Ordering::Relaxed));
    }

    /// What has waited arrives.
    pub fn undam(&self) {
        self.state.dammed.send_replace(0);
    }

    /// Replies that were lost or cut off.
    pub fn spoiled(&self) -> usize {
        self.state.spoiled.load(Ordering::Relaxed)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(client: TcpStream, random: StdRng, state: Arc<State>) -> std::io::Result<()> {
    // Who connects while the server is away learns it as he would without a proxy: as good as at once.
    let server = TcpStream::connect(&state.upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let number = state.connections.fetch_add(1, Ordering::Relaxed);
    let asking = tokio::spawn(requests(from_client, to_server, number, Arc::clone(&state)));
    let replied = replies(from_server, to_client, random, &state).await;
    asking.abort();
    replied
}

async fn requests(
    mut from_client: OwnedReadHalf,
    mut to_server: OwnedWriteHalf,
    number: usize,
    state: Arc<State>,
) -> std::io::Result<()> {
    let (mut bytes, mut dammed) = (vec![0; 64 * 1024], state.dammed.subscribe());
    loop {
        let length = from_client.read(&mut bytes).await?;
        if length == 0 {
            return Ok(());
        }
        let _ = dammed.wait_for(|dammed| number >= *dammed).await;
        to_server.write_all(&bytes[..length]).await?;
    }
}

async fn replies(
    mut from_server: OwnedReadHalf,
    mut to_client: OwnedWriteHalf,
    mut random: StdRng,
    state: &State,
) -> std::io::Result<()> {
    let Weather { lost, cut, late } = state.weather;
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let length = from_server.read(&mut bytes).await?;
        if length == 0 {
            return Ok(());
        }
        let calm = state.calm.load(Ordering::Relaxed);
        let drawn = if calm { u32::MAX } else { random.random_range(0..1000) };
        if drawn < lost {
            state.spoiled.fetch_add(1, Ordering::Relaxed);
            while from_server.read(&mut bytes).await? > 0 {}
            return Ok(());
        }
        if drawn < lost + cut {
            state.spoiled.fetch_add(1, Ordering::Relaxed);
            let part = if drawn % 2 == 0 { 0 } else { length / 2 };
            return to_client.write_all(&bytes[..part]).await;
        }
        if drawn < lost + cut + late {
            tokio::time::sleep(LATE.mul_f64(random.random())).await;
        }
        to_client.write_all(&bytes[..length]).await?;
    }
}
