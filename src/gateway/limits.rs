//! How fast an account may call, and how many calls of it may run: the plan's pace, on this node.
//!
//! The only home of `governor`.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota};
use quick_cache::sync::Cache;

use super::auth::Caller;
use super::rejection::Rejection;
use crate::config::Pace;
use crate::credit::AccountId;

/// Accounts and keys whose pace is remembered. One that is forgotten starts anew with a full burst.
const REMEMBERED: usize = 100_000;

/// The pace of every caller of this node.
pub struct Limits {
    accounts: Cache<AccountId, Arc<Paced>>,
    keys: Cache<String, Arc<Paced>>,
    clock: DefaultClock,
}

struct Paced {
    quota: (NonZeroU32, NonZeroU32),
    rate: DefaultDirectRateLimiter,
    running: Arc<AtomicU32>,
}

/// One of the calls that an account may run at once; given back when it is dropped.
pub struct Running(Arc<AtomicU32>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Limits {
    /// Nobody has called yet.
    pub fn new() -> Self {
        let clock = DefaultClock::default();
        Self { accounts: Cache::new(REMEMBERED), keys: Cache::new(REMEMBERED), clock }
    }

    /// Counts one request of `caller` against the rate of its account and of its key.
    pub fn admit(&self, caller: &Caller, pace: &Pace) -> Result<(), Rejection> {
        let account = &caller.record.account;
        let of_account = paced(&self.accounts, account, (pace.requests_per_minute, pace.burst));
        self.take(&of_account)?;
        let quota = (pace.key_requests_per_minute, pace.burst);
        self.take(&paced(&self.keys, &caller.key.key.id, quota))
    }

    /// Counts one metered call of `caller` as running until the guard is dropped.
    pub fn run(&self, caller: &Caller, pace: &Pace) -> Result<Running, Rejection> {
        let quota = (pace.requests_per_minute, pace.burst);
        let running = Arc::clone(&paced(&self.accounts, &caller.record.account, quota).running);
        let limit = pace.concurrency.get();
        let free = |now: u32| (now < limit).then_some(now + 1);
        match running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free) {
            Ok(_) => Ok(Running(running)),
            Err(_) => Err(Rejection::TooManyRunning { limit }),
        }
    }

    fn take(&self, paced: &Paced) -> Result<(), Rejection> {
        paced.rate.check().map_err(|denied| {
            let wait: Duration = denied.wait_time_from(self.clock.now());
            Rejection::TooFast { wait }
        })
    }
}

/// The pace under `name`, made anew when the plan's quota has changed.
fn paced<K: std::hash::Hash + Eq + Clone>(
    known: &Cache<K, Arc<Paced>>,
    name: &K,
    quota: (NonZeroU32, NonZeroU32),
) -> Arc<Paced> {
    let former = known.get(name);
    if let Some(paced) = &former
        && paced.quota == quota
    {
        return Arc::clone(paced);
    }
    let (per_minute, burst) = quota;
    let rate = DefaultDirectRateLimiter::direct(Quota::per_minute(per_minute).allow_burst(burst));
    // Calls that run keep their place under a new quota.
    let running = former.map(|former| Arc::clone(&former.running)).unwrap_or_default();
    let paced = Arc::new(Paced { quota, rate, running });
    known.insert(name.clone(), Arc::clone(&paced));
    paced
}
