//! Finding servers: who is the master, who has which slots, who is here and who has left.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use ::redis::{ErrorKind, RedisResult, ServerErrorKind, cmd};
use futures_util::future::join_all;

use super::OpenError;
use super::link::Link;
use super::map::{self, Map};
use super::node::Node;
use super::pipe::Pipe;
use super::server::{Facts, Unfit};
use crate::config::{Place, Topology};

/// How often servers are looked at of which nothing bad is known.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The pauses between two looks for one that is away: from the first, doubled, to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
impl Link {
    /// Finds out who is where, and connects to who is missing. What came of each.
    pub(super) async fn look(&self) -> Result<Vec<Result<(), OpenError>>, OpenError> {
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
        if let Some(present) = node.present() {
            let number = present.number;
            match Facts::ask(present.pipe(), of_cluster).await {
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
        let pipe = self.shared(node, number).await.map_err(OpenError::Unreachable)?;
        let facts = Facts::ask(&pipe, of_cluster).await;
        let facts = facts.map_err(|error| match error.kind() {
            ErrorKind::Server(ServerErrorKind::NoPerm) => {
                Unfit::Forbidden(error.to_string()).into()
            }
            _ => OpenError::Unreachable(error),
        })?;
        usable(&facts, of_cluster)?;
        let mut pipes = vec![pipe];
        for core in &self.cores {
            // On its own runtime, where its task then stays.
            let connecting = core.runtime().spawn(self.shared(node, number));
            // A thread that is gone serves nobody.
            let Ok(pipe) = connecting.await else { continue };
            pipes.push(pipe.map_err(OpenError::Unreachable)?);
        }
        if node.arrived(number, pipes, &facts) {
            facts.warn(&node.place);
        }
        Ok(())
    }

    /// A connection of arrival `number`, which is over when the connection breaks.
    fn shared(
        &self,
        node: &Arc<Node>,
        number: u64,
    ) -> impl Future<Output = RedisResult<Pipe>> + Send + use<> {
        let (dialer, place) = (Arc::clone(&self.dialer), node.place.clone());
        let (node, wake) = (Arc::downgrade(node), Arc::clone(&self.wake));
        let ended = move || {
            if let Some(node) = node.upgrade() {
                node.left(Some(number), "the connection ended");
            }
            wake.notify_one();
        };
        async move { dialer.shared(&place, ended).await }
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
                let pipe = self.dialer.sentinel(sentinel).await?;
                let mut ask = cmd("SENTINEL");
                ask.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
                pipe.query::<Option<(String, u16)>>(&ask).await
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
            if let Some(present) = node.present()
                && let Ok(reply) = present.pipe().query(&slots).await
                && let Some(ranges) = map::ranges(reply, &node.place.host)
            {
                return Ok(ranges);
            }
        }
        let mut error = OpenError::Nowhere;
        for seed in rotated(seeds, number) {
            let answer = async {
                let pipe = self.dialer.brief(seed).await?;
                let facts = Facts::ask(&pipe, true).await?;
                if !facts.is_of_cluster() {
                    return Ok(None);
                }
                pipe.query(&slots).await.map(Some)
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
pub(super) async fn watch(link: Weak<Link>) {
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
