//! What an account lives through, told with numbers that a person can check. Each step goes to the model too.

mod jobs;
mod let_through;
mod refunds;

use chrono::DateTime;
use chrono_tz::Tz;
use creditgate::credit::{
    Credits, Done, Fact, Funds, Id, LotKind, Operation, Part, Period, Refusal, Timestamp,
};

use super::pair::Pair;

const HOUR: u64 = 3_600_000;

/// One account, at an instant that only moves when told to. Amounts are µ.
struct Story {
    pair: Pair,
    now: Timestamp,
    period: Option<Period>,
    version: u64,
}

/// An account whose gate stands open.
fn story() -> Story {
    let now = at("2026-01-31T10:00:00Z");
    let mut story = Story { pair: Pair::default(), now, period: None, version: 0 };
    story.gate(Timestamp::MAX);
    story
}

impl Story {
    fn step(&mut self, id: u128, operation: &Operation) -> Result<Done, Refusal> {
        self.pair.step(Id::from_u128(id), operation, self.now).unwrap()
    }

    fn after(&mut self, millis: u64) {
        self.now = self.now.after_millis(millis);
    }

    fn gate(&mut self, until: Timestamp) {
        self.version += 1;
        let gate = Operation::Gate { until, version: self.version };
        assert_eq!(self.step(0, &gate), Ok(Done::Gated { ignored: false }));
    }

    fn grant(&mut self, source: &str, kind: LotKind, hours: u64, amount: u64) -> u32 {
        let (start, end) = (self.now, self.now.after_millis(hours * HOUR));
        let source = source.parse().unwrap();
        let grant = Operation::Grant { source, kind, start, end, amount: micros(amount) };
        match self.step(0, &grant) {
            Ok(Done::Granted { lot, .. }) => lot,
            other => panic!("{other:?}"),
        }
    }

    fn buy(&mut self, source: &str, amount: u64) -> u32 {
        self.grant(source, LotKind::Purchased, 4000, amount)
    }

    /// A hold for one hour.
    fn hold(&mut self, id: u128, amount: u64) -> Result<Done, Refusal> {
        let (version, period) = (self.version, self.period);
        let hold = Operation::Hold {
            amount: micros(amount),
            ttl_millis: HOUR,
            version,
            period,
            feature: None,
        };
        self.step(id, &hold)
    }

    fn settle(&mut self, id: u128, amount: u64) -> Result<Done, Refusal> {
        self.step(id, &Operation::Settle { amount: micros(amount), work: None, job: None })
    }

    fn release(&mut self, id: u128) -> Result<Done, Refusal> {
        self.step(id, &Operation::Release)
    }

    fn charge(&mut self, id: u128, amount: u64) -> Result<Done, Refusal> {
        self.step(
            id,
            &Operation::Charge {
                amount: micros(amount),
                period: self.period,
                work: None,
                job: None,
                feature: None,
            },
        )
    }

    fn confirm(&mut self, id: u128, done: u64) -> Result<Done, Refusal> {
        let (more, done) = (Credits::ZERO, micros(done));
        self.step(id, &Operation::Extend { beat: 1, more, ttl_millis: 0, done })
    }

    fn void(&mut self, source: &str, total: u64) -> Result<Done, Refusal> {
        let source = source.parse().unwrap();
        self.step(0, &Operation::Void { source, total: micros(total) })
    }

    fn plan(&mut self, allowance: u64) -> Result<Done, Refusal> {
        self.step(0, &Operation::Plan { allowance: micros(allowance) })
    }

    /// A plan whose months count from the story's first instant.
    fn month(&mut self, allowance: u64) {
        let anchor = at("2026-01-31T10:00:00Z");
        self.period = Period::containing(anchor, Tz::UTC, micros(allowance), self.now);
    }

    fn funds(&self) -> Funds {
        self.pair.account().funds(self.now)
    }

    /// Unheld credits, those held, and what is owed.
    fn books(&self) -> [u64; 3] {
        let funds = self.funds();
        [funds.unheld(), funds.held, funds.debt].map(Credits::micros)
    }

