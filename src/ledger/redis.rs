//! The engine for many gateways: every account in Redis, one script for each operation.
//!
//! The rules of money stand in `redis/books/`, a port of `credit` that the tests hold against it. One script reads,
//! decides and writes, so that a step is atomic on any number of gateways. A reply that is lost says nothing of the
//! step: the caller repeats it under the same id and is told what came of it.
//!
//! The only home of the crate `redis`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, RedisError, Value, from_redis_value};

mod archive;
mod claims;
mod dial;
mod directory;
mod durable;
mod functions;
mod import;
mod keys;
mod link;
mod log;
mod many;
mod map;
mod node;
mod owned;
mod permission;
mod pipe;
mod queries;
mod search;
mod server;
mod text;
mod verdict;

use super::archive::Archive;
use super::fingerprint::fingerprint;
use super::{Clock, LedgerError};
use crate::config::{Place, RedisUrl, Replicas, Secret};
use crate::cores::Core;
use crate::credit::{
    Account, AccountId, Id, Operation, Period, Reply, Source, SourceId, Timestamp, read,
};
pub(super) use archive::{Holder, Lease, Said, TRIMMED};
use functions::Functions;
pub(super) use import::{Arrival, Expiries};
pub use import::{Belongings, Migration, Shard, Sum, Sums, Unfinished};
use link::{Link, Request};
pub use server::{ACL_RULE, Unfit};
use text::Unreadable;

/// How an engine uses its servers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a reply may take before the outcome counts as unknown. Longer than a rewrite or a sync of the
    /// server's disk is likely to hold it up.
    pub response_timeout: Duration,
    /// How long connecting may take.
    pub connection_timeout: Duration,
    /// Whose clock counts.
    pub time: Time,
    /// How many replicas must have what must not be lost.
    pub replicas: Replicas,
    /// How long they may take.
    pub replicas_timeout: Duration,
    /// The threads that serve: each has connections of its own.
    pub cores: Vec<Core>,
    /// Certificates in PEM that are trusted instead of the system's.
    pub tls_ca: Option<Vec<u8>>,
    /// Who we are to Sentinels.
    pub sentinel_user: Option<String>,
    /// What Sentinels ask for.
    pub sentinel_password: Option<Secret>,
    /// The rules of money; a test may bring others to see that they are found out.
    pub books: Cow<'static, str>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            response_timeout: Duration::from_secs(2),
            connection_timeout: Duration::from_secs(1),
            time: Time::Server,
            replicas: Replicas::Auto,
            replicas_timeout: Duration::from_secs(5),
            cores: Vec::new(),
            tls_ca: None,
            sentinel_user: None,
            sentinel_password: None,
            books: Cow::Borrowed(functions::BOOKS),
        }
    }
}

/// Whose clock counts. In both cases an account's own clock never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// The server's: the same for all gateways.
    Server,
    /// The gateway's, for servers that don't let scripts ask for the time.
    Gateway,
}

/// Why a server can't serve as a ledger.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address names no server.
    #[error("the ledger's address names no server")]
    Nowhere,
    /// Nobody answers, or not to us.
    #[error("can't reach the ledger's Redis: {0}")]
    Unreachable(RedisError),
    /// TLS is asked for, and there is nobody to trust.
    #[error(
        "the ledger's Redis can't be reached by TLS: {0}; `tls_ca` under [redis] names a file with certificates"
    )]
    Certificates(std::io::Error),
    /// It answers that it can't serve yet.
    #[error("the ledger's Redis can't serve now: {0}")]
    NotReady(&'static str),
    /// No Sentinel answers; what the last one of them said.
    #[error("no Sentinel tells where the ledger's Redis is; the one at {place}: {error}")]
    NoSentinel {
        /// The Sentinel.
        place: Place,
        /// Why not.
        error: RedisError,
    },
    /// Sentinels answer, and know no such master.
    #[error(
        "no Sentinel knows a master called `{0}`: the name stands at the end of the ledger's address, and in the \
         Sentinels' own configuration after `sentinel monitor`"
    )]
    NoSuchMaster(String),
    /// It would lose credits, or can't keep them.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

/// A ledger on Redis: one server, a master that Sentinels watch, or a cluster.
pub struct Store {
    link: Arc<Link>,
    functions: Functions,
    clock: Clock,
    time: Time,
    archive: Option<Arc<Archive>>,
}

