//! Several servers that belong together: a master with a replica, Sentinels, a cluster.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ::redis::Value;

use super::Server;
use super::raw::Raw;
use crate::harness::eventually;

/// How long servers may take to find each other, or to replace one that is gone.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// A server that copies `master`, once it has caught up.
pub(super) async fn replica_of(master: &Server, settings: &[&str]) -> Server {
    let of = format!("127.0.0.1 {}", master.port());
    let replica = Server::start(&[&["--replicaof", &of], settings].concat());
    caught_up(&mut Raw::open(&master.url()).await).await;
    replica
}

/// Waits until a master's replica confirms what it is told.
async fn caught_up(master: &mut Raw) {
    eventually("the replica has caught up", PATIENCE, async || {
        let confirmed = master.ask(&["WAIT", "1", "100"]).await == Value::Int(1);
        (confirmed && master.info("state=online").await).then_some(())
    })
    .await;
}

/// A program that watches a master, and tells others about it.
pub(super) struct Sentinel {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Sentinel {
    /// Three of them, which two must agree, and which know each other and the master's replica.
    pub(super) async fn three(master: &Server) -> Vec<Self> {
        let sentinels: Vec<_> = (0..3).map(|_| Self::start(master)).collect();
        for sentinel in &sentinels {
            let mut raw = Raw::open(&format!("redis://127.0.0.1:{}", sentinel.port)).await;
            eventually("the Sentinels know each other", PATIENCE, async || {
                let about = raw.ask(&["SENTINEL", "MASTER", "mymaster"]).await;
                let Value::Array(words) = about else { panic!("{about:?}") };
                let says = |name: &[u8], number: &[u8]| {
                    words.chunks(2).any(|pair| {
                        pair == [Value::BulkString(name.into()), Value::BulkString(number.into())]
                    })
                };
                (says(b"num-slaves", b"1") && says(b"num-other-sentinels", b"2")).then_some(())
            })
            .await;
        }
        sentinels
    }

    fn start(master: &Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = crate::harness::free_port();
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\n\
             sentinel monitor mymaster 127.0.0.1 {} 2\n\
             sentinel down-after-milliseconds mymaster 500\n\
             sentinel failover-timeout mymaster 3000\n",
            folder.path().display(),
            master.port(),
        );
        let config = folder.path().join("sentinel.conf");
        std::fs::write(&config, text).unwrap();
        let child = Command::new("redis-server")
            .arg(&config)
            .arg("--sentinel")
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.expect("`redis-server` is missing: install it");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("+monitor")), "the Sentinel ended at once");
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port, _folder: folder }
    }

    /// The address of the master that they watch.
    pub(super) fn url(sentinels: &[Self]) -> String {
        let places = sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port));
        format!("redis+sentinel://{}/mymaster", places.collect::<Vec<_>>().join(","))
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Three masters, each with a third of the slots and a replica.
pub(super) struct Cluster {
    /// The masters, and then their replicas in the same order.
    pub(super) nodes: Vec<Server>,
}

impl Cluster {
    pub(super) async fn start() -> Self {
        let nodes: Vec<_> = (0..6)
            .map(|_| {
                let bus = crate::harness::free_port().to_string();
                Server::start(
                    &[
                        &["--cluster-enabled", "yes", "--cluster-node-timeout", "1500"][..],
                        &["--cluster-port", &bus, "--appendonly", "yes"],
                        &["--enable-debug-command", "yes"],
                    ]
                    .concat(),
                )
            })
            .collect();
        let cluster = Self { nodes };
        let mut raws = Vec::new();
        for node in &cluster.nodes {
            raws.push(Raw::open(&node.url()).await);
        }
        for (number, range) in
            [("0", "5460"), ("5461", "10922"), ("10923", "16383")].iter().enumerate()
        {
            raws[number].ask(&["CLUSTER", "ADDSLOTSRANGE", range.0, range.1]).await;
        }
        let first = cluster.nodes[0].port().to_string();
        let bus = cluster.bus_port(0).await;
        for raw in &mut raws[1..] {
            raw.ask(&["CLUSTER", "MEET", "127.0.0.1", &first, &bus]).await;
        }
        for raw in &mut raws {
            eventually("the nodes know each other", PATIENCE, async || {
                raw.says(&["CLUSTER", "INFO"], "cluster_known_nodes:6").await.then_some(())
            })
            .await;
        }
        for number in 0..3 {
            let id = raws[number].text(&["CLUSTER", "MYID"]).await;
            let replica = &mut raws[number + 3];
            eventually("the replica knows its master", PATIENCE, async || {
                replica.try_ask(&["CLUSTER", "REPLICATE", &id]).await.ok()
            })
            .await;
        }
        for raw in &mut raws {
            eventually("the cluster is whole", PATIENCE, async || {
                raw.says(&["CLUSTER", "INFO"], "cluster_state:ok").await.then_some(())
            })
            .await;
        }
        for raw in &mut raws[..3] {
            caught_up(raw).await;
        }
        cluster
    }

    async fn bus_port(&self, number: usize) -> String {
        let mut raw = Raw::open(&self.nodes[number].url()).await;
        let setting = raw.ask(&["CONFIG", "GET", "cluster-port"]).await;
        let [_, port]: [String; 2] = ::redis::from_redis_value(setting).unwrap();
        port
    }

    /// The address of the cluster, by two of its nodes.
    pub(super) fn url(&self) -> String {
        let [one, two] = [1, 2].map(|number| format!("127.0.0.1:{}", self.nodes[number].port()));
        format!("redis+cluster://{one},{two}")
    }
}
