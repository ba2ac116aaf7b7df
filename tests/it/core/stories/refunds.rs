//! A refund of what a job was paid from, before and after the job is corrected: nobody owes what was not used.

use proptest::prelude::*;

use super::*;

/// What happens to a purchase of 100 after a job has used 60 of it, which turns out to cost 10.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Refund,
    Correct,
    /// The purchase ends.
    End,
    /// The subscription ends.
    Close,
}
use Turn::{Close, Correct, End, Refund};

fn told(turns: &[Turn]) -> Story {
    let mut story = story();
    story.grant("invoice:1", LotKind::Purchased, 10, 100);
    story.begin(1, 60).unwrap();
    for turn in turns {
        match turn {
            Refund => drop(story.void("invoice:1", 100).unwrap()),
            Correct => drop(story.correct(1, 10).unwrap()),
            End => story.after(10 * HOUR),
            Close => story.gate(story.now),
        }
    }
    story
}

#[test]
fn what_was_used_in_the_end_is_owed_whatever_comes_first() {
    for turns in [
        vec![Refund, Correct],
        vec![Correct, Refund],
        vec![Refund, End, Correct],
        vec![Refund, Correct, End],
        vec![End, Refund, Correct],
        vec![End, Correct, Refund],
        vec![Correct, End, Refund],
        vec![Close, Refund, Correct],
        vec![Refund, Close, End, Correct],
        vec![Refund, Close, Correct, End],
    ] {
        assert_eq!(told(&turns).books(), [0, 0, 10], "{turns:?}");
    }
}

#[test]
fn what_a_purchase_repaid_of_a_refund_comes_back_to_it() {
    for turns in [vec![Refund], vec![Refund, End], vec![End, Refund]] {
        let mut story = told(&turns);
        story.buy("invoice:2", 100);
        assert_eq!(story.books(), [40, 0, 0], "{turns:?}");
        story.correct(1, 10).unwrap();
        assert_eq!(story.books(), [90, 0, 0], "{turns:?}");
    }
}

#[test]
fn a_refund_in_parts_asks_open_jobs_from_the_oldest() {
    let mut story = story();
    let lot = story.buy("invoice:1", 100);
    story.begin(1, 30).unwrap();
    story.begin(2, 50).unwrap();
    assert_eq!(story.void("invoice:1", 40), Ok(voided(20, 20)));
    let owed = |story: &Story| -> Vec<u64> {
        story.pair.account().jobs.iter().map(|job| job.owed.micros()).collect()
    };
    assert_eq!(owed(&story), [20, 0]);
    assert_eq!(story.void("invoice:1", 70), Ok(voided(0, 30)));
    assert_eq!(owed(&story), [30, 20]);
    assert_eq!(story.pair.account().jobs[1].parts, [part(lot, 30)]);
    story.correct(1, 0).unwrap();
    assert_eq!(story.books(), [0, 0, 20]);
    story.correct(2, 0).unwrap();
    assert_eq!(story.books(), [30, 0, 0], "what was not asked back");
    assert_eq!(story.void("invoice:1", 100), Ok(voided(30, 0)));
    assert_eq!(story.books(), [0, 0, 0]);
}

#[test]
fn a_refund_asks_nothing_of_jobs_that_keep_their_charge() {
    let mut story = story();
    story.buy("invoice:1", 100);
    story.begin(1, 60).unwrap();
    story.after(creditgate::credit::CORRECTABLE_MILLIS);
    assert_eq!(story.void("invoice:1", 100), Ok(voided(40, 60)));
    assert_eq!(story.books(), [0, 0, 60]);
}

proptest! {
    /// Other calls use the purchase as well, the refund comes in two parts, and the job may turn out dearer.
    #[test]
    fn nobody_owes_more_than_was_used(
        (granted, other, estimate, cost) in (1..=100_u64, 0..=40_u64, 0..=120_u64, 0..=120_u64),
        parts in (0..=100_u64, 0..=100_u64),
        turns in Just([0, 1, 2, 3, 4]).prop_shuffle(),
        ends in any::<bool>(),
        closes in any::<bool>(),
    ) {
        let mut story = story();
        story.grant("invoice:1", LotKind::Purchased, 10, granted);
        story.charge(2, other).unwrap();
        story.begin(1, estimate).unwrap();
        for turn in turns {
            match turn {
                0 => drop(story.void("invoice:1", parts.0).unwrap()),
                1 => drop(story.void("invoice:1", parts.1).unwrap()),
                2 => drop(story.correct(1, cost).unwrap()),
                3 if ends => story.after(10 * HOUR),
                4 if closes => story.gate(story.now),
                _ => {}
            }
        }
        let asked = parts.0.max(parts.1).min(granted);
        let [unheld, _, debt] = story.books();
        let used = other + cost;
        prop_assert!(debt <= used, "{debt} is owed, {used} was used");
        let balance = i128::from(unheld) - i128::from(debt);
        let left = i128::from(granted) - i128::from(asked) - i128::from(used);
        if ends {
            prop_assert!(unheld == 0);
        } else {
            prop_assert_eq!(balance, left);
        }
    }
}
