//! Random histories. A step says what to do in words that mean something in any account ("the second open hold",
//! "just before the next instant that matters"), so that it stays meaningful when others are left out of a
//! failing history; the resolver turns it into the operation.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use creditgate::credit::{Account, Credits, Id, LotKind, Operation, Period, SourceId, Timestamp};
use proptest::prelude::*;
use proptest::sample::select;

const SECOND: i64 = 1000;
const DAY: i64 = 86_400 * SECOND;
/// 31 January 2026, 10:00 UTC: a day that most months don't have.
const START: i64 = 1_769_853_600_000;
const MAX: u64 = Credits::MAX.micros();

#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    wait: Wait,
    call: Call,
    /// How long after the step a reader looks.
    later: i64,
}

/// How the clock moves before a step.
#[derive(Clone, Copy, Debug)]
enum Wait {
    Millis(i64),
    /// To the `nth` instant ahead at which something opens, ends or expires, and so many ms past it.
    Landmark(usize, i64),
}

#[derive(Clone, Debug)]
enum Call {
    Grant { source: usize, again: bool, kind: LotKind, opens: i64, lasts: i64, amount: u64 },
    Gate { open_for: i64, newer: bool },
    Plan { allowance: u64 },
    Hold { id: Which, amount: u64, ttl: u64, stale: bool, period: Month },
    Extend { id: Which, more: u64, ttl: u64, done: u64 },
    Settle { id: Which, amount: u64 },
    Release { id: Which },
    Void { source: usize, total: u64 },
}

/// Which hold.
#[derive(Clone, Copy, Debug)]
enum Which {
    New,
    Open(usize),
    Expired(usize),
    /// Any id that was ever used, counted from the newest.
    Used(usize),
}

/// Which month of the plan a hold brings.
#[derive(Clone, Copy, Debug)]
enum Month {
    None,
    Current,
    Last,
    Next,
    /// The plan starts anew, with this day as its anchor.
    Moved,
    /// The current month, of a plan without credits.
    Nothing,
}

/// An operation with its id and its instant, and what a reader asks after it.
pub(super) struct Asked {
    pub(super) id: Id,
    pub(super) operation: Operation,
    pub(super) now: Timestamp,
    pub(super) period: Option<Period>,
    pub(super) later: Timestamp,
}

/// Turns steps into operations; remembers only what a gateway and a billing system would.
pub(super) struct Resolver {
    now: i64,
    anchor: i64,
    allowance: u64,
    ids: Vec<Id>,
    grants: BTreeMap<usize, Operation>,
}

impl Default for Resolver {
    fn default() -> Self {
        Self { now: START, anchor: START, allowance: 5, ids: Vec::new(), grants: BTreeMap::new() }
    }
}

