//! Whether a server is fit to keep credits: asked of each one that is connected to, whenever that is.

use std::collections::HashMap;

use ::redis::{RedisResult, cmd};

use super::pipe::Pipe;

/// The oldest version with `#!lua` scripts, which are refused before they start when the memory is full.
const OLDEST: Version = (7, 0);
/// The oldest version with `WAITAOF`. Valkey, which has had it from its beginning, says 7.2 as well.
const SYNCS_SINCE: Version = (7, 2);

/// Major and minor.
type Version = (u32, u32);

/// Why a server would lose credits, or can't keep them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Too old.
    #[error("the ledger's Redis has version {0}: version 7.0 or newer is needed, or Valkey")]
    Version(String),
    /// It throws keys away when its memory is full.
    #[error(
        "the ledger's Redis has maxmemory-policy `{0}`, which throws accounts away when its memory is full: set it to \
         `noeviction`"
    )]
    Evicts(String),
    /// It copies another server.
    #[error(
        "the ledger's Redis is a replica, which can't be written: give the address of its master, or `redis+sentinel://` \
         with those of its Sentinels"
    )]
    Replica,
    /// It has a part of the accounts.
    #[error(
        "the ledger's Redis is a node of a cluster: write its address with `redis+cluster://`, or `rediss+cluster://` for \
         TLS"
    )]
    IsCluster,
    /// There is no cluster.
    #[error(
        "the ledger's Redis is no cluster, but its address says so: write it with `redis://`, or `redis+sentinel://`"
    )]
    NoCluster,
    /// It does not let us work.
    #[error(
        "the ledger's Redis does not let the gateway work: {0}. The user needs `{rule}`; docs/OPERATIONS.md says how to \
         set it up",
        rule = ACL_RULE
    )]
    Forbidden(String),
    /// Its scripts may not ask for the time.
    #[error(
        "the ledger's Redis refuses TIME in scripts ({0}): set `clock = \"gateway\"` under [redis], and keep the gateways' \
         clocks together"
    )]
    NoTime(String),
}

/// What the gateway's user must be allowed; `+waitaof` too where the server knows it.
pub const ACL_RULE: &str = "~{s* ~{k* ~{i}* ~{migration} ~{archive}* -@all +select +info +time +fcall +function|load +eval +get +set \
                            +incr +del +hget +hgetall +hmget +hvals +hset +hsetnx +hdel +hlen +hexists +pexpire +xadd \
                            +xlen +xrange +xtrim +zadd +zcard +zrange +zrangebylex +wait +asking +cluster|slots \
                            +cluster|info";

/// What a server says of itself.
pub(super) struct Facts(HashMap<String, String>);

impl Facts {
    /// Asks for them; also whether a cluster is whole, which its nodes alone don't know.
    pub(super) async fn ask(pipe: &Pipe, of_cluster: bool) -> RedisResult<Self> {
        let mut facts = Self::read(&pipe.query::<String>(&cmd("INFO")).await?);
        if of_cluster && facts.is_of_cluster() {
            let state: String = pipe.query(cmd("CLUSTER").arg("INFO")).await?;
            facts.0.extend(Self::read(&state).0);
        }
        Ok(facts)
    }

    fn read(info: &str) -> Self {
        let pairs = info.lines().filter_map(|line| line.trim_end().split_once(':'));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("unknown", String::as_str)
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.get(name) == value
    }

    pub(super) fn is_of_cluster(&self) -> bool {
        self.is("cluster_enabled", "1")
    }

    fn version(&self) -> Option<Version> {
        let mut numbers = self.get("redis_version").split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }

    /// Replicas that are in step with it.
    pub(super) fn replicas(&self) -> u8 {
        let replicas = self.0.iter().filter(|(name, value)| {
            let number = name.strip_prefix("slave").is_some_and(|rest| rest.parse::<u32>().is_ok());
            number && value.contains("state=online")
        });
        u8::try_from(replicas.count()).unwrap_or(u8::MAX)
    }

