//! Sees to it that each hold is resolved once, whatever becomes of the client, the handler or the ledger.
//!
//! A call takes a [`Slot`] before its hold is placed, so that there is always room for its settlement; its guard,
//! [`Call`], exists before the hold is awaited, and dropping it only sends. What the ledger doesn't take at once waits
//! in the journal, where there is one, and else in memory; it is repeated under the same id until the ledger has
//! answered. While a call runs, a heartbeat extends its hold and reports the work confirmed so far.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

mod beat;
mod replay;
mod settle;

use super::Ledger;
use super::journal::{Counts, Journal, JournalError, NotAllowed, Waiting};
use crate::credit::{AccountId, ClaimName, Credits, Feature, Id, Job, Operation, Period, Work};

/// Calls that run or wait for their settlement in memory, at once.
const SLOTS: u32 = 16_384;

/// What a call is to be charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charge {
    /// This much, for this work where the work decides, which the job goes on with.
    Settle(Credits, Option<Work>, Option<Job>),
    /// Nothing: no work was done for the caller.
    Release,
}

/// Room for one settlement. Given back when the settlement has reached the ledger or the journal.
pub struct Slot {
    _permit: OwnedSemaphorePermit,
}

/// Resolves holds. Cheap to clone.
#[derive(Clone)]
pub struct Settler {
    shared: Arc<Shared>,
}

struct Shared {
    slots: Arc<Semaphore>,
    ledger: Ledger,
    /// Where settlements run that end on no runtime.
    home: Handle,
    running: Mutex<HashMap<Id, Arc<Running>>>,
    /// Where settlements wait that the ledger doesn't take; a ledger on the same disk has none.
    journal: Option<Arc<Journal>>,
    ttl: Duration,
}

struct Running {
    account: AccountId,
    since: Instant,
    confirmed: AtomicU64,
    beats: AtomicU32,
    /// Whether the call goes on without a hold, and so stands in the journal.
    allowed: Mutex<Option<Allowed>>,
}

/// What an unheld call is let through with: the terms of the hold that it would have had.
#[derive(Clone)]
pub struct Allowed {
    pub amount: Credits,
    pub period: Option<Period>,
    pub feature: Option<Feature>,
}

impl Allowed {
    /// The charge of the call, as far as it has come.
    fn charge(&self, amount: Credits, work: Option<Work>, job: Option<Job>) -> Operation {
        let Self { period, feature, .. } = self;
        Operation::Charge { amount, period: *period, feature: feature.clone(), work, job }
    }
}

struct Settlement {
    account: AccountId,
    id: Id,
    operation: Operation,
    /// Of a call that stands in the journal without a hold.
    allowed: Option<Allowed>,
    /// The key under which its answer was delivered whole.
    delivered: Option<ClaimName>,
    _slot: Slot,
}

impl Settler {
    /// Starts settling on `ledger`, and asks it what waits in `journal`. Holds live `ttl` from each heartbeat; a heart
    /// beats every third of it.
    pub fn start(ledger: Ledger, ttl: Duration, journal: Option<Journal>) -> Self {
        let journal = journal.map(Arc::new);
        let shared = Arc::new(Shared {
            slots: Arc::new(Semaphore::new(SLOTS as usize)),
            ledger: ledger.clone(),
            home: Handle::current(),
            running: Mutex::new(HashMap::new()),
            journal: journal.clone(),
            ttl,
        });
        if let Some(journal) = journal {
            tokio::spawn(replay::replay(ledger.clone(), journal));
        }
        tokio::spawn(beat::beat(ledger, Arc::downgrade(&shared)));
        Self { shared }
    }