    fn last(&self) -> &Fact {
        &self.pair.log().last().unwrap().fact
    }
}

fn at(text: &str) -> Timestamp {
    Timestamp::from_millis(text.parse::<DateTime<chrono::Utc>>().unwrap().timestamp_millis())
}

fn micros(amount: u64) -> Credits {
    Credits::from_micros(amount).unwrap()
}

fn settled(charged: u64, owed: u64) -> Done {
    Done::Settled { charged: micros(charged), owed: micros(owed) }
}

fn voided(taken: u64, owed: u64) -> Done {
    Done::Voided { taken: micros(taken), owed: micros(owed) }
}

fn part(lot: u32, amount: u64) -> Part {
    Part { lot, amount: micros(amount) }
}

#[test]
fn the_plan_is_used_before_what_was_bought_and_one_hold_may_need_both() {
    let mut story = story();
    let bought = story.buy("checkout:1", 5);
    story.month(3);
    assert_eq!(story.hold(1, 4), Ok(Done::Held));
    let plan = bought + 1;
    let Fact::Hold { parts, .. } = story.last() else { panic!("{:?}", story.last()) };
    assert_eq!(parts, &[part(plan, 3), part(bought, 1)]);

    assert_eq!(story.settle(1, 4), Ok(settled(4, 0)));
    assert_eq!(story.funds().plan, micros(0));
    assert_eq!(story.funds().purchased, micros(4));
    assert_eq!(story.hold(2, 4), Ok(Done::Held));
    assert_eq!(story.settle(2, 1), Ok(settled(1, 0)));
    assert_eq!(story.funds().purchased, micros(3), "the rest goes back where it came from");
}

#[test]
fn an_overrun_takes_only_what_nobody_holds_and_then_becomes_debt() {
    let mut story = story();
    story.buy("checkout:1", 10);
    story.hold(1, 6).unwrap();
    story.hold(2, 2).unwrap();
    assert_eq!(story.settle(1, 11), Ok(settled(11, 3)));
    assert_eq!(story.books(), [0, 2, 3]);
    assert_eq!(story.hold(3, 1), Err(Refusal::Owed));
    assert_eq!(story.settle(2, 1), Ok(settled(1, 0)), "a hold from before is not the debt's");
    assert_eq!(story.books(), [0, 0, 2], "what comes back repays");
    story.buy("checkout:2", 5);
    assert_eq!(story.books(), [3, 0, 0]);
    assert_eq!(story.hold(3, 1), Ok(Done::Held));
}

#[test]
fn an_expired_hold_costs_its_confirmed_work_and_the_rest_when_it_settles_late() {
    let mut story = story();
    story.buy("checkout:1", 10);
    story.hold(1, 5).unwrap();
    story.hold(2, 1).unwrap();
    assert_eq!(story.confirm(1, 2), Ok(Done::Extended));
    story.after(HOUR);
    assert_eq!(story.release(1), Err(Refusal::AlreadyResolved));
    assert_eq!(story.books(), [8, 0, 0]);
    assert_eq!(story.hold(1, 1), Err(Refusal::Conflict));

    story.after(72 * HOUR - 1);
    assert_eq!(story.settle(1, 5), Ok(settled(3, 0)));
    assert_eq!(story.settle(1, 5), Err(Refusal::AlreadyResolved));
    assert_eq!(story.books(), [5, 0, 0]);
    story.after(1);
    story.hold(3, 1).unwrap();
    assert_eq!(story.settle(2, 1), Err(Refusal::AlreadyResolved), "72 hours are over");
}

