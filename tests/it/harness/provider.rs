//! The simulated provider, run by the test itself so that the gateway is the only thing that is a process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::{SOON, eventually};

/// A simulated provider that serves until it is dropped.
pub struct Provider {
    pub address: SocketAddr,
    client: Client,
    stop: CancellationToken,
}

/// One request as the provider saw it, and what became of its answer.
#[derive(Clone, Debug, Deserialize)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body_bytes: usize,
    /// `open`, `answered`, `broken` or `cancelled`.
    pub state: String,
    pub sent_bytes: usize,
    pub response_sha256: String,
}

impl Provider {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(creditgate::sim::serve(listener, stop.clone()));
        Self { address, client: Client::new(), stop }
    }

    /// What it was asked, oldest first.
    pub async fn seen(&self) -> Vec<Seen> {
        let mut asked = self.ask("GET", "/_sim/requests").await;
        assert_eq!(asked["dropped"], 0);
        serde_json::from_value(asked["requests"].take()).unwrap()
    }

    /// The only request that it was asked.
    pub async fn only(&self) -> Seen {
        let mut seen = self.seen().await;
        assert_eq!(seen.len(), 1, "{seen:#?}");
        seen.remove(0)
    }

    /// Waits until the last request has this state.
    pub async fn last_is(&self, state: &str) -> Seen {
        eventually(&format!("the provider's last request is {state}"), SOON, async || {
            self.seen().await.pop().filter(|seen| seen.state == state)
        })
        .await
    }

    /// Waits until a request came whose header `x-caller` says `name`; for ever, if none does.
    pub async fn was_asked_by(&self, name: &str) {
        let by = |seen: &Seen| seen.headers.get("x-caller").is_some_and(|by| by == name);
        while !self.seen().await.iter().any(by) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until so many answers are held.
    pub async fn holds(&self, answers: u64) {
        eventually("the provider holds the answer", SOON, async || {
            let counts = self.ask("GET", "/_sim/counts").await;
            (counts["held"] == answers).then_some(())
        })
        .await;
    }

    /// Lets the held answers go on.
    pub async fn release(&self) {
        self.ask("POST", "/_sim/release").await;
    }

    /// Forgets what it was asked.
    pub async fn forget(&self) {
        self.ask("DELETE", "/_sim/requests").await;
    }

    async fn ask(&self, method: &str, path: &str) -> Value {
        self.client.ask(self.address, method, path).send().await.json()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
