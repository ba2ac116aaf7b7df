//! Many gateways on one Redis server.

use creditgate::ledger::journal::{Journal, Waiting};
use tempfile::TempDir;

use super::books::Books;
use super::process::{Launch, Process, write_config};
use super::provider::Provider;
use super::redis::RedisServer;
use super::setup::Setup;
use super::{SOON, eventually};

/// Gateways with their provider and the ledger that they share.
pub struct Fleet {
    pub provider: Provider,
    pub redis: RedisServer,
    /// The ledger, seen beside the gateways.
    pub books: Books,
    pub gateways: Vec<Process>,
    /// What each gateway is started with, in its order.
    pub launches: Vec<Launch>,
    _folder: TempDir,
}

impl Fleet {
    /// So many gateways.
    pub async fn start(setup: Setup, redis: RedisServer, gateways: usize) -> Self {
        let ledgers = vec![redis.url(); gateways];
        Self::on(setup, redis, &ledgers).await
    }

    /// A gateway for each of the addresses at which the server may be reached.
    pub async fn on(setup: Setup, redis: RedisServer, ledgers: &[String]) -> Self {
        let provider = Provider::start().await;
        let mut setup = setup;
        setup.find_providers_at(provider.address);
        setup.prepare(&redis.url()).await;
        let books = Books::open(&redis.url()).await;
        let folder = tempfile::Builder::new().prefix("creditgate-it-").tempdir().unwrap();
        let config = write_config(folder.path(), &setup.config());
        let (mut gateways, mut launches) = (Vec::new(), Vec::new());
        for (number, ledger) in ledgers.iter().enumerate() {
            let own = folder.path().join(number.to_string());
            std::fs::create_dir(&own).unwrap();
            let (config, ledger) = (config.clone(), ledger.clone());
            let launch = Launch { folder: own, config, listen: ([127, 0, 0, 1], 0).into(), ledger };
            gateways.push(launch.supervise().await);
            launches.push(launch);
        }
        Self { provider, redis, books, gateways, launches, _folder: folder }
    }

    /// Starts a gateway again that has ended.
    pub async fn restart(&mut self, gateway: usize) {
        self.gateways[gateway] = self.launches[gateway].supervise().await;
    }

    /// Ends all gateways as a supervisor does, when nothing waits for the ledger any more.
    pub async fn stop(&mut self) {
        for gateway in &self.gateways {
            eventually("what has ended is settled", SOON, async || {
                let metrics = gateway.metrics().await;
                (metrics["creditgate_settlements_waiting"] == 0).then_some(())
            })
            .await;
        }
        for gateway in &self.gateways {
            gateway.terminate();
        }
        for gateway in &mut self.gateways {
            let status = gateway.ended().await;
            let log = gateway.log();
            assert!(status.success() && !log.contains("left unsettled"), "{status}\n{log}");
        }
    }

    /// What a gateway that has ended left in its journal.
    pub async fn journal(&self, gateway: usize) -> Vec<Waiting> {
        let file = self.launches[gateway].folder.join("creditgate-journal.db");
        Journal::open(&file).unwrap().due(None, u32::MAX).await.unwrap()
    }

    /// Waits until no credits are held.
    pub async fn resolved(&self) {
        eventually("every hold is resolved", SOON, async || {
            (self.books.audit().await.open_holds == 0).then_some(())
        })
        .await;
    }

    /// The balance of `account` in µ: what its lots hold, less what it owes.
    pub async fn balance(&self, account: &str) -> i64 {
        let account = account.parse().unwrap();
        self.books.ledger().read(&account, None).await.unwrap().unwrap().balance()
    }
}
