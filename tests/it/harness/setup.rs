//! What a test starts with: settings, accounts with credits, keys.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use creditgate::credit::{Credits, LotKind, Operation, Timestamp};
use creditgate::directory::{Key, KeyHash, Owner, Record};
use creditgate::ledger::Change;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::books::{Books, fresh_id, now};
use super::client::{Ask, Client};
use super::process::{Launch, Process, TRUSTED, write_config};
use super::provider::Provider;
use super::redis::RedisServer;
use super::{SOON, eventually};

/// Accounts are on this plan unless a test says otherwise: no monthly credits, and faster than any test.
const PLAN: &str = "pay-as-you-go";

pub struct Setup {
    settings: BTreeMap<String, BTreeMap<String, String>>,
    rules: String,
    fallbacks: Vec<(SocketAddr, &'static str)>,
    trusted: Option<PathBuf>,
    accounts: Vec<Account>,
    keys: Vec<(String, Owner, Option<Timestamp>)>,
    prices: Option<&'static str>,
    upstream: Option<SocketAddr>,
    listen: SocketAddr,
    ledger: Option<String>,
}

struct Account {
    name: String,
    plan: String,
    credits: u32,
    open: bool,
}

/// A gateway with its provider and its ledger.
pub struct World {
    pub provider: Provider,
    pub gateway: Process,
    pub launch: Launch,
    _folder: TempDir,
}

/// The secret of the key that each account has.
pub fn key_of(account: &str) -> String {
    format!("cg_secret_of_{account}")
}

impl Setup {
    pub fn new() -> Self {
        let setup = Self {
            settings: BTreeMap::new(),
            rules: String::new(),
            fallbacks: Vec::new(),
            trusted: None,
            accounts: Vec::new(),
            keys: Vec::new(),
            prices: None,
            upstream: None,
            listen: ([127, 0, 0, 1], 0).into(),
            ledger: None,
        };
        setup
            .set("log.format", "'json'")
            .set("provider.openai.dialect", "'openai'")
            .set("provider.openai.key", "{ env = 'CREDITGATE_OPENAI_KEY' }")
            .set(&format!("plan.{PLAN}.monthly_credits"), "0")
            .set("plan_defaults.requests_per_minute", "6000000")
            .set("plan_defaults.key_requests_per_minute", "6000000")
            .set("plan_defaults.burst", "100000")
            .set("plan_defaults.concurrency", "1000")
    }

    /// A setting of the configuration, as `table.key` or `key`, with its value in TOML.
    pub fn set(mut self, setting: &str, value: &str) -> Self {
        let (table, key) = setting.rsplit_once('.').unwrap_or(("", setting));
        let table = self.settings.entry(table.to_owned()).or_default();
        table.insert(key.to_owned(), value.to_owned());
        self
    }

    /// A price rule.
    pub fn rule(mut self, rule: &str) -> Self {
        writeln!(self.rules, "[[price.rule]]\n{rule}").unwrap();
        self
    }

    /// A provider of another dialect at the same address and with the same key.
    pub fn provider(self, name: &str, dialect: &str) -> Self {
        self.set(&format!("provider.{name}.dialect"), &format!("'{dialect}'"))
            .set(&format!("provider.{name}.key"), "{ env = 'CREDITGATE_OPENAI_KEY' }")
    }

    /// A price list, in TOML.
    pub fn prices(mut self, list: &'static str) -> Self {
        self.prices = Some(list);
        self.set("price.file", "'prices.toml'")
    }

    /// An account with so many purchased credits.
    pub fn account(self, name: &str, credits: u32) -> Self {
        self.account_on(PLAN, name, credits)
    }

    /// The same on another plan.
    pub fn account_on(mut self, plan: &str, name: &str, credits: u32) -> Self {
        let (name, plan) = (name.to_owned(), plan.to_owned());
        let owner = Owner::Account(name.parse().unwrap());
        self.keys.push((key_of(&name), owner, None));
        self.accounts.push(Account { name, plan, credits, open: true });
        self
    }

