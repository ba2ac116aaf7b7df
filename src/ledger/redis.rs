//! The engine for many gateways: every account in Redis, one script for each operation.
//!
//! The rules of money stand in `redis/books.lua`, a port of `credit` that the tests hold against it. One script reads,
//! decides and writes, so that a step is atomic on any number of gateways. A reply that is lost says nothing of the
//! step: the caller repeats it under the same id and is told what came of it.
//!
//! The only home of the crate `redis`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::redis::aio::ConnectionManager;
use ::redis::{Cmd, FromRedisValue, RedisError};

mod archive;
mod directory;
mod import;
mod keys;
mod link;
mod log;
mod queries;
mod scripts;
mod server;
mod text;

use super::archive::Archive;
use super::fingerprint::fingerprint;
use super::{Clock, LedgerError};
use crate::credit::{
    Account, AccountId, Id, Operation, Period, Reply, Source, SourceId, Timestamp, read,
};
pub(super) use archive::{Holder, Lease, Said, TRIMMED};
pub(super) use import::{Arrival, Expiries};
pub use import::{Belongings, Migration, Shard, Sum, Sums, Unfinished};
use link::Link;
use scripts::Scripts;
pub use server::Unfit;
use text::Unreadable;

/// How an engine uses its server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a reply may take before the outcome counts as unknown. Longer than a rewrite or a sync of the
    /// server's disk is likely to hold it up.
    pub response_timeout: Duration,
    /// How long connecting may take.
    pub connection_timeout: Duration,
    /// Whose clock counts.
    pub time: Time,
    /// The rules of money; a test may bring others to see that they are found out.
    pub books: Cow<'static, str>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            response_timeout: Duration::from_secs(2),
            connection_timeout: Duration::from_secs(1),
            time: Time::Server,
            books: Cow::Borrowed(scripts::BOOKS),
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
    /// The address means nothing to the client.
    #[error("the ledger's address can't be used: {0}")]
    Address(RedisError),
    /// Nobody answers, or not to us.
    #[error("can't reach the ledger's Redis: {0}")]
    Unreachable(RedisError),
    /// It would lose credits.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

/// A ledger on a Redis server.
pub struct Store {
    link: Arc<Link>,
    scripts: Scripts,
    clock: Clock,
    time: Time,
    available: Arc<AtomicBool>,
    archive: Option<Arc<Archive>>,
}

impl Store {
    /// Connects to the server at `url` and checks that it is fit to keep credits.
    pub async fn open(url: &str, clock: Clock, settings: Settings) -> Result<Self, OpenError> {
        let client = link::client(url).map_err(OpenError::Address)?;
        let link = Link::open(client, &settings).await.map_err(OpenError::Unreachable)?;
        server::check(&link).await?;
        let (link, available) = (Arc::new(link), Arc::new(AtomicBool::new(true)));
        tokio::spawn(server::watch(Arc::downgrade(&link), Arc::downgrade(&available)));
        Ok(Self {
            link,
            scripts: Scripts::new(&settings.books),
            clock,
            time: settings.time,
            available,
            archive: None,
        })
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
        let answer = self
            .step(account, |connection| {
                let now = self.now_for_scripts();
                self.scripts.apply(connection, (account, id), &operation, &fingerprint, now)
            })
            .await?;
        let [outcome, funds] = answer.as_slice() else {
            return Err(unreadable(&Unreadable(format!("{answer:?}"))));
        };
        let outcome = text::outcome(outcome).map_err(|error| unreadable(&error))?;
        let funds = text::funds(funds).map_err(|error| unreadable(&error))?;
        Ok(Reply { outcome, funds })
    }

    /// Runs a script. Its id makes it harmless to run twice.
    async fn step<F>(
        &self,
        account: &AccountId,
        script: impl Fn(ConnectionManager) -> F,
    ) -> Result<Vec<String>, LedgerError>
    where
        F: Future<Output = Result<Vec<String>, RedisError>>,
    {
        let answer = self.noted(self.link.ask(script).await)?;
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
        let mut command = ::redis::cmd("HGET");
        command.arg(keys::sources(account)).arg(source.as_str());
        let stored: Option<String> = self.ask(&command).await?;
        let source = stored.map(|stored| text::source(&stored)).transpose();
        source.map_err(|error| unreadable(&error))
    }

    /// The books as they are stored.
    async fn books(&self, account: &AccountId) -> Result<Option<Account>, LedgerError> {
        let fields: HashMap<String, String> =
            self.ask(::redis::cmd("HGETALL").arg(keys::books(account))).await?;
        text::account(&fields).map_err(|error| unreadable(&error))
    }

    pub(super) fn is_available(&self) -> bool {
        self.available.load(Ordering::Relaxed)
    }

    /// One command that changes nothing, or that may be repeated.
    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, LedgerError> {
        let ask =
            async |mut connection: ConnectionManager| command.query_async(&mut connection).await;
        self.noted(self.link.ask(ask).await)
    }

    /// Notes whether the server answers.
    fn noted<T>(&self, answer: Result<T, RedisError>) -> Result<T, LedgerError> {
        self.available.store(answer.is_ok(), Ordering::Relaxed);
        answer.map_err(|error| scripts::refused(&error))
    }

    fn now_for_scripts(&self) -> Option<Timestamp> {
        match self.time {
            Time::Server => None,
            Time::Gateway => Some((self.clock)()),
        }
    }
}

fn unreadable(error: &Unreadable) -> LedgerError {
    LedgerError::Unknown(error.to_string())
}

fn hexadecimal(bytes: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(bytes))
}
