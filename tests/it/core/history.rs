//! Random histories. A step says what to do in words that mean something in any account ("the second open hold",
//! "just before the next instant that matters"), so that it stays meaningful when others are left out of a
//! failing history; the resolver turns it into the operation.

mod resolver;

use creditgate::credit::{Credits, LotKind, Timestamp};
use proptest::prelude::*;
use proptest::sample::select;

pub(crate) use resolver::Resolver;

const SECOND: i64 = 1000;
const DAY: i64 = 86_400 * SECOND;
const MAX: u64 = Credits::MAX.micros();

#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
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
    Settle { id: Which, amount: u64, job: bool },
    Correct { nth: usize, amount: u64 },
    Release { id: Which },
    Charge { id: Which, amount: u64, period: Month, job: bool },
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

/// Which month of the plan a hold or a charge brings.
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

/// Everyday histories: few lots and small amounts, so that accounts run out.
pub(crate) fn small() -> impl Strategy<Value = History> {
    let amount = prop_oneof![12 => 0..=6_u64, 3 => 0..=25_u64, 1 => 0..=3_000_001_u64].boxed();
    let grant = prop_oneof![6 => 1..=12_u64, 2 => 0..=60_u64, 1 => 0..=5_000_003_u64].boxed();
    prop::collection::vec(step(amount, grant), 40..=200).prop_map(opened)
}

/// Histories at the limit of what an account may hold.
pub(crate) fn vast() -> impl Strategy<Value = History> {
    let near = prop_oneof![0..=6_u64, MAX / 2 - 2..=MAX / 2 + 2, MAX - 6..=MAX].boxed();
    let owing = prop::bool::ANY.prop_map(|owing| if owing { in_debt() } else { vec![] });
    let rest = prop::collection::vec(step(near.clone(), near), 40..=120);
    (owing, rest).prop_map(|(owing, rest)| opened([owing, rest].concat()))
}

/// Histories with as many holds as an account may have, twice within the time for which expired ones are
/// remembered, and with more jobs than may be corrected.
pub(crate) fn crowded() -> impl Strategy<Value = History> {
    let amount = (0..=3_u64).boxed();
    let rest = prop::collection::vec(step(amount.clone(), amount), 30..=60);
    (crowd(), rest.clone(), crowd(), jobs(), rest).prop_map(|(crowd, rest, more, jobs, end)| {
        let gate = Call::Gate { open_for: 300 * DAY, newer: true };
        let open = vec![Step { wait: Wait::Millis(0), call: gate.clone(), later: 0 }];
        let expire = vec![Step { wait: Wait::Millis(DAY), call: gate, later: 0 }];
        let first = [grown(20), crowd, rest.clone(), expire.clone()].concat();
        opened([first, open, grown(30), more, jobs, expire, rest, end].concat())
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

/// Calls that were let through and began a job, between corrections of earlier ones.
fn jobs() -> impl Strategy<Value = Vec<Step>> {
    let step = |call| Step { wait: Wait::Millis(1), call, later: 0 };
    let charge = (0..=1_u64).prop_map(move |amount| {
        step(Call::Charge { id: Which::New, amount, period: Month::None, job: true })
    });
    let correct = (0..300_usize, 0..=3_u64)
        .prop_map(move |(nth, amount)| step(Call::Correct { nth, amount }));
    prop::collection::vec(prop_oneof![19 => charge, 1 => correct], 300..=320)
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
    let settle = |amount| Call::Settle { id: Which::Open(0), amount, job: false };
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
    // A window may also end at this very instant, or 1 ms beside it.
    let ending = (1..=DAY, -1..=1_i64).prop_map(|(ago, past)| (-ago, ago + past));
    let window = prop_oneof![8 => (opens, lasts), 1 => ending];
    let grants = (0..12_usize, prop::bool::weighted(0.3), kind, window, grant.clone());
    let open_for = prop_oneof![
        2 => -DAY..=0,
        2 => 0..=20 * SECOND,
        9 => DAY..=100 * DAY,
        3 => 200 * DAY..=300 * DAY,
    ];
    prop_oneof![
        12 => grants.prop_map(|(source, again, kind, (opens, lasts), amount)| {
            Call::Grant { source, again, kind, opens, lasts, amount }
        }),
        8 => (open_for, prop::bool::weighted(0.85))
            .prop_map(|(open_for, newer)| Call::Gate { open_for, newer }),
        5 => grant.prop_map(|allowance| Call::Plan { allowance }),
        35 => hold(amount.clone()),
        12 => (which(), prop_oneof![Just(0).boxed(), amount.clone()], ttl(), amount.clone())
            .prop_map(|(id, more, ttl, done)| Call::Extend { id, more, ttl, done }),
        18 => (which(), amount.clone(), any::<bool>())
            .prop_map(|(id, amount, job)| Call::Settle { id, amount, job }),
        6 => (0..4_usize, amount.clone()).prop_map(|(nth, amount)| Call::Correct { nth, amount }),
        7 => which().prop_map(|id| Call::Release { id }),
        6 => charge(amount.clone()),
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
    (id, amount, ttl(), prop::bool::weighted(0.04), month())
        .prop_map(|(id, amount, ttl, stale, period)| Call::Hold { id, amount, ttl, stale, period })
}

/// Mostly of calls that never came to a hold.
fn charge(amount: BoxedStrategy<u64>) -> impl Strategy<Value = Call> {
    let id = prop_oneof![
        6 => Just(Which::New),
        3 => (0..4_usize).prop_map(Which::Open),
        2 => (0..3_usize).prop_map(Which::Expired),
        4 => (0..6_usize).prop_map(Which::Used),
    ];
    (id, amount, month(), any::<bool>()).prop_map(|(id, amount, period, job)| Call::Charge {
        id,
        amount,
        period,
        job,
    })
}

fn month() -> impl Strategy<Value = Month> {
    prop_oneof![
        5 => Just(Month::None),
        12 => Just(Month::Current),
        1 => Just(Month::Last),
        1 => Just(Month::Next),
        1 => Just(Month::Moved),
        1 => Just(Month::Nothing),
    ]
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