#[test]
fn a_refund_takes_what_is_left_and_then_what_was_used() {
    let mut story = story();
    story.buy("invoice:1", 10);
    story.hold(1, 4).unwrap();
    story.settle(1, 4).unwrap();
    story.hold(2, 3).unwrap();
    assert_eq!(story.void("invoice:1", 2), Ok(voided(2, 0)));
    assert_eq!(story.void("invoice:1", 2), Ok(voided(0, 0)), "the total counts, not the message");
    assert_eq!(story.void("invoice:1", 99), Ok(voided(1, 7)));
    assert_eq!(story.books(), [0, 3, 7]);
    assert_eq!(story.release(2), Ok(Done::Released));
    assert_eq!(story.books(), [0, 0, 4], "the four that were used remain owed");
    assert_eq!(story.void("invoice:2", 1), Err(Refusal::UnknownSource));
}

#[test]
fn a_refund_does_not_ask_for_what_expired() {
    let mut story = story();
    story.grant("invoice:1", LotKind::Gift, 2, 10);
    story.hold(1, 4).unwrap();
    story.settle(1, 4).unwrap();
    story.after(2 * HOUR);
    assert_eq!(story.release(1), Err(Refusal::AlreadyResolved));
    assert_eq!(story.void("invoice:1", 10), Ok(voided(0, 4)));
}

#[test]
fn a_closed_gate_freezes_what_was_bought_and_lets_open_holds_settle() {
    let mut story = story();
    story.grant("checkout:1", LotKind::Purchased, 10, 6);
    story.buy("checkout:2", 3);
    story.hold(1, 2).unwrap();
    story.gate(story.now);
    assert_eq!(story.hold(2, 1), Err(Refusal::Inactive));
    assert_eq!(story.funds().spendable(), Credits::ZERO);
    assert_eq!(story.settle(1, 1), Ok(settled(1, 0)));
    assert_eq!(story.books(), [8, 0, 0], "frozen, not lost");
    story.after(10 * HOUR);
    story.gate(Timestamp::MAX);
    assert_eq!(story.books(), [3, 0, 0], "the end date still ran");
    assert_eq!(story.hold(2, 3), Ok(Done::Held));
}

#[test]
fn another_record_makes_the_gateway_look_again() {
    let mut story = story();
    story.buy("checkout:1", 1);
    story.gate(story.now);
    for read in [1, 3] {
        story.version = read;
        assert_eq!(story.hold(1, 1), Err(Refusal::Stale { version: 2 }));
    }
    let older = Operation::Gate { until: Timestamp::MAX, version: 2 };
    assert_eq!(story.step(0, &older), Ok(Done::Gated { ignored: true }));
    story.version = 2;
    assert_eq!(story.hold(1, 1), Err(Refusal::Inactive));
}

#[test]
fn a_new_month_opens_inside_the_hold_that_needs_it() {
    let mut story = story();
    story.buy("checkout:1", 5);
    story.month(3);
    story.hold(1, 1).unwrap();
    story.settle(1, 1).unwrap();
    assert_eq!(story.hold(2, 7), Ok(Done::Held), "2 of the plan and 5 bought: opened once");
    story.release(2).unwrap();

    story.now = at("2026-02-28T10:00:00Z");
    story.month(3);
    assert_eq!(story.books(), [5, 0, 0], "the rest of January is gone");
    assert_eq!(story.hold(3, 8), Ok(Done::Held), "3 of the new month, 5 bought");
    assert_eq!(story.funds().plan_end, Some(at("2026-03-31T10:00:00Z")));
}

#[test]
fn the_31st_comes_back_after_february() {
    let mut story = story();
    let months = ["2026-02-28T10:00:00Z", "2026-03-31T10:00:00Z", "2026-04-30T10:00:00Z"];
    for (id, end) in (1..).zip(months) {
        story.month(1);
        assert_eq!(story.hold(id, 1), Ok(Done::Held));
        assert_eq!(story.settle(id, 1), Ok(settled(1, 0)));
        story.now = Timestamp::from_millis(at(end).millis() - 1);
        story.month(1);
        assert_eq!(story.hold(id + 10, 1), Err(Refusal::Exhausted), "still the old month");
        assert_eq!(story.funds().plan_end, Some(at(end)));
        story.after(1);
    }
}

