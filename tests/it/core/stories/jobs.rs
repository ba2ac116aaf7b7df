//! Work that goes on after its answer: charged its estimate, and corrected once.

use super::*;
use creditgate::credit::{CORRECTABLE_MILLIS, JOBS_MAX};

impl Story {
    /// A call that was charged its estimate and goes on.
    pub(super) fn begin(&mut self, id: u128, estimate: u64) -> Result<Done, Refusal> {
        let job = Some("openai/resp_1;input=1".parse().unwrap());
        let period = self.period;
        self.step(
            id,
            &Operation::Charge { amount: micros(estimate), period, work: None, job, feature: None },
        )
    }

    pub(super) fn correct(&mut self, call: u128, amount: u64) -> Result<Done, Refusal> {
        let (call, amount) = (Id::from_u128(call), micros(amount));
        self.step(0, &Operation::Correct { call, amount, work: None })
    }
}

fn corrected(before: u64, charged: u64, owed: u64) -> Done {
    let [before, charged, owed] = [before, charged, owed].map(micros);
    Done::Corrected { before, charged, owed }
}

#[test]
fn a_job_is_corrected_once() {
    let mut story = story();
    story.buy("invoice:1", 100);
    assert_eq!(story.begin(1, 30), Ok(settled(30, 0)));
    assert_eq!(story.correct(1, 20), Ok(corrected(30, 20, 0)));
    assert_eq!(story.books(), [80, 0, 0]);
    assert_eq!(story.correct(1, 10), Err(Refusal::AlreadyResolved));
    assert_eq!(story.books(), [80, 0, 0]);
}

#[test]
fn a_job_that_cost_more_takes_what_nobody_holds_and_then_becomes_debt() {
    let mut story = story();
    story.buy("invoice:1", 100);
    story.begin(1, 30).unwrap();
    story.hold(2, 50).unwrap();
    assert_eq!(story.correct(1, 60), Ok(corrected(30, 60, 10)));
    assert_eq!(story.books(), [0, 50, 10]);
    // What the other call doesn't need repays it.
    story.release(2).unwrap();
    assert_eq!(story.books(), [40, 0, 0]);
}

#[test]
fn a_job_that_cost_less_gives_back_its_debt_first_and_then_the_lots() {
    let mut story = story();
    let (first, second) =
        (story.grant("gift:1", LotKind::Gift, 50, 10), story.buy("invoice:1", 10));
    assert_eq!(story.begin(1, 25), Ok(settled(25, 5)));
    assert_eq!(story.correct(1, 8), Ok(corrected(25, 8, 0)));
    assert_eq!(story.books(), [12, 0, 0]);
    let Fact::Correct { back, repaid, lost, .. } = story.last() else { panic!() };
    assert_eq!(back, &[part(second, 10), part(first, 2)]);
    assert_eq!((*repaid, *lost), (micros(5), Credits::ZERO));
}

#[test]
fn what_repaid_the_debt_of_a_job_comes_back_with_it() {
    let mut story = story();
    story.buy("invoice:1", 10);
    assert_eq!(story.begin(1, 30), Ok(settled(30, 20)));
    // All of the purchase goes to the debt.
    let second = story.buy("invoice:2", 20);
    assert_eq!(story.books(), [0, 0, 0]);
    assert_eq!(story.correct(1, 0), Ok(corrected(30, 0, 0)));
    assert_eq!(story.books(), [30, 0, 0]);
    let Fact::Correct { back, lost, .. } = story.last() else { panic!() };
    assert_eq!((back.last(), *lost), (Some(&part(second, 20)), Credits::ZERO));
}

#[test]
fn what_came_from_a_lot_that_has_ended_is_gone() {
    let mut story = story();
    let gift = story.grant("gift:1", LotKind::Gift, 1, 10);
    story.begin(1, 10).unwrap();
    story.after(HOUR);
    assert_eq!(story.correct(1, 4), Ok(corrected(10, 4, 0)));
    assert_eq!(story.books(), [0, 0, 0]);
    assert_eq!(story.last(), &Fact::LotExpired { lot: gift, amount: micros(6) });
    assert!(story.pair.account().lots.is_empty(), "nothing more can come back to it");
}

#[test]
fn a_job_is_corrected_through_a_closed_gate() {
    let mut story = story();
    story.buy("invoice:1", 100);
    story.begin(1, 30).unwrap();
    story.gate(story.now);
    assert_eq!(story.correct(1, 200), Ok(corrected(30, 200, 100)));
    assert_eq!(story.books(), [0, 0, 100]);
}

#[test]
fn a_job_keeps_its_charge_after_35_days() {
    let mut story = story();
    story.buy("invoice:1", 100);
    story.begin(1, 30).unwrap();
    story.begin(2, 30).unwrap();
    story.after(CORRECTABLE_MILLIS - 1);
    assert_eq!(story.correct(1, 20), Ok(corrected(30, 20, 0)));
    story.after(1);
    assert_eq!(story.correct(2, 20), Err(Refusal::AlreadyResolved));
    assert_eq!(story.books(), [50, 0, 0]);
}

#[test]
fn only_the_newest_jobs_are_corrected() {
    let mut story = story();
    story.buy("invoice:1", 10_000);
    let most = JOBS_MAX as u128;
    for call in 1..=most + 1 {
        story.begin(call, 2).unwrap();
    }
    assert_eq!(story.pair.account().jobs.len(), JOBS_MAX);
    assert_eq!(story.correct(1, 1), Err(Refusal::AlreadyResolved));
    assert_eq!(story.correct(2, 1), Ok(corrected(2, 1, 0)));
    assert_eq!(story.correct(most + 1, 1), Ok(corrected(2, 1, 0)));
}
