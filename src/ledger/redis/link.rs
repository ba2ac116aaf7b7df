//! The way to the servers: who is asked, what becomes of a step whose server is gone, and how one is found again.
//!
//! One task looks for servers. Steps that fail wake it; while a server is known to be away its steps are refused at
//! once. Every step may be sent twice: its id makes that harmless.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value, cmd};
use futures_util::future::join_all;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use super::dial::Dialer;
use super::durable::{self, Acknowledgement, Wait};
use super::map::{self, Map};
use super::node::{Node, Present};
use super::server::{Facts, Unfit};
use super::verdict::Verdict;
use super::{OpenError, Settings};
use crate::config::{Place, RedisUrl, Topology};
use crate::ledger::LedgerError;

/// How often servers are looked at of which nothing bad is known.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The pauses between two looks for one that is away: from the first, doubled, to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
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

/// Why a step was not answered.
pub(super) enum Unanswered {
    /// The server wants the script's text. The step has not begun.
    NoScript,
    Ledger(LedgerError),
}

/// Why there is no reply.
pub(super) enum Failure {
    Redis(RedisError),
    /// The step was carried out, and too few have it.
    TooFew {
        had: u64,
        wait: Wait,
    },
}

pub(super) struct Link {
    topology: Topology,
    dialer: Dialer,
    patience: Duration,
    acknowledgement: Acknowledgement,
    /// Every server that was met; those that nobody needs and nobody reaches are dropped.
    nodes: Mutex<BTreeMap<Place, Arc<Node>>>,
    map: RwLock<Arc<Map>>,
    wake: Arc<Notify>,
    /// Looks that were begun, and the last one that ended.
    begun: AtomicU64,
    ended: watch::Sender<u64>,
}

