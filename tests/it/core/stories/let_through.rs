//! Calls that ran while the ledger was away, charged afterwards.

use super::*;

#[test]
fn a_call_that_was_let_through_takes_what_nobody_holds_and_then_becomes_debt() {
    let mut story = story();
    let gift = story.grant("gift:1", LotKind::Gift, 10, 3);
    let bought = story.buy("checkout:1", 4);
    story.hold(1, 2).unwrap();
    assert_eq!(story.charge(2, 3), Ok(settled(3, 0)));
    let parts = vec![part(gift, 1), part(bought, 2)];
    let (hold, charged, owed) = (Id::from_u128(2), micros(3), Credits::ZERO);
    assert_eq!(
        story.last(),
        &Fact::Charge { hold, charged, parts, owed, feature: None, work: None, job: None }
    );
    assert_eq!(story.charge(3, 5), Ok(settled(5, 3)), "never refused for lack of credits");
    assert_eq!(story.books(), [0, 2, 3]);
    assert_eq!(story.charge(4, 1), Ok(settled(1, 1)), "nor in debt");
    assert_eq!(story.charge(5, 0), Ok(settled(0, 0)));
    assert_eq!(story.last().hold(), Some(Id::from_u128(5)), "a call of no price is told of too");
    assert_eq!(story.release(1), Ok(Done::Released));
    assert_eq!(story.books(), [0, 0, 2], "what comes back repays");
}

#[test]
fn a_call_that_was_let_through_settles_its_hold_if_there_was_one_after_all() {
    let mut story = story();
    story.buy("checkout:1", 10);
    story.hold(1, 3).unwrap();
    story.hold(2, 3).unwrap();
    assert_eq!(story.charge(1, 2), Ok(settled(2, 0)));
    assert!(matches!(story.last(), Fact::Settle { late: false, .. }), "{:?}", story.last());
    assert_eq!(story.books(), [5, 3, 0], "the rest of its hold is free");
    assert_eq!(story.confirm(2, 1), Ok(Done::Extended));
    story.after(HOUR);
    assert_eq!(story.charge(2, 3), Ok(settled(2, 0)), "one was charged when its hold expired");
    assert!(matches!(story.last(), Fact::Settle { late: true, .. }), "{:?}", story.last());
    assert_eq!(story.books(), [5, 0, 0]);
}

#[test]
fn a_call_that_was_let_through_takes_nothing_through_a_closed_gate() {
    let mut story = story();
    story.buy("checkout:1", 6);
    story.hold(1, 2).unwrap();
    story.gate(story.now);
    story.month(3);
    assert_eq!(story.charge(2, 3), Ok(settled(3, 3)));
    assert_eq!(story.books(), [4, 2, 3], "no lot is touched, no month opened");
    assert_eq!(story.charge(1, 2), Ok(settled(2, 0)), "but for what was held before");
    story.gate(Timestamp::MAX);
    assert_eq!(story.books(), [1, 0, 0], "repaid as the gate opens");
}

#[test]
fn a_call_that_was_let_through_opens_the_month() {
    let mut story = story();
    story.buy("checkout:1", 5);
    story.month(3);
    assert_eq!(story.charge(1, 4), Ok(settled(4, 0)));
    assert_eq!(story.funds().plan, micros(0));
    assert_eq!(story.funds().purchased, micros(4));
    assert_eq!(story.hold(2, 5), Err(Refusal::Exhausted), "opened once");
}
