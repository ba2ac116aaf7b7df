//! The way to the servers: who is asked, and what becomes of a step whose server is gone.
//!
//! One task looks for servers (`search`). Steps that fail wake it; while a server is known to be away its steps are
//! refused at once. Every step may be sent twice: its id makes that harmless.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use ::redis::{Cmd, Pipeline, RedisError, Value};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use super::dial::Dialer;
use super::durable::{self, Acknowledgement};
use super::map::Map;
use super::node::{Node, Present};
use super::pipe::Pipe;
use super::verdict::Verdict;
use super::{OpenError, Settings, search};
use crate::config::{Place, RedisUrl, Topology};
use crate::cores::Core;
use crate::ledger::LedgerError;

/// Servers of a step that are given our functions: each that it is sent to.
const LOADS_MAX: u32 = 3;

/// The pauses of a step whose slot is on its way.
const SHORT_PAUSE: Duration = Duration::from_millis(10);

/// What is asked.
#[derive(Clone, Copy)]
pub(super) enum Request<'a> {
    /// One command.
    Once(&'a Cmd),
    /// One command whose effect must be on replicas before it is answered.
    Durable(&'a Cmd),
    /// Several commands, whose replies come as an array, errors among them.
    Many(&'a Pipeline),
}

/// Why there is no reply.
pub(super) enum Failure {
    Redis(RedisError),
    /// The step was carried out, and too few have it.
    TooFew(String),
}

pub(super) struct Link {
    pub(super) topology: Topology,
    pub(super) dialer: Arc<Dialer>,
    /// Each has a connection of its own to each server.
    pub(super) cores: Vec<Core>,
    /// The command that gives a server our functions.
    functions: Cmd,
    patience: Duration,
    acknowledgement: Acknowledgement,
    /// Every server that was met; those that nobody needs and nobody reaches are dropped.
    pub(super) nodes: Mutex<BTreeMap<Place, Arc<Node>>>,
    pub(super) map: RwLock<Arc<Map>>,
    pub(super) wake: Arc<Notify>,
    /// Looks that were begun, and the last one that ended.
    pub(super) begun: AtomicU64,
    pub(super) ended: watch::Sender<u64>,
}

impl Link {
    /// Looks for the servers of `url`; all that are there must be fit, and one must be there. `functions`: the command that
    /// gives them our functions.
    pub(super) async fn open(
        url: &RedisUrl,
        settings: &Settings,
        functions: Cmd,
    ) -> Result<Arc<Self>, OpenError> {
        let place = match &url.topology {
            Topology::Single(place) => place.clone(),
            Topology::Sentinel { sentinels: places, .. } | Topology::Cluster(places) => {
                places.first().cloned().ok_or(OpenError::Nowhere)?
            }
        };
        let link = Arc::new(Self {
            topology: url.topology.clone(),
            dialer: Dialer::new(url, settings)?.into(),
            cores: settings.cores.clone(),
            functions,
            patience: settings.response_timeout,
            acknowledgement: Acknowledgement::new(settings),
            nodes: Mutex::default(),
            map: RwLock::new(Arc::new(match &url.topology {
                Topology::Single(_) | Topology::Sentinel { .. } => {
                    Map::One(Arc::new(Node::new(place)))
                }
                Topology::Cluster(_) => Map::Ranges(vec![]),
            })),
            wake: Arc::default(),
            begun: AtomicU64::new(0),
            ended: watch::Sender::new(0),
        });
        let mut failed = None;
        for looked in link.look().await? {
            match looked {
                // One that is reading its file is waited for.
                Ok(()) | Err(OpenError::NotReady(_)) => {}
                Err(unfit @ OpenError::Unfit(_)) => return Err(unfit),
                Err(other) => failed = Some(other),
            }
        }
        match failed {
            Some(error) if !link.is_available() => Err(error),
            // The others go on, and it is looked for.
            Some(_) | None => {
                tokio::spawn(search::watch(Arc::downgrade(&link)));
                Ok(link)
            }
        }
    }

    /// Whether anybody is served.
    pub(super) fn is_available(&self) -> bool {
        self.map().nodes().iter().any(|node| node.is_present())
    }

    pub(super) fn map(&self) -> Arc<Map> {
        Arc::clone(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks the server that has `key`, once more if that one is gone and another has its place.
    pub(super) async fn ask(&self, key: &str, request: Request<'_>) -> Result<Value, LedgerError> {
        let deadline = Instant::now() + self.patience;
        let mut may_have_begun = None;
        let (mut redirected, mut is_second, mut loads, mut pause) = (None, false, 0, SHORT_PAUSE);
        loop {
            let owner = || self.map().owner(key);
            let Some(node) = redirected.as_ref().map(|(node, _)| Arc::clone(node)).or_else(owner)
            else {
                let nobody = format!("no server of its cluster has {key}");
                return Err(LedgerError::Unavailable(nobody));
            };
            let asking = redirected.take().is_some_and(|(_, asking)| asking);
            let Some(present) = node.present() else {
                // A caller that repeats at once must not keep its thread from those who look for the server.
                tokio::task::yield_now().await;
                return Err(unanswered(may_have_begun, node.absence()));
            };
            let number = present.number;
            let error = match self.send(&node, present, asking, (key, request)).await {
                Ok(value) => return Ok(value),
                Err(Failure::Redis(error)) => error,
                Err(Failure::TooFew(complaint)) => return Err(LedgerError::Unknown(complaint)),
            };
            let verdict = Verdict::of(&error, &node.place.host);
            let error = error.to_string();
            match verdict {
                Verdict::Elsewhere { place: Some(place), asking } if Instant::now() < deadline => {
                    let target = self.node_at(&place);
                    if !target.is_present() {
                        self.look_awaited(deadline).await;
                    } else if !asking {
                        // Those who come later find the way by themselves.
                        self.wake.notify_one();
                    }
                    redirected = Some((target, asking));
                }
                Verdict::TryAgain if Instant::now() + pause < deadline => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(SHORT_PAUSE * 10);
                }
                Verdict::Closed | Verdict::Lost => {
                    if verdict == Verdict::Lost {
                        may_have_begun.get_or_insert_with(|| error.clone());
                    }
                    node.left(Some(number), &error);
                    self.look_awaited(deadline).await;
                    if is_second {
                        return Err(unanswered(may_have_begun, error));
                    }
                    is_second = true;
                }
                Verdict::Late => {
                    node.left(Some(number), &error);
                    self.wake.notify_one();
                    return Err(LedgerError::Unknown(may_have_begun.unwrap_or(error)));
                }
                Verdict::NoFunction if loads < LOADS_MAX => {
                    loads += 1;
                    self.give_functions(&node).await;
                    redirected = Some((node, asking));
                }
                Verdict::Elsewhere { .. }
                | Verdict::TryAgain
                | Verdict::NoFunction
                | Verdict::Refused => {
                    return Err(unanswered(may_have_begun, error));
                }
                Verdict::Unclear => return Err(LedgerError::Unknown(error)),
            }
        }
    }

    /// Gives a server our functions: one that lost its file, or has just joined a cluster.
    async fn give_functions(&self, node: &Node) {
        let Some(present) = node.present() else { return };
        if let Err(error) = present.pipe().ask(&self.functions).await
            && !error.to_string().contains("already exists")
        {
            tracing::warn!(server = %node.place, %error, "a server does not take the functions");
        }
    }

    async fn send(
        &self,
        node: &Node,
        present: Present,
        asking: bool,
        (key, request): (&str, Request<'_>),
    ) -> Result<Value, Failure> {
        match request {
            Request::Once(command) => once(present.pipe(), command, asking).await,
            Request::Durable(command) => match self.acknowledgement.of(&present) {
                None => once(present.pipe(), command, asking).await,
                Some(wait) => {
                    let sent = durable::send(&self.dialer, node, wait, asking, (key, command));
                    Box::pin(sent).await
                }
            },
            Request::Many(commands) => {
                present.pipe().ask_all(commands).await.map(Value::Array).map_err(Failure::Redis)
            }
        }
    }

    /// The server at `place`, which may have to be connected to.
    pub(super) fn node_at(&self, place: &Place) -> Arc<Node> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let node = nodes.entry(place.clone()).or_insert_with(|| Arc::new(Node::new(place.clone())));
        Arc::clone(node)
    }

    /// Wakes the task that looks, and waits for a look that begins after that.
    async fn look_awaited(&self, deadline: Instant) {
        let number = self.begun.load(Ordering::SeqCst) + 1;
        self.wake.notify_one();
        let mut ended = self.ended.subscribe();
        // Too late is the caller's to see: the server is not there then.
        let _ = timeout_at(deadline, ended.wait_for(|ended| *ended >= number)).await;
    }
}

/// One command on a shared connection; with leave to use a slot that is on its way.
async fn once(pipe: &Pipe, command: &Cmd, asking: bool) -> Result<Value, Failure> {
    if !asking {
        return pipe.ask(command).await.map_err(Failure::Redis);
    }
    // In one piece: between two, another step could come and use the leave up.
    let mut commands = Pipeline::with_capacity(2);
    commands.cmd("ASKING").add_command(command.clone());
    let mut replies = pipe.ask_all(&commands).await.map_err(Failure::Redis)?;
    replies.pop().unwrap_or(Value::Nil).extract_error().map_err(Failure::Redis)
}

/// What is known of a step to which there is no reply.
fn unanswered(may_have_begun: Option<String>, why: String) -> LedgerError {
    match may_have_begun {
        Some(error) => LedgerError::Unknown(error),
        None => LedgerError::Unavailable(why),
    }
}
