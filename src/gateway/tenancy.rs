//! Whose things are whose, where all accounts share one key of a provider (semantics.md, "Whose things are whose").
//!
//! What a request names must have been made through its account, or be shared. A metered call has it checked in the step
//! of its hold; a free one asks the cache, and the ledger where that doesn't know. What belongs to somebody never changes
//! hands, so what is known once stays known. What is made is remembered here at once and written down behind the answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Method, request};
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::Gateway;
use super::auth::Caller;
use super::head::has_token;
use super::rejection::Rejection;
use crate::config::{Name, Provider, Tenancy as Rule};
use crate::credit::AccountId;
use crate::ledger::owned::{Owned, Spell, Thing};
use crate::ledger::{Clock, Ledger, LedgerError};
use crate::policy::Place;
use crate::provider::ids::{Life, Made, MadeReader, Within, named_in_query, references};
use crate::provider::{Class, ModelAt, Operation, Route};

/// How long a thing may take to the ledger that another gateway has seen made.
pub const ON_ITS_WAY: Duration = Duration::from_millis(250);

/// Things that are known without asking.
const KNOWN: usize = 100_000;
/// Answers whose things wait to be written down.
const WAITING: usize = 10_000;
/// How often it is tried, with pauses that grow to half a minute: ten minutes in all.
const ATTEMPTS: u32 = 26;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long an answer waits for what it makes to be written down.
const WRITE_LIMIT: Duration = Duration::from_secs(2);

/// What is known of whose things are whose. Cheap to clone.
#[derive(Clone)]
pub struct Tenancy(Arc<Shared>);

struct Shared {
    ledger: Ledger,
    clock: Clock,
    known: Cache<(AccountId, Thing), ()>,
    writing: TaskTracker,
    places: Arc<Semaphore>,
}

/// Reads the answer of a metered call for what it makes.
pub struct Making {
    tenancy: Tenancy,
    account: AccountId,
    provider: Name,
    route: Route,
    reader: MadeReader,
}

