//! The only place where things are wired: configuration in, a running gateway out; start and drain.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

mod demo;
mod ledger;
mod migrate;

pub use demo::demo;
pub use migrate::{Migrate, migrate};

use crate::admin::{self, Admin};
use crate::config::{Config, Environment, Name, Secret, SecretError, SecretSource};
use crate::cores::Cores;
use crate::credit::Timestamp;
use crate::directory::Directory;
use crate::gateway::{self, At, Gateway, Settings, Sockets, Tenancy, Upstream};
use crate::ledger::{Clock, Ledger, Settler};
use crate::metrics::Metrics;
use crate::{server, sim, telemetry};

/// How long the last settlements may take after the last answer.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);

/// `creditgate serve`: runs until it is told to stop.
pub fn serve(config: Option<&Path>) -> anyhow::Result<()> {
    let config = Config::load(config, &environment)?;
    telemetry::start(config.log.format, config.log.level, environment("RUST_LOG").as_deref())?;
    runtime()?.block_on(async {
        let told_to_stop = stop_signal()?;
        let app = App::start(config, &environment).await?;
        tracing::info!(gateway = %app.gateway, admin = %app.admin, "ready");
        told_to_stop.await;
        tracing::info!("stopping: requests in flight get time to end");
        app.stop().await;
        tracing::info!("stopped");
        Ok(())
    })
}

/// `creditgate check`: the effective configuration as text.
pub fn check(config: Option<&Path>) -> anyhow::Result<String> {
    Ok(Config::load(config, &environment)?.effective())
}

/// `creditgate sim`: the simulated provider alone, until it is told to stop.
pub fn sim(listen: SocketAddr) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let told_to_stop = stop_signal()?;
        let listener = bind(listen, "--listen").await?;
        eprintln!("simulated provider on http://{}/v1", listener.local_addr()?);
        let stop = CancellationToken::new();
        let serving = tokio::spawn(sim::serve(listener, stop.clone()));
        told_to_stop.await;
        stop.cancel();
        serving.await?;
        Ok(())
    })
}

/// A gateway that is serving.
pub struct App {
    /// Where assistants connect.
    pub gateway: SocketAddr,
    /// Where the admin API is served.
    pub admin: SocketAddr,
    ledger: Ledger,
    settler: Settler,
    ready: Arc<AtomicBool>,
    /// Every client has been served: nothing is read on for those that left.
    served: CancellationToken,
    sockets: Sockets,
    /// What was made is written down behind the answers.
    tenancy: Tenancy,
    serving: Serving,
    administering: Serving,
    archiving: Option<Serving>,
    cores: Cores,
}

/// A task that ends when it is told to.
struct Serving {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl App {
    /// Starts what `config` describes; its secrets come from `env`.
    pub async fn start(config: Config, env: Environment<'_>) -> anyhow::Result<Self> {
        let token = config.admin_token.resolve(env).context("the admin token is missing")?;
        let metrics = Arc::new(Metrics::new());
        let upstreams = upstreams(&config, env, &metrics)?;
        let listener = bind(config.listen, "`listen`").await?;
        let admin_listener = bind(config.admin_listen, "`admin_listen`").await?;
        let (gateway_at, admin_at) = (listener.local_addr()?, admin_listener.local_addr()?);

        let (config, clock): (_, Clock) = (Arc::new(config), Arc::new(now));
        let cores = Cores::start(config.limits.threads()).context("no thread could be started")?;
        let ledger::Opened { ledger, journal, archiving } =
            ledger::open(&config, env, &clock, &metrics, cores.all()).await?;
        let trust_for = config.outage.trust_for;
        let directory = Directory::new(ledger.clone(), trust_for, Arc::clone(&metrics)).into();
        let settler = Settler::start(ledger.clone(), config.limits.hold_ttl, journal);
        let ready = Arc::new(AtomicBool::new(true));
        let gateway = Gateway::new(
            Arc::clone(&config),
            upstreams,
            ledger.clone(),
            Arc::clone(&directory),
            settler.clone(),
            Arc::clone(&metrics),
            Arc::clone(&clock),
        );
        let (served, sockets, tenancy) = (gateway.served(), gateway.sockets(), gateway.tenancy());
        let admin = Admin {
            config: Arc::clone(&config),
            ledger: ledger.clone(),
            directory,
            metrics: Arc::clone(&metrics),
            settler: settler.clone(),
            clock,
            token,
            ready: Arc::clone(&ready),
        };

        let limits = server::Limits {
            connections: config.limits.connections,
            head_bytes: config.limits.head_bytes,
            head_timeout: config.limits.head_timeout,
            drain: config.limits.drain,
        };
        let data_plane = gateway::stack(Arc::new(gateway), config.limits.in_flight);
        let connected = {
            let metrics = Arc::clone(&metrics);
            move || metrics.connection_opened()
        };
        let serve_on = cores.all();
        let serving = Serving::start(|stop| async move {
            server::serve(listener, limits, data_plane, connected, &serve_on, stop).await;
        });
        let control_plane = admin::router(Arc::new(admin));
        let limits = server::Limits { drain: Duration::from_secs(1), ..limits };
        let administering = Serving::start(|stop| {
            server::serve(admin_listener, limits, control_plane, || (), &[], stop)
        });
        Ok(Self {
            gateway: gateway_at,
            admin: admin_at,
            ledger,
            settler,
            ready,
            served,
            sockets,
            tenancy,
            serving,
            administering,
            archiving,
            cores,
        })
    }

