//! Sees to it that each hold is resolved once, whatever becomes of the client, the handler or the ledger.
//!
//! A call takes a [`Slot`] before its hold is placed, so that there is always room for its settlement; its guard,
//! [`Call`], exists before the hold is awaited, and dropping it only sends. Settlements are repeated under the same id
//! until the ledger has taken them. While a call runs, a heartbeat extends its hold and reports the work confirmed so
//! far.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{Ledger, LedgerError};
use crate::credit::{AccountId, Credits, Done, Id, Operation, Refusal};

/// Calls that run or wait for their settlement, at once.
const SLOTS: u32 = 16_384;
/// Pauses between attempts to settle while the ledger is away.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MOST: Duration = Duration::from_secs(5);

/// What a call is to be charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// This much.
    Settle(Credits),
    /// Nothing: no work was done for the caller.
    Release,
}

/// Room for one settlement. Given back when the settlement has reached the ledger.
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
    settlements: mpsc::UnboundedSender<Settlement>,
    running: Mutex<HashMap<Id, Arc<Running>>>,
    ttl: Duration,
}

struct Running {
    account: AccountId,
    since: Instant,
    confirmed: AtomicU64,
    beats: AtomicU32,
}

struct Settlement {
    account: AccountId,
    id: Id,
    charge: Charge,
    _slot: Slot,
}

impl Settler {
    /// Starts settling on `ledger`. Holds live `ttl` from each heartbeat; a heart beats every third of it.
    pub fn start(ledger: Ledger, ttl: Duration) -> Self {
        let (settlements, queue) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            slots: Arc::new(Semaphore::new(SLOTS as usize)),
            settlements,
            running: Mutex::new(HashMap::new()),
            ttl,
        });
        tokio::spawn(settle_all(ledger.clone(), queue));
        tokio::spawn(beat(ledger, Arc::downgrade(&shared), ttl));
        Self { shared }
    }

    /// Room for one more call; nothing while too many wait for their settlement.
    pub fn slot(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.shared.slots).try_acquire_owned().ok()?;
        Some(Slot { _permit: permit })
    }

    /// The guard of a call whose hold is about to be placed.
    pub fn guard(&self, slot: Slot, account: AccountId, id: Id) -> Call {
        let (confirmed, beats) = (AtomicU64::new(0), AtomicU32::new(0));
        let since = Instant::now();
        let running = Arc::new(Running { account, since, confirmed, beats });
        self.running().insert(id, Arc::clone(&running));
        Call { settler: self.clone(), id, running, slot: Some(slot) }
    }

    /// How long a hold lives without a heartbeat.
    pub fn ttl(&self) -> Duration {
        self.shared.ttl
    }

    /// Calls that run or wait for their settlement.
    pub fn pending(&self) -> usize {
        SLOTS as usize - self.shared.slots.available_permits()
    }

    /// Settlements that the ledger has not taken yet.
    pub fn waiting(&self) -> usize {
        self.pending().saturating_sub(self.running().len())
    }

    /// Waits until every call is resolved, at most `limit`; says whether all were.
    pub async fn drained(&self, limit: Duration) -> bool {
        let all = Arc::clone(&self.shared.slots).acquire_many_owned(SLOTS);
        tokio::time::timeout(limit, all).await.is_ok()
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<Id, Arc<Running>>> {
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
        let account = self.running.account.clone();
        let settlement = Settlement { account, id: self.id, charge, _slot: slot };
        // Fails only once the process ends; the hold expires then.
        let _ = self.settler.shared.settlements.send(settlement);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let confirmed = self.running.confirmed.load(Ordering::Relaxed);
        let charge = match Credits::from_micros(confirmed) {
            Some(done) if !done.is_zero() => Charge::Settle(done),
            _ => Charge::Release,
        };
        self.send(charge);
    }
}

async fn settle_all(ledger: Ledger, mut queue: mpsc::UnboundedReceiver<Settlement>) {
    while let Some(settlement) = queue.recv().await {
        // Bounded by the slots.
        tokio::spawn(settle(ledger.clone(), settlement));
    }
}

/// Repeats one settlement until the ledger has answered.
async fn settle(ledger: Ledger, settlement: Settlement) {
    let Settlement { account, id, charge, _slot } = settlement;
    let operation = match charge {
        Charge::Settle(amount) => Operation::Settle { amount },
        Charge::Release => Operation::Release,
    };
    let mut pause = RETRY_FIRST;
    loop {
        match ledger.apply(&account, id, operation.clone()).await {
            Ok(reply) => return answered(&account, id, charge, reply.outcome),
            Err(error @ LedgerError::Frozen { .. }) => {
                tracing::error!(%account, request = %id, %error, "a call could not be settled");
                return;
            }
            Err(error @ (LedgerError::Unknown(_) | LedgerError::Unavailable(_))) => {
                tracing::warn!(%account, request = %id, %error, "settling again in {pause:?}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_MOST);
            }
        }
    }
}

fn answered(account: &AccountId, id: Id, charge: Charge, outcome: Result<Done, Refusal>) {
    match (charge, outcome) {
        (_, Ok(_)) | (Charge::Release, Err(Refusal::AlreadyResolved)) => {}
        (Charge::Settle(_) | Charge::Release, Err(refusal)) => {
            tracing::error!(%account, request = %id, ?charge, %refusal, "a settlement was refused");
        }
    }
}

/// Extends the holds of calls that run for long.
async fn beat(ledger: Ledger, shared: std::sync::Weak<Shared>, ttl: Duration) {
    let pause = ttl / 3;
    let ttl_millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    loop {
        tokio::time::sleep(pause / 2).await;
        let Some(shared) = shared.upgrade() else { return };
        let due: Vec<_> = {
            let running = shared.running.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = |call: &Running| {
                call.since.elapsed() >= pause * (call.beats.load(Ordering::Relaxed) + 1)
            };
            let due = running.iter().filter(|(_, call)| is_due(call));
            due.map(|(id, call)| (*id, Arc::clone(call))).collect()
        };
        for (id, call) in due {
            let beat = call.beats.fetch_add(1, Ordering::Relaxed) + 1;
            let done = Credits::from_micros(call.confirmed.load(Ordering::Relaxed));
            let (more, done) = (Credits::ZERO, done.unwrap_or_default());
            let extend = Operation::Extend { beat, more, ttl_millis, done };
            let (ledger, account) = (ledger.clone(), call.account.clone());
            tokio::spawn(async move {
                // A beat that is lost is made good by the next one.
                if let Err(error) = ledger.apply(&account, id, extend).await {
                    tracing::warn!(%account, request = %id, %error, "a heartbeat was lost");
                }
            });
        }
    }
}