impl Store {
    /// Connects to the servers at `url` and checks that they are fit to keep credits.
    pub async fn open(url: &RedisUrl, clock: Clock, settings: Settings) -> Result<Self, OpenError> {
        let functions = Functions::new(&settings.books);
        let link = Link::open(url, &settings, functions.load().clone()).await?;
        let time = settings.time;
        let store = Self { link, functions, clock, time, archive: None };
        store.check_permissions().await?;
        Ok(store)
    }

    /// Reads what is archived as well, where `archive` has it.
    pub fn with_archive(self, archive: Arc<Archive>) -> Self {
        Self { archive: Some(archive), ..self }
    }

    pub(super) async fn apply(
        &self,
        account: &AccountId,
        id: Id,
        operation: Operation,
    ) -> Result<Reply, LedgerError> {
        let fingerprint = hexadecimal(fingerprint(account, &operation));
        let now = self.now_for_scripts();
        let step = self.functions.apply((account, id), &operation, &fingerprint, now);
        let answer = self.step(account, functions::is_durable(&operation), &step).await?;
        reply(&answer)
    }

    /// Carries a step out. Its id makes it harmless to do so twice.
    async fn step(
        &self,
        account: &AccountId,
        is_durable: bool,
        step: &Cmd,
    ) -> Result<Vec<String>, LedgerError> {
        let request = if is_durable { Request::Durable(step) } else { Request::Once(step) };
        let value = self.link.ask(&keys::books(account), request).await?;
        let answer: Vec<String> = read_reply(value)?;
        match answer.as_slice() {
            [word, reason] if word == "broken" => {
                tracing::error!(%account, %reason, "an account is frozen");
                Err(LedgerError::Frozen { account: account.clone(), reason: reason.clone() })
            }
            _ => Ok(answer),
        }
    }

    pub(super) async fn read(
        &self,
        account: &AccountId,
        period: Option<Period>,
    ) -> Result<Option<Account>, LedgerError> {
        let books = self.books(account).await?;
        // Books that break a rule are shown as they stand; `verify` says what is wrong with them.
        Ok(books.map(|books| read(&books, period, (self.clock)()).unwrap_or(books)))
    }

    pub(super) async fn source(
        &self,
        account: &AccountId,
        source: &SourceId,
    ) -> Result<Option<Source>, LedgerError> {
        let key = keys::sources(account);
        let mut command = ::redis::cmd("HGET");
        command.arg(&key).arg(source.as_str());
        let stored: Option<Vec<u8>> = self.ask(&key, &command).await?;
        let source = stored.map(|stored| text::source(&stored)).transpose();
        source.map_err(|error| unreadable(&error))
    }

    /// The books as they are stored.
    async fn books(&self, account: &AccountId) -> Result<Option<Account>, LedgerError> {
        let key = keys::books(account);
        let fields: HashMap<String, Vec<u8>> =
            self.ask(&key, ::redis::cmd("HGETALL").arg(&key)).await?;
        text::account(&fields).map_err(|error| unreadable(&error))
    }

    pub(super) fn is_available(&self) -> bool {
        self.link.is_available()
    }

    /// One command about `key` that changes nothing, or that may be repeated.
    async fn ask<T: FromRedisValue>(&self, key: &str, command: &Cmd) -> Result<T, LedgerError> {
        read_reply(self.link.ask(key, Request::Once(command)).await?)
    }

    /// A write about `key` that must not be lost once it is answered, and that may be repeated.
    async fn write(&self, key: &str, command: &Cmd) -> Result<(), LedgerError> {
        self.link.ask(key, Request::Durable(command)).await?;
        Ok(())
    }

    fn now_for_scripts(&self) -> Option<Timestamp> {
        match self.time {
            Time::Server => None,
            Time::Gateway => Some((self.clock)()),
        }
    }
}

/// What a step came to.
fn reply(answer: &[String]) -> Result<Reply, LedgerError> {
    let [outcome, funds] = answer else {
        return Err(unreadable(&Unreadable(format!("{answer:?}"))));
    };
    let outcome = text::outcome(outcome).map_err(|error| unreadable(&error))?;
    let funds = text::funds(funds).map_err(|error| unreadable(&error))?;
    Ok(Reply { outcome, funds })
}

fn read_reply<T: FromRedisValue>(value: Value) -> Result<T, LedgerError> {
    from_redis_value(value).map_err(|error| LedgerError::Unknown(error.to_string()))
}

fn unreadable(error: &Unreadable) -> LedgerError {
    LedgerError::Unknown(error.to_string())
}

fn hexadecimal(bytes: [u8; 16]) -> String {
    text::id(Id::from_u128(u128::from_be_bytes(bytes)))
}
