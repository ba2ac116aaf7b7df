//! From steps to operations.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use creditgate::credit::{
    Account, Basis, Credits, Feature, Id, Job, Operation, Period, SourceId, Timestamp, Unit, Usage,
    Work,
};

use super::{Call, DAY, Month, Step, Wait, Which};

/// 31 January 2026, 10:00 UTC: a day that most months don't have.
const START: i64 = 1_769_853_600_000;

/// An operation with its id and its instant, and what a reader asks after it.
pub(crate) struct Asked {
    pub(crate) id: Id,
    pub(crate) operation: Operation,
    pub(crate) now: Timestamp,
    pub(crate) period: Option<Period>,
    pub(crate) later: Timestamp,
}

/// Turns steps into operations; remembers only what a gateway and a billing system would.
pub(crate) struct Resolver {
    now: i64,
    anchor: i64,
    allowance: u64,
    ids: Vec<Id>,
    beats: u32,
    grants: BTreeMap<usize, Operation>,
}

impl Default for Resolver {
    fn default() -> Self {
        let (ids, grants) = (Vec::new(), BTreeMap::new());
        Self { now: START, anchor: START, allowance: 5, ids, beats: 0, grants }
    }
}

impl Resolver {
    pub(crate) fn resolve(&mut self, step: &Step, account: &Account) -> Asked {
        self.now = match step.wait {
            Wait::Millis(millis) => (self.now + millis).max(START),
            Wait::Landmark(nth, past) => {
                self.landmark(nth, account).map_or(self.now, |at| at + past)
            }
        };
        let (id, operation) = self.call(&step.call, account);
        let later = Timestamp::from_millis(self.now + step.later);
        let period = self.month(Month::Current, later.millis());
        Asked { id, operation, now: Timestamp::from_millis(self.now), period, later }
    }

    fn call(&mut self, call: &Call, account: &Account) -> (Id, Operation) {
        match *call {
            Call::Grant { source, again, kind, opens, lasts, amount } => {
                let start = Timestamp::from_millis(self.now + opens);
                let end = Timestamp::from_millis(start.millis() + lasts);
                let amount = credits(amount);
                let new = Operation::Grant { source: name(source), kind, start, end, amount };
                let first = self.grants.entry(source).or_insert_with(|| new.clone()).clone();
                (self.new_id(), if again { first } else { new })
            }
            Call::Gate { open_for, newer } => {
                let version = account.version + u64::from(newer);
                let until = Timestamp::from_millis(self.now + open_for);
                (self.new_id(), Operation::Gate { until, version })
            }
            Call::Plan { allowance } => {
                self.allowance = allowance;
                (self.new_id(), Operation::Plan { allowance: credits(allowance) })
            }
            Call::Hold { id, amount, ttl, stale, period } => {
                let version = match (stale, amount % 5) {
                    (false, _) => account.version,
                    (true, 4) => account.version + 1,
                    (true, _) => account.version.saturating_sub(1),
                };
                let period = self.month(period, self.now);
                let (feature, amount) = (purpose(amount), credits(amount));
                let hold = Operation::Hold { amount, ttl_millis: ttl, version, period, feature };
                (self.id(id, account), hold)
            }
            Call::Extend { id, more, ttl, done } => {
                let (more, done) = (credits(more), credits(done));
                // Each beat is a step of its own: a ledger that remembers steps carries it out.
                self.beats += 1;
                let beat = self.beats;
                let extend = Operation::Extend { beat, more, ttl_millis: ttl, done };
                (self.id(id, account), extend)
            }
            Call::Settle { id, amount, job } => {
                let (work, job) = (work(amount), job.then(|| begun(amount)));
                (self.id(id, account), Operation::Settle { amount: credits(amount), work, job })
            }
            Call::Correct { nth, amount } => {
                let jobs: Vec<Id> = account.jobs.iter().map(|job| job.call).collect();
                let call = if jobs.is_empty() { self.new_id() } else { jobs[nth % jobs.len()] };
                let correct =
                    Operation::Correct { call, amount: credits(amount), work: work(amount) };
                (self.new_id(), correct)
            }
            Call::Charge { id, amount, period, job } => {
                let (raw, amount, period) = (amount, credits(amount), self.month(period, self.now));
                let (work, job) = (work(raw), job.then(|| begun(raw)));
                (
                    self.id(id, account),
                    Operation::Charge { amount, period, work, job, feature: purpose(raw) },
                )
            }
            Call::Release { id } => (self.id(id, account), Operation::Release),
            Call::Void { source, total } => {
                let total = credits(total);
                (self.new_id(), Operation::Void { source: name(source), total })
            }
        }
    }