    /// Room for one more call; nothing while too many wait for their settlement.
    pub fn slot(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.shared.slots).try_acquire_owned().ok()?;
        Some(Slot { _permit: permit })
    }

    /// The guard of a call whose hold is about to be placed.
    pub fn guard(&self, slot: Slot, account: AccountId, id: Id) -> Call {
        let running = Arc::new(Running {
            account,
            since: Instant::now(),
            confirmed: AtomicU64::new(0),
            beats: AtomicU32::new(0),
            allowed: Mutex::new(None),
        });
        self.running().insert(id, Arc::clone(&running));
        Call { settler: self.clone(), id, running, slot: Some(slot), delivered: None }
    }

    /// Corrects what the job of `call` was charged to `amount`, under the new `id`.
    pub fn correct(
        &self,
        slot: Slot,
        (account, id): (AccountId, Id),
        call: Id,
        amount: Credits,
        work: Option<Work>,
    ) {
        let operation = Operation::Correct { call, amount, work };
        let settlement =
            Settlement { account, id, operation, allowed: None, delivered: None, _slot: slot };
        self.settle(settlement);
    }

    /// How long a hold lives without a heartbeat.
    pub fn ttl(&self) -> Duration {
        self.shared.ttl
    }

    /// Calls that run or whose settlement is neither in the ledger nor in the journal.
    pub fn pending(&self) -> usize {
        SLOTS as usize - self.shared.slots.available_permits()
    }

    /// Settlements that the ledger has not taken yet.
    pub fn waiting(&self) -> usize {
        self.pending().saturating_sub(self.running().len()) + self.journaled().waiting
    }

    /// What waits on the disk.
    pub fn journaled(&self) -> Counts {
        self.shared.journal.as_ref().map(|journal| journal.counts()).unwrap_or_default()
    }

    /// Waits until every call is resolved or in the journal, at most `limit`; says whether all were.
    pub async fn drained(&self, limit: Duration) -> bool {
        let all = Arc::clone(&self.shared.slots).acquire_many_owned(SLOTS);
        tokio::time::timeout(limit, all).await.is_ok()
    }

    /// Settles on the thread that served the call, so that it goes out with what other calls there ask. Bounded by the
    /// slots. What the program's end cuts off is made good by the hold's end, or by whoever asks for the job again.
    fn settle(&self, settlement: Settlement) {
        let Shared { ledger, journal, home, .. } = &*self.shared;
        // Boxed, since a task is moved whole when it begins and when it ends.
        let settling = Box::pin(settle::settle(ledger.clone(), journal.clone(), settlement));
        drop(Handle::try_current().unwrap_or_else(|_| home.clone()).spawn(settling));
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Id, Arc<Running>>> {
        self.shared.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call whose hold is placed or about to be. Resolved once: by [`Call::resolve`], or by being dropped, which charges
/// the work confirmed so far and gives the rest back.
pub struct Call {
    settler: Settler,
    id: Id,
    running: Arc<Running>,
    slot: Option<Slot>,
    delivered: Option<ClaimName>,
}

impl Call {
    /// The call's id, which is the hold's.
    pub fn id(&self) -> Id {
        self.id
    }

    /// The caller has got work worth `done`: it is charged even if nothing more is heard of the call.
    pub fn confirm(&self, done: Credits) {
        self.running.confirmed.fetch_max(done.micros(), Ordering::Relaxed);
    }

    /// Lets the call go on although nobody knows what became of its hold: it is written down as `allowed`, and charged
    /// when the ledger is back. Refused beyond `allowance` for the account.
    pub async fn allow(&self, allowed: Allowed, allowance: Credits) -> Result<(), NotAllowed> {
        // A ledger without a journal is on this machine's disk: when it is away, there is no place to write.
        let journal = self.settler.shared.journal.as_ref().ok_or(JournalError)?;
        let call = Waiting {
            account: self.running.account.clone(),
            id: self.id,
            allowed: allowed.amount,
            operation: allowed.charge(Credits::ZERO, None, None),
        };
        // Before it is awaited: whoever drops the call meanwhile takes back what was written.
        *self.running.allowed() = Some(allowed);
        let written = journal.allow(call, allowance).await;
        if written.is_err() {
            *self.running.allowed() = None;
        }
        written
    }

    /// The answer reached the client whole: who repeats the call with this key need not be answered again.
    pub fn delivered(&mut self, key: ClaimName) {
        self.delivered = Some(key);
    }

    /// Charges the call.
    pub fn resolve(mut self, charge: Charge) {
        self.send(charge);
    }

    /// The ledger refused the hold: nothing is to be resolved.
    pub fn was_refused(mut self) {
        self.settler.running().remove(&self.id);
        self.slot = None;
    }

    fn send(&mut self, charge: Charge) {
        let Some(slot) = self.slot.take() else { return };
        self.settler.running().remove(&self.id);
        let (account, allowed) = (self.running.account.clone(), self.running.allowed().clone());
        let operation = settle::asked(charge, allowed.as_ref());
        let (id, delivered) = (self.id, self.delivered);
        let settlement = Settlement { account, id, operation, allowed, delivered, _slot: slot };
        self.settler.settle(settlement);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let charge = match self.running.done() {
            done if done.is_zero() => Charge::Release,
            done => Charge::Settle(done, None, None),
        };
        self.send(charge);
    }
}

impl Running {
    fn allowed(&self) -> MutexGuard<'_, Option<Allowed>> {
        self.allowed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The work confirmed so far.
    fn done(&self) -> Credits {
        Credits::from_micros(self.confirmed.load(Ordering::Relaxed)).unwrap_or_default()
    }
}
