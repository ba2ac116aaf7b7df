//! `creditgate demo`: the whole product on one machine, with a simulated provider and three accounts to try.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{App, Serving, bind, environment, now, runtime, stop_signal};
use crate::cli::DemoOptions;
use crate::config::Config;
use crate::credit::{AccountId, Credits, Id, LotKind, Operation, Timestamp, purchase_end};
use crate::directory::{Key, KeyHash, NewSecret, Owner, Record, random_hex};
use crate::ledger::{Change, Changed, Ledger};
use crate::{sim, telemetry};

/// The demo's plans are small, so that the change from plan credits to purchased ones, and the end of both, are seen
/// after a few calls.
const CONFIG: &str = r#"
[provider.openai]
dialect = "openai"
base_url = "http://SIMULATED/v1"
key = { env = "DEMO_PROVIDER_KEY" }

[provider.anthropic]
dialect = "anthropic"
base_url = "http://SIMULATED"
key = { env = "DEMO_PROVIDER_KEY" }

[provider.gemini]
dialect = "gemini"
base_url = "http://SIMULATED"
key = { env = "DEMO_PROVIDER_KEY" }

[price.default]
credits = 1

[[price.rule]]
model = "sim-metered"
input = 100
output = 1000
max_output_tokens = 1000

[plan.demo]
monthly_credits = 5

[plan.free]
monthly_credits = 0

[plan_defaults]
requests_per_minute = 60000
key_requests_per_minute = 60000
burst = 1000
concurrency = 500
"#;

/// What the account `demo` has bought.
const PURCHASED: Credits = Credits::whole(3);

/// The three accounts: name, plan, whether the gate is open.
const ACCOUNTS: [(&str, &str, bool); 3] =
    [("demo", "demo", true), ("broke", "free", true), ("paused", "demo", false)];

/// Runs the demo until it is told to stop.
pub fn demo(options: &DemoOptions) -> anyhow::Result<()> {
    let config = parse("127.0.0.1:0", "", Path::new("."), options)?;
    telemetry::start(config.log.format, config.log.level, environment("RUST_LOG").as_deref())?;
    runtime()?.block_on(run(options))
}

async fn run(options: &DemoOptions) -> anyhow::Result<()> {
    let told_to_stop = stop_signal()?;
    // Removed as it is dropped, unless the operator named a place to keep.
    let temporary = tempfile::Builder::new().prefix("creditgate-demo-").tempdir()?;
    let folder = options.data.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(folder)
        .with_context(|| format!("can't create the data directory `{}`", folder.display()))?;
    let listener = bind((Ipv4Addr::LOCALHOST, 0).into(), "the loopback interface").await?;
    let provider = listener.local_addr()?;
    let simulated = Serving::start(|stop: CancellationToken| sim::serve(listener, stop));

    let token = format!("admin_{}", random_hex::<16>()?);
    let config = parse(&provider.to_string(), &token, folder, options)?;
    let secrets = secrets(&token);
    let app = App::start(config, &secrets).await?;
    let keys = accounts(&app.ledger).await?;
    let kept = options.data.is_some();
    let ready = Ready { gateway: app.gateway, admin: app.admin, provider, token, keys, kept };
    ready.print(options.json)?;

    told_to_stop.await;
    if !options.json {
        eprintln!("stopping");
    }
    app.stop().await;
    simulated.stop().await;
    Ok(())
}

fn parse(
    provider: &str,
    token: &str,
    folder: &Path,
    options: &DemoOptions,
) -> anyhow::Result<Config> {
    let text = CONFIG.replace("SIMULATED", provider);
    let mut config = Config::parse(&text, Path::new("the demo's configuration"), &secrets(token))?;
    config.listen = options.listen;
    config.admin_listen = options.admin_listen;
    config.ledger = crate::config::LedgerUrl::Sqlite(folder.join("creditgate.db"));
    Ok(config)
}

fn secrets(token: &str) -> impl Fn(&str) -> Option<String> + use<> {
    let token = token.to_owned();
    move |name| match name {
        "CREDITGATE_ADMIN_TOKEN" => Some(token.clone()),
        "DEMO_PROVIDER_KEY" => Some("sim-provider-key".to_owned()),
        _ => None,
    }
}