    /// Whether it has a file and can tell when it is synced.
    pub(super) fn can_wait_for_its_file(&self) -> bool {
        self.is("aof_enabled", "1") && self.version().is_some_and(|version| version >= SYNCS_SINCE)
    }

    /// Why it can't serve now, though it may later: it is reading its file, or its cluster is not whole.
    pub(super) fn hindrance(&self) -> Option<&'static str> {
        if self.is("loading", "1") {
            return Some("it is still reading its file");
        }
        let whole = matches!(self.get("cluster_state"), "ok" | "unknown");
        (!whole).then_some("its cluster is not whole")
    }

    /// Whether it may keep credits.
    pub(super) fn fit(&self, of_cluster: bool) -> Result<(), Unfit> {
        if self.version().is_none_or(|version| version < OLDEST) {
            return Err(Unfit::Version(self.get("redis_version").to_owned()));
        }
        match (of_cluster, self.is_of_cluster()) {
            (true, false) => return Err(Unfit::NoCluster),
            (false, true) => return Err(Unfit::IsCluster),
            (true, true) | (false, false) => {}
        }
        if !self.is("role", "master") {
            return Err(Unfit::Replica);
        }
        match self.get("maxmemory_policy") {
            "noeviction" => Ok(()),
            policy => Err(Unfit::Evicts(policy.to_owned())),
        }
    }

    /// Says what it would lose in a crash.
    pub(super) fn warn(&self, server: &crate::config::Place) {
        if !self.is("aof_enabled", "1") {
            tracing::warn!(
                %server,
                "the ledger's Redis has no append-only file: a restart loses what happened since its last snapshot; \
                 set `appendonly yes`"
            );
        }
        if !self.is("connected_slaves", "0") && self.is("min_slaves_good_slaves", "unknown") {
            tracing::warn!(
                %server,
                "the ledger's Redis has replicas and no `min-replicas-to-write`: when it is cut off from them it goes \
                 on, and what it is told then is lost when another takes its place; set `min-replicas-to-write 1`"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Server\r\nredis_version:7.0.15\r\ncluster_enabled:0\r\nrole:master\r\n\
                        maxmemory_policy:noeviction\r\nconnected_slaves:2\r\naof_enabled:1\r\n\
                        slave0:ip=127.0.0.1,port=1,state=online,offset=1,lag=0\r\n\
                        slave1:ip=127.0.0.1,port=2,state=wait_bgsave,offset=0,lag=0\r\n";

    #[test]
    fn only_a_server_that_keeps_everything_will_do() {
        let with = |from: &str, to: &str| Facts::read(&INFO.replace(from, to)).fit(false);
        assert_eq!(with("", ""), Ok(()));
        assert_eq!(with("7.0.15", "8.2.1"), Ok(()));
        assert_eq!(with("7.0.15", "6.2.14"), Err(Unfit::Version("6.2.14".into())));
        assert_eq!(with("role:master", "role:slave"), Err(Unfit::Replica));
        assert_eq!(with("noeviction", "allkeys-lru"), Err(Unfit::Evicts("allkeys-lru".into())));
        assert_eq!(with("maxmemory_policy", "x"), Err(Unfit::Evicts("unknown".into())));
        assert_eq!(with("cluster_enabled:0", "cluster_enabled:1"), Err(Unfit::IsCluster));
        assert_eq!(Facts::read(INFO).fit(true), Err(Unfit::NoCluster));
    }

    #[test]
    fn what_can_be_waited_for_is_read() {
        let facts = Facts::read(INFO);
        assert_eq!((facts.replicas(), facts.can_wait_for_its_file()), (1, false));
        assert!(Facts::read(&INFO.replace("7.0.15", "7.2.4")).can_wait_for_its_file());
        assert!(Facts::read(&INFO.replace("7.0.15", "10.0.0")).can_wait_for_its_file());
        assert_eq!(facts.hindrance(), None);
        assert!(Facts::read("loading:1").hindrance().is_some());
        assert!(Facts::read("cluster_state:fail").hindrance().is_some());
    }
}