impl Resolver {
    pub(super) fn resolve(&mut self, step: &Step, account: &Account) -> Asked {
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
                let version = account.version.saturating_sub(u64::from(stale));
                let period = self.month(period, self.now);
                let amount = credits(amount);
                let hold = Operation::Hold { amount, ttl_millis: ttl, version, period };
                (self.id(id, account), hold)
            }
            Call::Extend { id, more, ttl, done } => {
                let (more, done) = (credits(more), credits(done));
                let extend = Operation::Extend { beat: 1, more, ttl_millis: ttl, done };
                (self.id(id, account), extend)
            }
            Call::Settle { id, amount } => {
                (self.id(id, account), Operation::Settle { amount: credits(amount) })
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
        let lots = account.lots.iter().flat_map(|lot| [lot.start, lot.end]);
        let rest = [Some(account.gate_until), month.map(|month| month.end)].into_iter().flatten();
        let all = holds.chain(expired).chain(lots).chain(rest).map(Timestamp::millis);
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

/// Everyday histories: few lots and small amounts, so that accounts run out.
pub(super) fn small() -> impl Strategy<Value = History> {
    let amount = prop_oneof![12 => 0..=6_u64, 3 => 0..=25_u64, 1 => 0..=3_000_001_u64].boxed();
    let grant = prop_oneof![6 => 1..=12_u64, 2 => 0..=60_u64, 1 => 0..=5_000_003_u64].boxed();
    prop::collection::vec(step(amount, grant), 40..=200).prop_map(opened)
}

/// Histories at the limit of what an account may hold.
pub(super) fn vast() -> impl Strategy<Value = History> {
    let near = prop_oneof![0..=6_u64, MAX / 2 - 2..=MAX / 2 + 2, MAX - 6..=MAX].boxed();
    let owing = prop::bool::ANY.prop_map(|owing| if owing { in_debt() } else { vec![] });
    let rest = prop::collection::vec(step(near.clone(), near), 40..=120);
    (owing, rest).prop_map(|(owing, rest)| opened([owing, rest].concat()))
}

/// Histories with as many holds as an account may have, twice within the time for which expired ones are
/// remembered.
pub(super) fn crowded() -> impl Strategy<Value = History> {
    let amount = (0..=3_u64).boxed();
    let rest = prop::collection::vec(step(amount.clone(), amount), 30..=60);
    (crowd(), rest.clone(), crowd(), rest).prop_map(|(crowd, rest, more, end)| {
        let gate = Call::Gate { open_for: 300 * DAY, newer: true };
        let open = vec![Step { wait: Wait::Millis(0), call: gate.clone(), later: 0 }];
        let expire = vec![Step { wait: Wait::Millis(DAY), call: gate, later: 0 }];
        let first = [grown(20), crowd, rest.clone(), expire.clone()].concat();
        opened([first, open, grown(30), more, expire, rest, end].concat())
    })
}

fn crowd() -> impl Strategy<Value = Vec<Step>> {
    let (stale, period) = (false, Month::None);
    let hold = (0..=1_u64, 1..=2_u64).prop_map(move |(amount, days)| {
        let ttl = days * DAY.unsigned_abs() / 2;
        Step {
            wait: Wait::Millis(0),
            call: Call::Hold { id: Which::New, amount, ttl, stale, period },
            later: 0,
        }
    });
    prop::collection::vec(hold, 1001..=1005)
}

/// All that an account may have is used, almost as much is owed, and then the money for it is asked back.
fn in_debt() -> Vec<Step> {
    let hold = |amount| Call::Hold {
        id: Which::New,
        amount,
        ttl: 60_000,
        stale: false,
        period: Month::None,
    };
    let grant = Call::Grant {
        source: 0,
        again: false,
        kind: LotKind::Gift,
        opens: 0,
        lasts: DAY,
        amount: MAX,
    };
    let settle = |amount| Call::Settle { id: Which::Open(0), amount };
    let void = Call::Void { source: 0, total: MAX };
    let calls = [grant, hold(MAX), settle(MAX), hold(0), hold(0), settle(MAX - 3), void];
    calls.map(|call| Step { wait: Wait::Millis(0), call, later: 0 }).to_vec()
}

/// Credits for a crowd, from a source that no other step names.
fn grown(source: usize) -> Vec<Step> {
    let (again, kind, opens, lasts, amount) = (false, LotKind::Gift, 0, 200 * DAY, 2000);
    let call = Call::Grant { source, again, kind, opens, lasts, amount };
    vec![Step { wait: Wait::Millis(0), call, later: 0 }]
}

/// Histories begin with an open gate: before it there is little to see.
fn opened(steps: Vec<Step>) -> History {
    let call = Call::Gate { open_for: 70 * DAY, newer: true };
    let first = Step { wait: Wait::Millis(0), call, later: 0 };
    History { steps: [vec![first], steps].concat() }
}

fn step(amount: BoxedStrategy<u64>, grant: BoxedStrategy<u64>) -> BoxedStrategy<Step> {
    let later = prop_oneof![Just(0), 0..=2 * SECOND, 0..=40 * DAY];
    (wait(), call(amount, grant), later)
        .prop_map(|(wait, call, later)| Step { wait, call, later })
        .boxed()
}

fn wait() -> impl Strategy<Value = Wait> {
    prop_oneof![
        60 => Just(Wait::Millis(0)),
        15 => (0..=3_i64).prop_map(Wait::Millis),
        10 => (0..=20 * SECOND).prop_map(Wait::Millis),
        2 => (0..=2 * DAY).prop_map(Wait::Millis),
        1 => (0..=70 * DAY).prop_map(Wait::Millis),
        4 => (-2 * DAY..=0).prop_map(Wait::Millis),
        9 => (0..2_usize, -1..=1_i64).prop_map(|(nth, past)| Wait::Landmark(nth, past)),
        3 => (0..9_usize, -1..=1_i64).prop_map(|(nth, past)| Wait::Landmark(nth, past)),
    ]
}

fn call(amount: BoxedStrategy<u64>, grant: BoxedStrategy<u64>) -> impl Strategy<Value = Call> {
    let kind = select(vec![LotKind::Gift, LotKind::Purchased]);
    let opens = prop_oneof![4 => Just(0), 1 => -DAY..=DAY];
    let lasts = prop_oneof![
        1 => -1..=1_i64,
        2 => 0..=60 * SECOND,
        2 => 0..=3 * DAY,
        4 => 20 * DAY..=190 * DAY,
        1 => Just(Timestamp::MAX.millis()),
    ];
    let grants = (0..12_usize, prop::bool::weighted(0.3), kind, opens, lasts, grant.clone());
    let open_for = prop_oneof![
        2 => -DAY..=0,
        2 => 0..=20 * SECOND,
        9 => DAY..=100 * DAY,
        3 => 200 * DAY..=300 * DAY,
    ];
    prop_oneof![
        12 => grants.prop_map(|(source, again, kind, opens, lasts, amount)| {
            Call::Grant { source, again, kind, opens, lasts, amount }
        }),
        8 => (open_for, prop::bool::weighted(0.85))
            .prop_map(|(open_for, newer)| Call::Gate { open_for, newer }),
        5 => grant.prop_map(|allowance| Call::Plan { allowance }),
        35 => hold(amount.clone()),
        12 => (which(), prop_oneof![Just(0).boxed(), amount.clone()], ttl(), amount.clone())
            .prop_map(|(id, more, ttl, done)| Call::Extend { id, more, ttl, done }),
        18 => (which(), amount.clone()).prop_map(|(id, amount)| Call::Settle { id, amount }),
        7 => which().prop_map(|id| Call::Release { id }),
        7 => (0..14_usize, amount).prop_map(|(source, total)| Call::Void { source, total }),
    ]
}

fn hold(amount: BoxedStrategy<u64>) -> impl Strategy<Value = Call> {
    let id = prop_oneof![
        14 => Just(Which::New),
        1 => (0..3_usize).prop_map(Which::Open),
        1 => (0..3_usize).prop_map(Which::Expired),
        1 => (0..6_usize).prop_map(Which::Used),
    ];
    let month = prop_oneof![
        5 => Just(Month::None),
        12 => Just(Month::Current),
        1 => Just(Month::Last),
        1 => Just(Month::Next),
        1 => Just(Month::Moved),
        1 => Just(Month::Nothing),
    ];
    (id, amount, ttl(), prop::bool::weighted(0.04), month)
        .prop_map(|(id, amount, ttl, stale, period)| Call::Hold { id, amount, ttl, stale, period })
}

fn which() -> impl Strategy<Value = Which> {
    prop_oneof![
        12 => (0..4_usize).prop_map(Which::Open),
        3 => (0..3_usize).prop_map(Which::Expired),
        2 => (0..8_usize).prop_map(Which::Used),
        1 => Just(Which::New),
    ]
}

fn ttl() -> impl Strategy<Value = u64> {
    prop_oneof![1 => 0..=2_u64, 6 => 1000..=60_000_u64, 2 => 0..=40 * DAY.unsigned_abs()]
}