/// Creates the accounts where they are missing, and a new key for each.
async fn accounts(ledger: &Ledger) -> anyhow::Result<Vec<(&'static str, NewSecret)>> {
    let mut keys = Vec::new();
    let at = now();
    for (name, plan, open) in ACCOUNTS {
        let account: AccountId = name.parse()?;
        let record = Record {
            account: account.clone(),
            version: 0,
            plan: plan.to_owned(),
            anchor: at,
            zone: chrono_tz::Tz::UTC,
            created: at,
            when_exhausted: None,
        };
        let gate_until = if open { Timestamp::MAX } else { Timestamp::MIN };
        ledger.change(fresh_id(), Change::Create { record, gate_until }).await?;
        if name == "demo" {
            buy(ledger, &account, at).await?;
        }
        let secret = NewSecret::random()?;
        let key = Key {
            id: format!("key_{}", random_hex::<8>()?),
            name: "demo".to_owned(),
            owner: Owner::Account(account),
            prefix: secret.prefix(),
            created: at,
            ends: None,
            revoked: None,
        };
        let hash = KeyHash::of(secret.expose());
        let changed = ledger.change(fresh_id(), Change::IssueKey { key, hash }).await?;
        anyhow::ensure!(
            matches!(changed, Changed::Done { .. }),
            "no key for `{name}`: {changed:?}"
        );
        keys.push((name, secret));
    }
    Ok(keys)
}

/// One purchase. A second start on the same data finds it made.
async fn buy(ledger: &Ledger, account: &AccountId, at: Timestamp) -> anyhow::Result<()> {
    let end = purchase_end(at, chrono_tz::Tz::UTC).unwrap_or(Timestamp::MAX);
    let grant = Operation::Grant {
        source: "demo:purchase".parse()?,
        kind: LotKind::Purchased,
        start: at,
        end,
        amount: PURCHASED,
    };
    ledger.apply(account, fresh_id(), grant).await?;
    Ok(())
}

fn fresh_id() -> Id {
    Id::from_u128(Uuid::now_v7().as_u128())
}

struct Ready {
    gateway: SocketAddr,
    admin: SocketAddr,
    provider: SocketAddr,
    token: String,
    keys: Vec<(&'static str, NewSecret)>,
    /// Whether the data outlives the demo.
    kept: bool,
}

impl Ready {
    fn print(&self, json: bool) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        if json {
            let accounts: serde_json::Map<_, _> = self
                .keys
                .iter()
                .map(|(name, secret)| ((*name).to_owned(), json!({ "key": secret.expose() })))
                .collect();
            let line = json!({
                "gateway": format!("http://{}", self.gateway),
                "admin": format!("http://{}", self.admin),
                "provider": format!("http://{}", self.provider),
                "admin_token": self.token,
                "accounts": accounts,
            });
            writeln!(out, "{line}")?;
        } else {
            self.print_for_people(&mut out)?;
        }
        out.flush()
    }

    fn print_for_people(&self, out: &mut impl std::io::Write) -> std::io::Result<()> {
        let Self { gateway, admin, provider, token, keys, .. } = self;
        let key = |of: &str| {
            let found = keys.iter().find(|(name, _)| *name == of);
            found.map_or("", |(_, secret)| secret.expose())
        };
        let json = "-H 'Content-Type: application/json' -d";
        let hello = r#""messages":[{"role":"user","content":"Hello"}]"#;
        let chat = format!(r#"{json} '{{"model":"sim-small",{hello}}}'"#);
        let message = format!(r#"{json} '{{"model":"sim-small","max_tokens":64,{hello}}}'"#);
        let content = format!(r#"{json} '{{"contents":[{{"parts":[{{"text":"Hello"}}]}}]}}'"#);
        let (demo, broke, paused) = (key("demo"), key("broke"), key("paused"));
        writeln!(
            out,
            "\
creditgate demo: everything on this machine, nothing leaves it.

  gateway    http://{gateway}
  admin      http://{admin}   token {token}
  provider   http://{provider}/v1   (simulated)

  account  has                             key
  demo     5 plan credits, 3 purchased     {demo}
  broke    no credits                      {broke}
  paused   an inactive subscription        {paused}

A free call: passes always.
  curl -s http://{gateway}/v1/models -H 'Authorization: Bearer {demo}'

An AI call: takes 1 credit; look at the x-credits-* headers. As the libraries of OpenAI, Anthropic and Google make it:
  curl -si http://{gateway}/v1/chat/completions -H 'Authorization: Bearer {demo}' {chat}
  curl -si http://{gateway}/v1/messages -H 'x-api-key: {demo}' -H 'anthropic-version: 2023-06-01' {message}
  curl -si http://{gateway}/v1beta/models/sim-small:generateContent -H 'x-goog-api-key: {demo}' {content}

A refused one: no credits, so the provider is not asked.
  curl -si http://{gateway}/v1/chat/completions -H 'Authorization: Bearer {broke}' {chat}

The balance: what is left, what ends when.
  curl -s http://{gateway}/credits -H 'Authorization: Bearer {demo}'

Ctrl-C stops it{cleans}.",
            cleans = if self.kept { "" } else { " and removes its data" },
        )
    }
}
