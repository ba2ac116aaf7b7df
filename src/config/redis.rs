//! How the ledger's Redis servers are reached, and what they must promise: the address, and the section `[redis]`.
//!
//! Only words: nothing here knows a client or opens a socket.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Deserialize;

use super::scalar::{Scalar, scalar};
use super::{Secret, SecretSource, secret};

/// What a user or a password may show of itself without an escape.
const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'*');
/// The port of a server that names none; a Sentinel has another.
const SERVER_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// The address of the ledger's Redis. It is shown with the password masked.
#[derive(Clone)]
pub struct RedisUrl {
    /// How the servers are arranged, and where they are found.
    pub topology: Topology,
    /// Whether every connection is TLS, to Sentinels too.
    pub tls: bool,
    /// Who we are to the servers; nobody in particular without one.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// The number of the database; 0 on a cluster, which has no other.
    pub database: u16,
}

/// How servers are arranged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One server.
    Single(Place),
    /// A master that Sentinels know by this name and replace when it is gone.
    Sentinel {
        /// At least one.
        sentinels: Vec<Place>,
        /// The master's name.
        master: String,
    },
    /// Masters that share the slots among themselves; some of them, at least one.
    Cluster(Vec<Place>),
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// `[redis]`: in force where `ledger` is the address of a Redis.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// How long a reply may take.
    #[serde(deserialize_with = "scalar")]
    pub response_timeout: Duration,
    /// Until a connection stands, TLS and greeting included.
    #[serde(deserialize_with = "scalar")]
    pub connect_timeout: Duration,
    /// Whose clock counts.
    pub clock: RedisClock,
    /// How many replicas must have what must not be lost.
    #[serde(deserialize_with = "scalar")]
    pub replicas: Replicas,
    /// How long they may take.
    #[serde(deserialize_with = "scalar")]
    pub replicas_timeout: Duration,
    /// A PEM file whose certificates are trusted instead of the system's.
    #[serde(default)]
    pub tls_ca: Option<PathBuf>,
    /// Who we are to the Sentinels.
    #[serde(default)]
    pub sentinel_user: Option<String>,
    /// What the Sentinels ask for.
    #[serde(default, deserialize_with = "secret::optional_source")]
    pub sentinel_password: Option<SecretSource>,
}

/// Whose clock counts on a ledger in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RedisClock {
    /// The server's.
    Server,
    /// The gateway's, for servers that refuse `TIME` in scripts.
    Gateway,
}

/// How many replicas must have a grant, a refund or a change of the directory before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replicas {
    /// One if the master has any, else none.
    Auto,
    /// So many, at most 100.
    AtLeast(u8),
}

impl RedisUrl {
    /// The address that `text` means: `redis://` or `rediss://`, with `+sentinel` or `+cluster`.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (tls, kind) = match scheme.strip_prefix("rediss") {
            Some(kind) => (true, kind),
            None => (false, scheme.strip_prefix("redis")?),
        };
        // A fragment or a query means something to some clients, such as not to check certificates.
        if rest.contains(['?', '#']) || rest.contains(|c: char| c.is_whitespace()) {
            return None;
        }
        let (caller, rest) = match rest.rsplit_once('@') {
            Some((caller, rest)) => (caller, rest),
            None => ("", rest),
        };
        let (user, password) = match caller.split_once(':') {
            Some((user, password)) => (user, decoded(password)?),
            None => (caller, String::new()),
        };
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let places = |port| -> Option<Vec<_>> {
            hosts.split(',').map(|host| Place::parse(host, port)).collect()
        };
        let (topology, database) = match kind {
            "" => (Topology::Single(Place::parse(hosts, SERVER_PORT)?), path),
            "+sentinel" => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                let named = !master.is_empty() && master.chars().all(is_of_a_name);
                let master = named.then(|| master.to_owned())?;
                (Topology::Sentinel { sentinels: places(SENTINEL_PORT)?, master }, database)
            }
            "+cluster" if path.is_empty() => (Topology::Cluster(places(SERVER_PORT)?), path),
            _ => return None,
        };
        let digits = database.len() <= 4 && database.bytes().all(|byte| byte.is_ascii_digit());
        let database = match database {
            "" => 0,
            number => number.parse().ok().filter(|_| digits)?,
        };
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let (user, password) = (some(decoded(user)?), some(password).map(Secret::new));
        Some(Self { topology, tls, user, password, database })
    }

    /// With this in the place of the password.
    fn written(&self, password: Option<&str>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.tls { "s" } else { "" };
        let (kind, places) = match &self.topology {
            Topology::Single(place) => ("", std::slice::from_ref(place)),
            Topology::Sentinel { sentinels, .. } => ("+sentinel", sentinels.as_slice()),
            Topology::Cluster(seeds) => ("+cluster", seeds.as_slice()),
        };
        write!(f, "redis{tls}{kind}://")?;
        let encoded = |text| utf8_percent_encode(text, PLAIN);
        let user = encoded(self.user.as_deref().unwrap_or_default());
        match password {
            Some(password) => write!(f, "{user}:{}@", encoded(password))?,
            None if self.user.is_some() => write!(f, "{user}@")?,
            None => {}
        }
        for (number, place) in places.iter().enumerate() {
            write!(f, "{}{place}", if number == 0 { "" } else { "," })?;
        }
        if let Topology::Sentinel { master, .. } = &self.topology {
            write!(f, "/{master}")?;
        }
        if self.database > 0 { write!(f, "/{}", self.database) } else { Ok(()) }
    }
}