    /// An account whose subscription is not active.
    pub fn closed_account(self, name: &str, credits: u32) -> Self {
        let mut setup = self.account(name, credits);
        setup.accounts.last_mut().unwrap().open = false;
        setup
    }

    /// One more key of an account, which may end.
    pub fn key(mut self, secret: &str, account: &str, ends: Option<Timestamp>) -> Self {
        self.keys.push((secret.to_owned(), Owner::Account(account.parse().unwrap()), ends));
        self
    }

    pub fn service_key(mut self, secret: &str) -> Self {
        self.keys.push((secret.to_owned(), Owner::Service, None));
        self
    }

    /// Calls go to this address instead of the simulated provider.
    pub fn upstream(mut self, address: SocketAddr) -> Self {
        self.upstream = Some(address);
        self
    }

    /// Calls that fail go on to this address, with this key.
    pub fn fallback(mut self, address: SocketAddr, key: &'static str) -> Self {
        self.fallbacks.push((address, key));
        self
    }

    /// The whole address of the provider, instead of the simulated one's.
    pub fn base_url(self, url: &str) -> Self {
        self.set("provider.openai.base_url", &format!("'{url}'"))
    }

    /// The gateway trusts the authorities in this file instead of the system's.
    pub fn trust(mut self, authorities: PathBuf) -> Self {
        self.trusted = Some(authorities);
        self
    }

    /// Credits are kept in this Redis server instead of a file.
    pub fn ledger_on(mut self, server: &RedisServer) -> Self {
        self.ledger = Some(server.url());
        self
    }

    pub async fn start(self) -> World {
        let provider = Provider::start().await;
        let folder = tempfile::Builder::new().prefix("creditgate-it-").tempdir().unwrap();
        let upstream = self.upstream.unwrap_or(provider.address);
        let listen = self.listen;
        let mut setup = self;
        setup.find_providers_at(upstream);
        for (number, (address, key)) in setup.fallbacks.iter().enumerate() {
            let file = folder.path().join(format!("key-{number}"));
            std::fs::write(&file, key).unwrap();
            let (base, file) = (format!("http://{address}/v1"), file.display());
            writeln!(
                setup.rules,
                "[[provider.openai.fallback]]\nbase_url = '{base}'\nkey = {{ file = '{file}' }}"
            )
            .unwrap();
        }
        if let Some(trusted) = &setup.trusted {
            std::fs::copy(trusted, folder.path().join(TRUSTED)).unwrap();
        }
        let config = write_config(folder.path(), &setup.config());
        if let Some(list) = setup.prices {
            std::fs::write(folder.path().join("prices.toml"), list).unwrap();
        }
        let file = || format!("sqlite://{}", folder.path().join("ledger.db").display());
        let ledger = setup.ledger.clone().unwrap_or_else(file);
        let launch = Launch { folder: folder.path().to_owned(), config, listen, ledger };
        setup.prepare(&launch.ledger).await;
        let gateway = launch.start().await;
        World { provider, gateway, launch, _folder: folder }
    }

    /// Providers whose address is not said are at this one.
    pub(super) fn find_providers_at(&mut self, address: SocketAddr) {
        let openai = self.settings.entry("provider.openai".to_owned()).or_default();
        openai.entry("base_url".to_owned()).or_insert(format!("'http://{address}/v1'"));
        for table in self.settings.iter_mut().filter(|(name, _)| name.starts_with("provider.")) {
            table.1.entry("base_url".to_owned()).or_insert_with(|| format!("'http://{address}'"));
        }
    }

    /// The configuration, as text.
    pub(super) fn config(&self) -> String {
        let mut text = String::new();
        for (table, keys) in &self.settings {
            // The top level comes first.
            if !table.is_empty() {
                writeln!(text, "[{table}]").unwrap();
            }
            for (key, value) in keys {
                writeln!(text, "{key} = {value}").unwrap();
            }
        }
        text + &self.rules
    }