    /// Stops accepting, lets requests in flight end, settles them, and closes the ledger. `/ready` says no from the
    /// first moment on.
    pub async fn stop(self) {
        self.ready.store(false, Ordering::Relaxed);
        tokio::join!(self.serving.stop(), self.sockets.drain());
        self.served.cancel();
        self.tenancy.written(SETTLE_LIMIT).await;
        if !self.settler.drained(SETTLE_LIMIT).await {
            let left = self.settler.pending();
            tracing::error!(left, "calls were left unsettled; their holds expire by themselves");
        }
        self.administering.stop().await;
        if let Some(archiving) = self.archiving {
            archiving.stop().await;
        }
        self.ledger.close().await;
        self.cores.stop();
    }
}

impl Serving {
    fn start<F>(serve: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        Self { task: tokio::spawn(serve(stop.clone())), stop }
    }

    async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a listener or the archiver failed");
        }
    }
}

/// The providers that can be used. One whose key is looked for in an environment variable that is not set is left out,
/// so that the shipped configuration serves with the keys that there are; without any there is nothing to serve. A
/// fallback without its key is left out likewise.
fn upstreams(
    config: &Config,
    env: Environment<'_>,
    metrics: &Metrics,
) -> anyhow::Result<BTreeMap<Name, Upstream>> {
    let mut upstreams = BTreeMap::new();
    let mut unset = None;
    for (name, provider) in &config.providers {
        let why = || format!("the provider `{}` can't be used", name.as_str());
        let mut addresses = Vec::new();
        for (number, (base, key)) in (1..).zip(provider.addresses()) {
            match secret(key, env).with_context(why)? {
                Ok(key) => {
                    let attempts = metrics.attempts(name.as_str(), number);
                    addresses.push(At { number, base: base.clone(), key, attempts });
                }
                Err(error) if number > 1 => {
                    let provider = name.as_str();
                    tracing::warn!(provider, address = number, %error, "this fallback is left out");
                }
                Err(error) => {
                    tracing::warn!(provider = name.as_str(), %error, "calls to this provider are refused");
                    // Of several, the default provider's is the one that was forgotten.
                    if unset.is_none() || *name == config.default_provider {
                        unset = Some(anyhow::Error::new(error).context(why()));
                    }
                    break;
                }
            }
        }
        if addresses.is_empty() {
            continue;
        }
        let settings = Settings {
            dialect: provider.dialect,
            http2: provider.http2,
            timeouts: provider.timeouts,
            next_after: provider.next_after,
        };
        let fallbacks = addresses.split_off(1);
        let first = addresses.remove(0);
        upstreams
            .insert(name.clone(), Upstream::new(settings, first, fallbacks).with_context(why)?);
    }
    match unset {
        Some(error) if upstreams.is_empty() => Err(error.context("no provider has its key")),
        _ => Ok(upstreams),
    }
}

/// A provider's key, or why its variable is not set; an error if it is there and can't be used.
fn secret(
    source: Option<&SecretSource>,
    env: Environment<'_>,
) -> Result<Result<Option<Secret>, SecretError>, SecretError> {
    match source.map(|source| source.resolve(env)).transpose() {
        Err(error @ SecretError::Unset(_)) => Ok(Err(error)),
        Err(error) => Err(error),
        Ok(secret) => Ok(Ok(secret)),
    }
}

async fn bind(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("can't listen on {address} (another program may be using it): set {setting} to a free port")
    })
}

/// Listens for Ctrl-C and SIGTERM from now on; the future ends at the first. Called before anything is started, so that
/// whoever has read that it is ready can stop it in good order.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// The wall clock. Everything else is told the time.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