#[test]
fn plans_changed_to_and_fro_never_add_up() {
    let mut story = story();
    story.month(5);
    story.hold(1, 2).unwrap();
    story.settle(1, 2).unwrap();
    assert_eq!(story.plan(10), Ok(Done::Planned { change: 5 }));
    assert_eq!(story.plan(5), Ok(Done::Planned { change: -5 }));
    assert_eq!(story.plan(1), Ok(Done::Planned { change: -3 }));
    assert_eq!(story.books(), [0, 0, 0], "two were used: nothing is left of one");
    assert_eq!(story.plan(5), Ok(Done::Planned { change: 3 }), "and nothing is asked back");
    story.hold(2, 2).unwrap();
    assert_eq!(story.plan(0), Ok(Done::Planned { change: -1 }), "what is held stays");
    assert_eq!(story.settle(2, 2), Ok(settled(2, 0)));
}

#[test]
fn a_hold_keeps_its_credits_beyond_the_end_of_their_lot() {
    let mut story = story();
    story.grant("gift:1", LotKind::Gift, 1, 4);
    story.after(HOUR / 2);
    story.hold(1, 3).unwrap();
    story.after(HOUR / 2);
    assert_eq!(story.settle(1, 2), Ok(settled(2, 0)));
    assert_eq!(story.books(), [0, 0, 0], "the third went with its lot");
}

#[test]
fn a_source_grants_once() {
    let mut story = story();
    let lot = story.buy("checkout:1", 5);
    let [start, end] = [0, 4000 * HOUR].map(|millis| story.now.after_millis(millis));
    let again = |amount, end| {
        let (source, kind) = ("checkout:1".parse().unwrap(), LotKind::Purchased);
        Operation::Grant { source, kind, start, end, amount: micros(amount) }
    };
    assert_eq!(story.step(0, &again(5, end)), Ok(Done::GrantedBefore { lot }));
    assert_eq!(story.step(0, &again(6, end)), Err(Refusal::Conflict));
    assert_eq!(story.step(0, &again(5, start)), Err(Refusal::Conflict));
    assert_eq!(story.books(), [5, 0, 0]);
}

#[test]
fn a_window_that_has_ended_opens_no_lot() {
    let mut story = story();
    let (start, now) = (story.now, story.now.after_millis(HOUR));
    let grant = |end| {
        let (source, kind) = ("gift:1".parse().unwrap(), LotKind::Gift);
        Operation::Grant { source, kind, start, end, amount: micros(1) }
    };
    story.now = now;
    assert_eq!(story.step(0, &grant(now)), Err(Refusal::Ended), "the end is exclusive");
    assert!(story.step(0, &grant(now.after_millis(1))).is_ok());
}

#[test]
fn a_refund_does_not_ask_for_what_expires_in_its_own_step() {
    let mut story = story();
    story.grant("invoice:1", LotKind::Gift, 1, 10);
    story.after(HOUR);
    assert_eq!(story.void("invoice:1", 10), Ok(voided(0, 0)));
}

#[test]
fn after_72_hours_an_expired_hold_is_forgotten() {
    let mut story = story();
    story.buy("checkout:1", 10);
    story.hold(1, 5).unwrap();
    story.after(HOUR);
    assert_eq!(story.confirm(1, 1), Err(Refusal::AlreadyResolved), "expired");
    story.after(72 * HOUR);
    assert_eq!(story.settle(1, 5), Err(Refusal::AlreadyResolved));
    assert_eq!(story.release(1), Err(Refusal::AlreadyResolved));
}

#[test]
fn a_call_that_came_to_nothing_is_said_to_also_after_its_hold_ran_out() {
    let mut story = story();
    story.buy("checkout:1", 10);
    story.hold(1, 5).unwrap();
    story.after(HOUR);
    assert_eq!(story.release(1), Ok(Done::Released));
    assert_eq!(story.books(), [10, 0, 0]);
    assert_eq!(story.settle(1, 5), Err(Refusal::AlreadyResolved), "resolved once");
    assert_eq!(story.release(1), Err(Refusal::AlreadyResolved));
}