impl Link {
    /// Looks for the servers of `url`; all that are there must be fit, and one must be there.
    pub(super) async fn open(url: &RedisUrl, settings: &Settings) -> Result<Arc<Self>, OpenError> {
        let place = match &url.topology {
            Topology::Single(place) => place.clone(),
            Topology::Sentinel { sentinels: places, .. } | Topology::Cluster(places) => {
                places.first().cloned().ok_or(OpenError::Nowhere)?
            }
        };
        let link = Arc::new(Self {
            topology: url.topology.clone(),
            dialer: Dialer::new(url, settings),
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
                tokio::spawn(watch(Arc::downgrade(&link)));
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
    pub(super) async fn ask(&self, key: &str, request: Request<'_>) -> Result<Value, Unanswered> {
        let deadline = Instant::now() + self.patience;
        let mut may_have_begun = None;
        let (mut redirected, mut is_second, mut pause) = (None, false, SHORT_PAUSE);
        loop {
            let owner = || self.map().owner(key);
            let Some(node) = redirected.as_ref().map(|(node, _)| Arc::clone(node)).or_else(owner)
            else {
                return Err(LedgerError::Unavailable(format!(
                    "no server of its cluster has {key}"
                ))
                .into());
            };
            let asking = redirected.take().is_some_and(|(_, asking)| asking);
            let Some(present) = node.present() else {
                // A caller that repeats at once must not keep its thread from those who look for the server.
                tokio::task::yield_now().await;
                return Err(unanswered(may_have_begun, node.absence()).into());
            };
            let number = present.number;
            let error = match self.send(&node, present, asking, (key, request)).await {
                Ok(value) => return Ok(value),
                Err(Failure::Redis(error)) => error,
                Err(Failure::TooFew { had, wait }) => {
                    return Err(LedgerError::Unknown(wait.complaint(had)).into());
                }
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
                        return Err(unanswered(may_have_begun, error).into());
                    }
                    is_second = true;
                }
                Verdict::Late => {
                    node.left(Some(number), &error);
                    self.wake.notify_one();
                    return Err(LedgerError::Unknown(may_have_begun.unwrap_or(error)).into());
                }
                Verdict::Elsewhere { .. } | Verdict::TryAgain | Verdict::Refused => {
                    return Err(unanswered(may_have_begun, error).into());
                }
                Verdict::NoScript => return Err(Unanswered::NoScript),
                Verdict::Unclear => return Err(LedgerError::Unknown(error).into()),
            }
        }
    }

    async fn send(
        &self,
        node: &Node,
        mut present: Present,
        asking: bool,
        (key, request): (&str, Request<'_>),
    ) -> Result<Value, Failure> {
        match request {
            Request::Once(command) => once(&mut present.connection, command, asking).await,
            Request::Durable(command) => match self.acknowledgement.of(&present) {
                None => once(&mut present.connection, command, asking).await,
                Some(wait) => durable::send(&self.dialer, node, wait, asking, (key, command)).await,
            },
            Request::Many(commands) => {
                let replies = present.connection.send_packed_commands(commands, 0, commands.len());
                replies.await.map(Value::Array).map_err(Failure::Redis)
            }
        }
    }

    /// The server at `place`, which may have to be connected to.
    fn node_at(&self, place: &Place) -> Arc<Node> {
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

    /// Finds out who is where, and connects to who is missing. What came of each.
    async fn look(&self) -> Result<Vec<Result<(), OpenError>>, OpenError> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let looked = self.look_around(number).await;
        self.ended.send_replace(number);
        looked
    }

    async fn look_around(&self, number: u64) -> Result<Vec<Result<(), OpenError>>, OpenError> {
        let of_cluster = matches!(self.topology, Topology::Cluster(_));
        let map = match &self.topology {
            Topology::Single(place) => Map::One(self.node_at(place)),
            Topology::Sentinel { sentinels, master } => {
                match self.ask_sentinels(sentinels, master, number).await {
                    Ok(place) => Map::One(self.node_at(&place)),
                    // The master may well be there.
                    Err(error) if number > 1 => {
                        tracing::debug!(%error, "no Sentinel answers");
                        Map::One(self.map().nodes().swap_remove(0))
                    }
                    Err(error) => return Err(error),
                }
            }
            Topology::Cluster(seeds) => {
                let ranges = match self.ask_cluster(seeds, number).await {
                    Ok(ranges) => ranges,
                    Err(error) if number > 1 => {
                        tracing::debug!(%error, "no node of the cluster answers");
                        self.all_looked_at(self.map().nodes(), of_cluster).await;
                        return Ok(vec![]);
                    }
                    Err(error) => return Err(error),
                };
                let ranges = ranges.into_iter();
                Map::Ranges(ranges.map(|(a, b, place)| (a, b, self.node_at(&place))).collect())
            }
        };
        let needed = map.nodes();
        let guests = self.guests(&needed);
        self.all_looked_at(guests, of_cluster).await;
        let looked = self.all_looked_at(needed, of_cluster).await;
        self.take_over(map);
        Ok(looked)
    }

    /// Puts a new map in force. A master that is here is kept until the one that Sentinels name is here too.
    fn take_over(&self, map: Map) {
        let mut current = self.map.write().unwrap_or_else(PoisonError::into_inner);
        if let (Map::One(new), Map::One(old)) = (&map, &**current)
            && old.is_present()
            && !new.is_present()
        {
            return;
        }
        *current = Arc::new(map);
    }

    /// Servers that were met and hold no slots: some will soon, some are gone for good and are forgotten.
    fn guests(&self, needed: &[Arc<Node>]) -> Vec<Arc<Node>> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let is_needed = |node: &Arc<Node>| needed.iter().any(|other| Arc::ptr_eq(other, node));
        nodes.retain(|_, node| is_needed(node) || !node.is_away());
        nodes.values().filter(|node| !is_needed(node)).cloned().collect()
    }

    async fn all_looked_at(
        &self,
        nodes: Vec<Arc<Node>>,
        of_cluster: bool,
    ) -> Vec<Result<(), OpenError>> {
        join_all(nodes.iter().map(|node| self.look_at(node, of_cluster))).await
    }

    /// Asks a server how it is; connects to it if it is not here, or doesn't answer.
    async fn look_at(&self, node: &Arc<Node>, of_cluster: bool) -> Result<(), OpenError> {
        if let Some(Present { number, mut connection, .. }) = node.present() {
            match Facts::ask(&mut connection, of_cluster).await {
                Ok(facts) => {
                    let usable = usable(&facts, of_cluster);
                    match &usable {
                        Ok(()) => node.confirmed(number, &facts),
                        Err(why) => node.left(Some(number), &why.to_string()),
                    }
                    return usable;
                }
                Err(error) => node.left(Some(number), &error.to_string()),
            }
        }
        let arrived = self.arrive(node, of_cluster).await;
        if let Err(why) = &arrived {
            node.left(None, &why.to_string());
        }
        arrived
    }

    async fn arrive(&self, node: &Arc<Node>, of_cluster: bool) -> Result<(), OpenError> {
        let number = node.next_number();
        let ended = {
            let (node, wake) = (Arc::downgrade(node), Arc::clone(&self.wake));
            move || {
                if let Some(node) = node.upgrade() {
                    node.left(Some(number), "the connection ended");
                }
                wake.notify_one();
            }
        };
        let connected = self.dialer.shared(&node.place, ended).await;
        let mut connection = connected.map_err(OpenError::Unreachable)?;
        let facts = Facts::ask(&mut connection, of_cluster).await;
        let facts = facts.map_err(|error| match error.kind() {
            ErrorKind::Server(ServerErrorKind::NoPerm) => {
                Unfit::Forbidden(error.to_string()).into()
            }
            _ => OpenError::Unreachable(error),
        })?;
        usable(&facts, of_cluster)?;
        if node.arrived(number, connection, &facts) {
            facts.warn(&node.place);
        }
        Ok(())
    }
}

/// Finding out who is where.
impl Link {
    /// The master's place. Another Sentinel is the first each time, so that one which has fallen behind is found out.
    async fn ask_sentinels(
        &self,
        sentinels: &[Place],
        master: &str,
        number: u64,
    ) -> Result<Place, OpenError> {
        let mut error = OpenError::Nowhere;
        for sentinel in rotated(sentinels, number) {
            let answer = async {
                let mut connection = self.dialer.sentinel(sentinel).await?;
                let mut ask = cmd("SENTINEL");
                ask.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
                ask.query_async::<Option<(String, u16)>>(&mut connection).await
            };
            match answer.await {
                Ok(Some((host, port))) => return Ok(Place { host, port }),
                Ok(None) => error = OpenError::NoSuchMaster(master.to_owned()),
                Err(why) => error = OpenError::NoSentinel { place: sentinel.clone(), error: why },
            }
        }
        Err(error)
    }