impl Place {
    /// `host`, `host:port`, `[::1]` or `[::1]:port`.
    fn parse(text: &str, default_port: u16) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                host.parse::<Ipv6Addr>().ok()?;
                (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            None => default_port,
            Some(port) if port.starts_with('+') => return None,
            Some(port) => port.parse().ok().filter(|port| *port > 0)?,
        };
        let named = !host.is_empty() && host.chars().all(|c| is_of_a_name(c) || c == ':');
        named.then(|| Self { host: host.to_owned(), port })
    }
}

/// What hosts and masters are called.
fn is_of_a_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '_')
}

fn decoded(text: &str) -> Option<String> {
    let text = percent_decode_str(text).decode_utf8().ok()?;
    // A line break has no business in a name or a password; a typing error has.
    (!text.contains(|c: char| c.is_control())).then(|| text.into_owned())
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written(self.password.as_ref().map(|_| "***"), f)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for RedisUrl {
    fn eq(&self, other: &Self) -> bool {
        let all = |url: &Self| {
            let password = url.password.as_ref().map(|password| password.expose().to_owned());
            (url.topology.clone(), url.tls, url.user.clone(), password, url.database)
        };
        all(self) == all(other)
    }
}

impl Eq for RedisUrl {}

impl Scalar for Replicas {
    const EXPECTED: &'static str = "\"auto\", or a number of replicas from 0 to 100";

    fn from_text(text: &str) -> Option<Self> {
        (text == "auto").then_some(Self::Auto)
    }

    fn from_number(number: u64) -> Option<Self> {
        u8::try_from(number).ok().filter(|number| *number <= 100).map(Self::AtLeast)
    }
}

impl RedisClock {
    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Gateway => "gateway",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Prints everything.
    struct Whole<'a>(&'a RedisUrl);

    impl fmt::Display for Whole<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.written(self.0.password.as_ref().map(Secret::expose), f)
        }
    }

    fn places() -> impl Strategy<Value = Vec<Place>> {
        let hosts = prop_oneof![
            "[a-z][a-z0-9-]{0,8}(\\.[a-z0-9_-]{1,8}){0,2}",
            any::<[u8; 4]>().prop_map(|four| std::net::Ipv4Addr::from(four).to_string()),
            any::<u128>().prop_map(|bits| Ipv6Addr::from(bits).to_string()),
        ];
        let place = (hosts, 1..=u16::MAX).prop_map(|(host, port)| Place { host, port });
        proptest::collection::vec(place, 1..4)
    }

    fn topologies() -> impl Strategy<Value = (Topology, u16)> {
        prop_oneof![
            (places(), 0..10_000_u16)
                .prop_map(|(mut places, db)| (Topology::Single(places.remove(0)), db)),
            (places(), "[a-zA-Z0-9._-]{1,10}", 0..10_000_u16)
                .prop_map(|(sentinels, master, db)| (Topology::Sentinel { sentinels, master }, db)),
            places().prop_map(|seeds| (Topology::Cluster(seeds), 0)),
        ]
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_as_the_same(
            (topology, database) in topologies(),
            tls: bool,
            user in proptest::option::of("\\PC{1,12}"),
            password in proptest::option::of("\\PC{1,12}"),
        ) {
            let password = password.map(Secret::new);
            let url = RedisUrl { topology, tls, user, password, database };
            prop_assert_eq!(RedisUrl::parse(&Whole(&url).to_string()), Some(url.clone()));
            let shown = url.to_string();
            let again = RedisUrl::parse(&shown).map(|url| url.to_string());
            prop_assert_eq!(again.as_ref(), Some(&shown), "what is shown is an address too");
        }

        #[test]
        fn no_text_makes_it_panic(text in "(rediss?(\\+sentinel|\\+cluster)?://)?\\PC{0,40}") {
            let _ = RedisUrl::parse(&text);
        }
    }

    #[test]
    fn each_topology_has_its_ports() {
        let place = |host: &str, port| Place { host: host.into(), port };
        let parsed = |text| RedisUrl::parse(text).map(|url| url.topology);
        assert_eq!(parsed("redis://a"), Some(Topology::Single(place("a", 6379))));
        assert_eq!(parsed("rediss://[::1]:1/3"), Some(Topology::Single(place("::1", 1))));
        let sentinels = vec![place("a", 26379), place("b", 7)];
        let topology = Topology::Sentinel { sentinels, master: "mymaster".into() };
        assert_eq!(parsed("redis+sentinel://a,b:7/mymaster/2"), Some(topology));
        let seeds = vec![place("::1", 6379), place("b", 7)];
        assert_eq!(parsed("rediss+cluster://[::1],b:7"), Some(Topology::Cluster(seeds)));
    }

    #[test]
    fn passwords_are_decoded() {
        let url = RedisUrl::parse("redis://me%40home:p%2Fq%3A%25@a").unwrap();
        assert_eq!(url.user.as_deref(), Some("me@home"));
        assert_eq!(url.password.unwrap().expose(), "p/q:%");
    }
}
