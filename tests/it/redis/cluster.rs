//! A cluster of three masters with a replica each: the rules are the same, slots may move while calls go on, and a
//! master may die.

use ::redis::Value;
use creditgate::ledger::redis::{OpenError, Settings, Unfit};
use tokio::task::JoinSet;

use super::promises::open_at;
use super::raw::Raw;
use super::servers::Cluster;
use super::storm::Storm;
use super::{Server, Side, Tally, history, one_of};

/// Histories that are run on the cluster.
const HISTORIES: u64 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_the_same_books_and_moves_slots_under_load() {
    let cluster = Cluster::start().await;
    let (mut running, mut tally) = (JoinSet::new(), Tally::default());
    for seed in 0..HISTORIES {
        let (url, history) = (cluster.url(), one_of(&history::small(), seed));
        running.spawn(
            async move { Side::open(&url, seed, None).await.replay(&history).await.unwrap() },
        );
    }
    while let Some(done) = running.join_next().await {
        tally.add(done);
    }
    assert!(tally.reached.operations() >= 2000, "{}", tally.reached);

    let ledger = open_at(&cluster.url(), Settings::default()).await.unwrap();
    let storm = Storm::start(&ledger, &["acc".to_owned(), "demo".to_owned()]).await;
    storm.pass(20).await;
    // The slot of `acc` goes round, and comes back to where it began.
    for to in [1, 2, 0, 1, 2, 0] {
        move_slot(&cluster, "{s065}:log", to).await;
        storm.pass(5).await;
    }
    let lost = storm.end().await;
    assert_eq!((lost.holds, lost.charges), (0, 0), "nobody failed");
}

/// Moves a slot to a node, key by key, as `redis-cli --cluster reshard` does.
async fn move_slot(cluster: &Cluster, key: &str, to: usize) {
    let mut nodes = Vec::new();
    for node in &cluster.nodes[..3] {
        let mut raw = Raw::open(&node.url()).await;
        let id = raw.text(&["CLUSTER", "MYID"]).await;
        nodes.push((raw, id, node.port().to_string()));
    }
    let slot = nodes[0].0.ask(&["CLUSTER", "KEYSLOT", key]).await;
    let slot: u16 = ::redis::from_redis_value(slot).unwrap();
    let slot = slot.to_string();
    let mut from = usize::MAX;
    for (number, (raw, ..)) in nodes.iter_mut().enumerate() {
        let owned = raw.text(&["CLUSTER", "NODES"]).await;
        let own = owned.lines().find(|line| line.contains("myself")).unwrap();
        let slot: u16 = slot.parse().unwrap();
        let has = own.split(' ').skip(8).filter(|range| !range.starts_with('[')).any(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            (first.parse().unwrap()..=last.parse().unwrap()).contains(&slot)
        });
        if has {
            from = number;
        }
    }
    if from == to {
        return;
    }
    let (from_id, to_id) = (nodes[from].1.clone(), nodes[to].1.clone());
    let to_port = nodes[to].2.clone();
    nodes[to].0.ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await;
    nodes[from].0.ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await;
    loop {
        let keys = nodes[from].0.ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "1"]).await;
        let keys: Vec<String> = ::redis::from_redis_value(keys).unwrap();
        let Some(key) = keys.first() else { break };
        nodes[from].0.ask(&["MIGRATE", "127.0.0.1", &to_port, key, "0", "5000"]).await;
    }
    // Whoever takes it over first, then whoever gave it away.
    for number in [to, from] {
        nodes[number].0.ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_dies_and_what_was_acknowledged_by_its_replica_is_there() {
    let mut cluster = Cluster::start().await;
    let ledger = open_at(&cluster.url(), Settings::default()).await.unwrap();
    // Enough for each master to have some.
    let names: Vec<String> = (0..9).map(|number| format!("acc-{number}")).collect();
    let storm = Storm::start(&ledger, &names).await;
    storm.pass(20).await;
    cluster.nodes[0].kill();
    storm.pass(20).await;
    println!("lost by a fail-over of a cluster: {:?}", storm.end().await);
    let mut raw = Raw::open(&cluster.nodes[3].url()).await;
    assert!(raw.info("role:master").await, "the replica took over");
    let Value::Array(keys) = raw.ask(&["KEYS", "*:a:acc-*"]).await else { panic!("no keys") };
    assert!(!keys.is_empty(), "some of the accounts were there");
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_say_whether_they_mean_a_cluster() {
    let server = Server::start(&[]);
    let wrong =
        open_at(&server.url().replace("redis:", "redis+cluster:"), Settings::default()).await;
    assert!(matches!(wrong, Err(OpenError::Unfit(Unfit::NoCluster))));
    let bus = crate::harness::free_port().to_string();
    let node = Server::start(&["--cluster-enabled", "yes", "--cluster-port", &bus]);
    let wrong = open_at(&node.url(), Settings::default()).await;
    assert!(matches!(wrong, Err(OpenError::Unfit(Unfit::IsCluster))));
    // A node that nobody has met yet.
    let early = open_at(&node.url().replace("redis:", "redis+cluster:"), Settings::default()).await;
    assert!(matches!(early, Err(OpenError::NotReady(_))));
}