    /// Who has which slots: what a node says that is here, or one of the address.
    async fn ask_cluster(
        &self,
        seeds: &[Place],
        number: u64,
    ) -> Result<Vec<(u16, u16, Place)>, OpenError> {
        let mut slots = cmd("CLUSTER");
        slots.arg("SLOTS");
        for node in rotated(&self.map().nodes(), number) {
            if let Some(Present { mut connection, .. }) = node.present()
                && let Ok(reply) = slots.query_async(&mut connection).await
                && let Some(ranges) = map::ranges(reply, &node.place.host)
            {
                return Ok(ranges);
            }
        }
        let mut error = OpenError::Nowhere;
        for seed in rotated(seeds, number) {
            let answer = async {
                let mut connection = self.dialer.brief(seed).await?;
                let facts = Facts::ask(&mut connection, true).await?;
                if !facts.is_of_cluster() {
                    return Ok(None);
                }
                slots.query_async(&mut connection).await.map(Some)
            };
            match answer.await {
                Ok(Some(reply)) => match map::ranges(reply, &seed.host) {
                    Some(ranges) => return Ok(ranges),
                    None => error = OpenError::NotReady("no node of its cluster has slots yet"),
                },
                Ok(None) => return Err(Unfit::NoCluster.into()),
                Err(why) => error = OpenError::Unreachable(why),
            }
        }
        Err(error)
    }
}

/// Looks for servers until the engine is gone.
async fn watch(link: Weak<Link>) {
    let mut pause = FIRST_PAUSE;
    let mut is_whole = true;
    loop {
        let Some(wake) = link.upgrade().map(|link| Arc::clone(&link.wake)) else { return };
        let rest = if is_whole { LOOK_EVERY } else { uneven(pause) };
        // Woken or not: it is time.
        let _ = tokio::time::timeout(rest, wake.notified()).await;
        let Some(link) = link.upgrade() else { return };
        if let Err(error) = link.look().await {
            tracing::debug!(%error, "nobody says where the ledger's Redis is");
        }
        is_whole = link.map().nodes().iter().all(|node| node.is_present());
        pause = if is_whole { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
    }
}

/// Half of `pause` to all of it, so that many gateways don't come at the same moment.
fn uneven(pause: Duration) -> Duration {
    // Without a random number they come together, which is no harm to one gateway.
    let random = u64::from(getrandom::u32().unwrap_or_default());
    let half = u64::try_from(pause.as_micros() / 2).unwrap_or_default();
    Duration::from_micros(half + half * random / u64::from(u32::MAX))
}

fn rotated<T>(list: &[T], by: u64) -> impl Iterator<Item = &T> {
    let start = usize::try_from(by).unwrap_or_default() % list.len().max(1);
    list[start..].iter().chain(&list[..start])
}

fn usable(facts: &Facts, of_cluster: bool) -> Result<(), OpenError> {
    if let Some(why) = facts.hindrance() {
        return Err(OpenError::NotReady(why));
    }
    Ok(facts.fit(of_cluster)?)
}

/// One command on a shared connection; with leave to use a slot that is on its way.
async fn once(
    connection: &mut MultiplexedConnection,
    command: &Cmd,
    asking: bool,
) -> Result<Value, Failure> {
    let reply = if asking {
        // In one piece: between two, another step could come and use the leave up.
        let mut commands = Pipeline::with_capacity(2);
        commands.cmd("ASKING").add_command(command.clone());
        let mut replies = connection.send_packed_commands(&commands, 1, 1).await;
        replies.as_mut().map(|replies| replies.pop().unwrap_or(Value::Nil)).map_err(|e| e.clone())
    } else {
        connection.send_packed_command(command).await
    };
    reply.and_then(Value::extract_error).map_err(Failure::Redis)
}

impl From<LedgerError> for Unanswered {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<Unanswered> for LedgerError {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::NoScript => Self::Unavailable("its Redis forgets scripts".to_owned()),
            Unanswered::Ledger(error) => error,
        }
    }
}

/// What is known of a step to which there is no reply.
fn unanswered(may_have_begun: Option<String>, why: String) -> LedgerError {
    match may_have_begun {
        Some(error) => LedgerError::Unknown(error),
        None => LedgerError::Unavailable(why),
    }
}