    fn id(&mut self, which: Which, account: &Account) -> Id {
        let nth = |ids: Vec<Id>, n: usize| (!ids.is_empty()).then(|| ids[n % ids.len()]);
        let found = match which {
            Which::New => None,
            Which::Open(n) => nth(account.holds.iter().map(|hold| hold.id).collect(), n),
            Which::Expired(n) => nth(account.expired.iter().map(|hold| hold.id).collect(), n),
            Which::Used(n) => nth(self.ids.iter().rev().copied().collect(), n),
        };
        found.unwrap_or_else(|| self.new_id())
    }

    fn new_id(&mut self) -> Id {
        let made_at = u128::try_from(self.now).unwrap() << 80;
        let id = Id::from_u128(made_at | (self.ids.len() as u128 + 1));
        self.ids.push(id);
        id
    }

    fn month(&mut self, month: Month, now: i64) -> Option<Period> {
        let (allowance, now) = match month {
            Month::None => return None,
            Month::Current => (self.allowance, now),
            Month::Last => (self.allowance, now - 31 * DAY),
            Month::Next => (self.allowance, now + 31 * DAY),
            Month::Moved => {
                self.anchor = now;
                (self.allowance, now)
            }
            Month::Nothing => (0, now),
        };
        let [anchor, now] = [self.anchor, now].map(Timestamp::from_millis);
        Period::containing(anchor, Tz::UTC, credits(allowance), now)
    }

    fn landmark(&self, nth: usize, account: &Account) -> Option<i64> {
        let now = self.now.max(account.clock.millis());
        let month = Period::containing(
            Timestamp::from_millis(self.anchor),
            Tz::UTC,
            Credits::ZERO,
            Timestamp::from_millis(now),
        );
        let holds = account.holds.iter().map(|hold| hold.deadline);
        let expired = account.expired.iter().map(|hold| hold.settle_until);
        let jobs = account.jobs.iter().map(|job| job.correct_until);
        let lots = account.lots.iter().flat_map(|lot| [lot.start, lot.end]);
        let rest = [Some(account.gate_until), month.map(|month| month.end)].into_iter().flatten();
        let all = holds.chain(expired).chain(jobs).chain(lots).chain(rest).map(Timestamp::millis);
        let mut ahead: Vec<_> = all.filter(|at| (now..now + 400 * DAY).contains(at)).collect();
        ahead.sort_unstable();
        ahead.dedup();
        (!ahead.is_empty()).then(|| ahead[nth % ahead.len()])
    }
}

fn name(source: usize) -> SourceId {
    format!("invoice:{source}").parse().unwrap()
}

fn credits(micros: u64) -> Credits {
    Credits::from_micros(micros).unwrap()
}

/// Work for every third charge: what it was plays no part in the books.
fn work(amount: u64) -> Option<Work> {
    let usage = Usage::NOTHING.with(Unit::Input, amount).with(Unit::Output, 1);
    let basis = if amount.is_multiple_of(2) { Basis::Reported } else { Basis::Estimated };
    amount.is_multiple_of(3).then_some(Work { basis, usage })
}

/// What the call is for, of some: a name that could be taken for a number, and one with the signs that there may be.
fn purpose(amount: u64) -> Option<Feature> {
    let name = if amount.is_multiple_of(2) { "12" } else { "help-desk:v2.1_x" };
    (amount % 5 < 3).then(|| name.parse().unwrap())
}

/// A job with colons and signs of equality in its name and its terms, as there may be.
fn begun(amount: u64) -> Job {
    Job::new(&format!("openai/resp:{amount}=1,2"), "input=1,output=2").unwrap()
}