    /// Brings accounts and keys into the ledger.
    pub(super) async fn prepare(&self, ledger: &str) {
        let books = Books::open(ledger).await;
        let at = now();
        for account in &self.accounts {
            let name: creditgate::credit::AccountId = account.name.parse().unwrap();
            let record = Record {
                account: name.clone(),
                version: 0,
                plan: account.plan.clone(),
                anchor: at,
                zone: chrono_tz::Tz::UTC,
                created: at,
                when_exhausted: None,
            };
            let gate_until = if account.open { Timestamp::MAX } else { Timestamp::MIN };
            books.change(Change::Create { record, gate_until }).await;
            if account.credits > 0 {
                let grant = Operation::Grant {
                    source: format!("test:{name}").parse().unwrap(),
                    kind: LotKind::Purchased,
                    start: at,
                    end: Timestamp::MAX,
                    amount: Credits::whole(account.credits),
                };
                let granted = books.ledger().apply(&name, fresh_id(), grant).await.unwrap();
                granted.outcome.unwrap();
            }
        }
        for (number, (secret, owner, ends)) in self.keys.iter().enumerate() {
            let key = Key {
                id: format!("key_{number:016x}"),
                name: "test".to_owned(),
                owner: owner.clone(),
                prefix: secret.chars().take(9).collect(),
                created: at,
                ends: *ends,
                revoked: None,
            };
            books.change(Change::IssueKey { key, hash: KeyHash::of(secret) }).await;
        }
        books.close().await;
    }
}

impl World {
    /// A request to the gateway.
    pub fn ask(&self, method: &str, path: &str) -> Ask {
        self.gateway.ask(method, path)
    }

    /// The same over HTTP/2.
    pub fn ask_http2(&self, method: &str, path: &str) -> Ask {
        Client::http2().ask(self.gateway.address, method, path)
    }

    /// A chat of `account`.
    pub fn chat(&self, account: &str) -> Ask {
        self.gateway.chat(account)
    }

    /// A streamed chat of `account`.
    pub fn stream(&self, account: &str) -> Ask {
        self.gateway.stream(account)
    }

    /// The balance of `account`.
    pub async fn credits(&self, account: &str) -> Value {
        self.ask("GET", "/credits").of(account).send().await.json()
    }

    /// What `account` can spend when all its calls are resolved.
    pub async fn left(&self, account: &str) -> u64 {
        self.resolved().await;
        let credits = self.credits(account).await;
        assert_eq!(credits["held"], 0);
        credits["remaining"].as_u64().unwrap()
    }

    /// Waits until no credits are held.
    pub async fn resolved(&self) {
        eventually("every hold is resolved", SOON, async || {
            (self.verify().await["open_holds"] == 0).then_some(())
        })
        .await;
    }

    /// What the auditor finds in the running gateway's ledger. Fails if a rule is broken.
    pub async fn verify(&self) -> Value {
        self.gateway.verify().await
    }

    /// Every series of the metrics whose value is a whole number.
    pub async fn metrics(&self) -> BTreeMap<String, u64> {
        self.gateway.metrics().await
    }

    /// A request to the admin listener.
    pub fn admin(&self, method: &str, path: &str) -> Ask {
        self.gateway.admin(method, path)
    }

    /// The same with another token.
    pub fn admin_as(&self, token: &str, method: &str, path: &str) -> Ask {
        self.gateway.admin_as(token, method, path)
    }

    /// Ends the gateway as a supervisor does, and opens what it left behind.
    pub async fn stop(&mut self) -> Books {
        self.gateway.terminate();
        self.stop_began().await
    }

    /// The same for a gateway that was told to end already.
    pub async fn stop_began(&mut self) -> Books {
        let status = self.gateway.ended().await;
        assert!(status.success(), "{status}\n{}", self.gateway.log());
        Books::open(&self.launch.ledger).await
    }

    /// Starts a gateway on the same ledger.
    pub async fn restart(&mut self) {
        self.gateway = self.launch.start().await;
    }
}

/// The body of a chat.
pub fn chat_body(stream: bool) -> Value {
    json!({
        "model": "sim-small",
        "stream": stream,
        "messages": [{ "role": "user", "content": "What does a call cost?" }],
    })
}
