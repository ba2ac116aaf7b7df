//! Jobs whose state passes through the gateway: when one shows its end, its charge is corrected (semantics.md section 4).
//!
//! Off the path: the answer is read as it passes, and what follows is a task of its own. A ledger that is away delays it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use quick_cache::sync::Cache;

use super::head::text;
use crate::coding::Coding;

use crate::credit::{AccountId, Basis, Credits, Id, OpenJob, Rates, Work};
use crate::ledger::{Ledger, LedgerError, Settler, Slot};
use crate::metrics::Metrics;
use crate::policy::Place;
use crate::provider::Route;
use crate::provider::job::{self, JobReader, Outcome};

/// Jobs that are remembered, so that one is corrected once at a time and not looked at afterwards.
const REMEMBERED: usize = 10_000;
/// The settlement that began a job may still be on its way when its end is seen.
const LOOKS: u32 = 5;
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(5);

/// What corrects charges. Cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    ledger: Ledger,
    settler: Settler,
    metrics: Arc<Metrics>,
    /// Those that are corrected, or just being.
    taken: Arc<Cache<Asked, ()>>,
}

/// A job that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    account: AccountId,
    name: String,
}

/// The answer about a job, as it passes.
pub struct Watch {
    jobs: Jobs,
    asked: Asked,
    reader: JobReader,
}

impl Jobs {
    pub fn new(ledger: Ledger, settler: Settler, metrics: Arc<Metrics>) -> Self {
        Self { ledger, settler, metrics, taken: Cache::new(REMEMBERED).into() }
    }

    /// The job whose state the request asks for, if its charge may still be corrected as far as is known.
    pub fn asked_for(
        &self,
        account: &AccountId,
        method: &Method,
        place: &Place<'_>,
    ) -> Option<Asked> {
        if method != Method::GET {
            return None;
        }
        let name = job::asked_for(&place.route, place.path.as_str())?;
        let asked = Asked { account: account.clone(), name };
        self.taken.get(&asked).is_none().then_some(asked)
    }

    /// Reads the answer to it, if it can be read.
    pub fn watch(&self, asked: Asked, route: Route, headers: &HeaderMap) -> Option<Box<Watch>> {
        if Coding::of(headers) != Ok(None) {
            return None;
        }
        let reader = JobReader::of(&route, text(headers, CONTENT_TYPE));
        Some(Box::new(Watch { jobs: self.clone(), asked, reader }))
    }

    /// One at a time for each job: while the ledger is away, those who ask for it over and over take one slot.
    async fn correct(self, slot: Slot, asked: Asked, outcome: Outcome) {
        let Some(open) = self.find(&asked).await else {
            self.taken.remove(&asked);
            return;
        };
        let Asked { account, .. } = asked;
        let Ok(rates) = open.job.terms().parse::<Rates>() else {
            tracing::error!(%account, request = %open.call, "the terms of a job can't be read");
            return;
        };
        let (amount, work) = match outcome {
            Outcome::Nothing => (Credits::ZERO, None),
            Outcome::Work(usage) => {
                (rates.price(&usage), Some(Work { basis: Basis::Reported, usage }))
            }
        };
        let id = Id::from_u128(uuid::Uuid::now_v7().as_u128());
        self.settler.correct(slot, (account.clone(), id), open.call, amount, work);
        self.metrics.job_corrected();
    }

    /// The job in the account's books, once the ledger can tell.
    async fn find(&self, Asked { account, name }: &Asked) -> Option<OpenJob> {
        let (mut pause, mut looks) = (PAUSE_FIRST, 0);
        while looks < LOOKS {
            match self.ledger.read(account, None).await {
                Ok(books) => {
                    let jobs = books.into_iter().flat_map(|books| books.jobs);
                    if let Some(open) = jobs.into_iter().find(|open| open.job.name() == *name) {
                        return Some(open);
                    }
                    looks += 1;
                }
                Err(LedgerError::Frozen { .. }) => return None,
                Err(LedgerError::Unknown(_) | LedgerError::Unavailable(_)) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MOST);
        }
        None
    }
}

impl Watch {
    /// Takes the next bytes of the answer.
    pub fn see(&mut self, bytes: &Bytes) {
        self.reader.feed(bytes);
    }

    /// The answer was whole.
    pub fn end(self) {
        let Some(outcome) = self.reader.outcome() else { return };
        // Without room now, the next answer about the job corrects it.
        let Some(slot) = self.jobs.settler.slot() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && self.jobs.taken.get(&self.asked).is_none()
        {
            self.jobs.taken.insert(self.asked.clone(), ());
            runtime.spawn(self.jobs.correct(slot, self.asked, outcome));
        }
    }
}