impl Tenancy {
    pub fn new(ledger: Ledger, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            ledger,
            clock,
            known: Cache::new(KNOWN),
            writing: TaskTracker::new(),
            places: Arc::new(Semaphore::new(WAITING)),
        }))
    }

    /// Whether it is known without asking that `account` owns all of `things`.
    pub fn knows_all(&self, account: &AccountId, things: &[Thing]) -> bool {
        things.iter().all(|thing| self.knows(account, *thing))
    }

    /// Which of `things` belong to `account`.
    pub async fn owned(
        &self,
        account: &AccountId,
        things: &[Thing],
    ) -> Result<Vec<bool>, LedgerError> {
        if self.knows_all(account, things) {
            return Ok(vec![true; things.len()]);
        }
        let owned = self.0.ledger.owns(account, things).await?;
        for (thing, owned) in things.iter().zip(&owned) {
            if *owned {
                self.0.known.insert((account.clone(), *thing), ());
            }
        }
        Ok(owned)
    }

    /// Refuses unless `account` owns all of `things`.
    pub async fn check(&self, account: &AccountId, things: &[Thing]) -> Result<(), Rejection> {
        let all =
            async || Ok::<_, LedgerError>(self.owned(account, things).await?.iter().all(|is| *is));
        if all().await? {
            return Ok(());
        }
        if self.0.ledger.is_shared() {
            tokio::time::sleep(ON_ITS_WAY).await;
            if all().await? {
                return Ok(());
            }
        }
        Err(Rejection::NoSuchThing)
    }

    /// `account` owns what was made. Returns when it is written down, or soon: it is tried on behind the answer.
    pub async fn own(&self, account: &AccountId, made: Vec<Owned>) {
        if let Some(writing) = self.write(account, made) {
            let _ = tokio::time::timeout(WRITE_LIMIT, writing).await;
        }
    }

    /// `account` has deleted `thing`.
    pub fn forget(&self, account: &AccountId, thing: Thing) {
        self.0.known.remove(&(account.clone(), thing));
        let (tenancy, account) = (self.clone(), account.clone());
        self.0.writing.spawn(async move {
            // If it fails, the account owns the name of a thing that is not there.
            if let Err(error) = tenancy.0.ledger.forget(&account, thing).await {
                tracing::warn!(%account, %error, "a deleted thing is still written down as the account's");
            }
            // Whoever has asked meanwhile may have heard that it is there.
            tenancy.0.known.remove(&(account, thing));
        });
    }

    /// Waits until everything is written down, at most `limit`.
    pub async fn written(&self, limit: Duration) {
        self.0.writing.close();
        if tokio::time::timeout(limit, self.0.writing.wait()).await.is_err() {
            let left = self.0.writing.len();
            tracing::error!(left, "what was made last is not written down: {ADVICE}");
        }
    }

    /// The things that the ledger is to know by `made`.
    pub fn things(&self, provider: &Name, route: Route, made: Vec<Made>) -> Vec<Owned> {
        let spell = Spell::at((self.0.clock)());
        let owned = |made: Made| Owned {
            thing: Thing::of(provider.as_str(), &route.thing_called(&made.id)),
            spell: match made.life {
                Life::Kept => None,
                Life::Passing => Some(spell),
            },
        };
        made.into_iter().map(owned).collect()
    }

    fn knows(&self, account: &AccountId, thing: Thing) -> bool {
        self.0.known.get(&(account.clone(), thing)).is_some()
    }

    /// Begins to write down what is not known yet; nothing, if all is.
    fn write(
        &self,
        account: &AccountId,
        mut made: Vec<Owned>,
    ) -> Option<tokio::task::JoinHandle<()>> {
        made.retain(|owned| !self.knows(account, owned.thing));
        if made.is_empty() {
            return None;
        }
        for owned in &made {
            self.0.known.insert((account.clone(), owned.thing), ());
        }
        let Ok(place) = Arc::clone(&self.0.places).try_acquire_owned() else {
            tracing::error!(%account, "too much waits to be written down as an account's: {ADVICE}");
            return None;
        };
        let (tenancy, account) = (self.clone(), account.clone());
        Some(self.0.writing.spawn(async move {
            let _place = place;
            let mut pause = FIRST_PAUSE;
            for _ in 0..ATTEMPTS {
                match tenancy.0.ledger.own(&account, &made).await {
                    Ok(()) => return,
                    Err(error) => tracing::debug!(%account, %error, "not written down yet"),
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            let things = made.len();
            tracing::error!(%account, things, "what an account has made can't be written down: {ADVICE}");
        }))
    }
}

/// What to do about a thing that nobody owns.
const ADVICE: &str = "`creditgate own ACCOUNT PROVIDER ID` gives it to its account";

impl Making {
    /// The same, when the head of the answer is there.
    pub fn of_answer(self, headers: &HeaderMap) -> Self {
        if has_token(headers, &CONTENT_TYPE, "text/event-stream") {
            return Self { reader: self.reader.of_events(), ..self };
        }
        self
    }

    /// What follows is the next event of a socket.
    pub fn renew(&mut self) {
        self.reader.renew();
    }

    /// Takes the next bytes of the answer.
    pub fn see(&mut self, bytes: &[u8]) {
        self.reader.feed(bytes);
        let news = self.reader.news();
        if !news.is_empty() {
            let things = self.tenancy.things(&self.provider, self.route, news);
            drop(self.tenancy.write(&self.account, things));
        }
    }
}

impl Gateway {
    /// The rules for things at a place, if there are any.
    pub(super) fn tenancy_at(&self, place: &Place<'_>) -> Option<&Provider> {
        let provider = &self.config.providers[place.provider];
        let is_unknown = place.route.class == Class::Unknown;
        (provider.tenancy != Rule::Off && (is_unknown || place.route.has_things()))
            .then_some(provider)
    }

    /// The things that a request names and that are not shared: in its path, and in a body of JSON.
    pub(super) fn things_named(
        &self,
        head: &request::Parts,
        place: &Place<'_>,
        body: &Bytes,
    ) -> Result<Vec<Thing>, Rejection> {
        let is_strict = |_: &&Provider| self.is_strict(place.provider);
        let Some(provider) = self.tenancy_at(place).filter(is_strict) else {
            return Ok(Vec::new());
        };
        let Place { route, path, .. } = place;
        let (around, is_read) = match route.class {
            Class::Unknown => (provider.dialect.thing_around(path), is_read(&head.method)),
            _ => (
                route.thing_in(&head.method, path),
                is_read(&head.method) || route.class == Class::Metered,
            ),
        };
        // What is shared is used by all and changed by nobody.
        let around = around.filter(|id| !is_read || !provider.shared_ids.have(id));
        let is_form = has_token(&head.headers, &CONTENT_TYPE, "multipart/form-data");
        let inside = if is_form || body.is_empty() || route.class == Class::Unknown {
            Vec::new()
        } else {
            references(body, Within::Body, route.operation == Operation::Response)?
        };
        let queried = match (route.model, head.uri.query()) {
            (ModelAt::Query(_), Some(query)) => named_in_query(query),
            _ => Vec::new(),
        };
        let used = self.things_called(place.provider, inside.into_iter().chain(queried));
        let around = around.map(|id| Thing::of(place.provider.as_str(), &id));
        Ok(around.into_iter().chain(used).collect())
    }

    /// The things that the handshake of a socket names and that are not shared.
    pub(super) fn things_asked(&self, provider: &Name, query: Option<&str>) -> Vec<Thing> {
        self.things_called(provider, query.map(named_in_query).unwrap_or_default())
    }

    /// Whether accounts are kept apart at a provider.
    pub(super) fn is_strict(&self, provider: &Name) -> bool {
        self.config.providers[provider].tenancy == Rule::Strict
    }

    /// The things that an event of a socket names and that are not shared. `has_items`: it may put items of a conversation in.
    pub(super) fn things_said(
        &self,
        provider: &Name,
        text: &[u8],
        has_items: bool,
    ) -> Result<Vec<Thing>, Rejection> {
        Ok(self.things_called(provider, references(text, Within::Event, has_items)?))
    }

    /// Those of what a provider knows by `ids` that are not shared, where accounts are kept apart.
    pub(super) fn things_called(
        &self,
        provider: &Name,
        ids: impl IntoIterator<Item = String>,
    ) -> Vec<Thing> {
        let Provider { tenancy, shared_ids, .. } = &self.config.providers[provider];
        let own = ids.into_iter().filter(|id| *tenancy == Rule::Strict && !shared_ids.have(id));
        own.map(|id| Thing::of(provider.as_str(), &id)).collect()
    }

    /// Reads the events of a socket for what is stored.
    pub(super) fn made_on_socket(
        &self,
        provider: &Name,
        route: Route,
        caller: &Caller,
        reader: MadeReader,
    ) -> Option<Making> {
        (self.config.providers[provider].tenancy != Rule::Off).then(|| Making {
            tenancy: self.tenancy.clone(),
            account: caller.record.account.clone(),
            provider: provider.clone(),
            route,
            reader,
        })
    }

    /// Reads the answer of a metered call for what it makes, if it makes anything.
    pub(super) fn made_by(
        &self,
        head: &request::Parts,
        place: &Place<'_>,
        body: &Bytes,
        caller: &Caller,
    ) -> Option<Making> {
        self.tenancy_at(place)?;
        let reader = place.route.made(&head.method, &place.path, body)?;
        Some(Making {
            tenancy: self.tenancy.clone(),
            account: caller.record.account.clone(),
            provider: place.provider.clone(),
            route: place.route,
            reader,
        })
    }
}

pub(super) fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
