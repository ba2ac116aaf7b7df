use proptest::prelude::*;

use super::*;

const NAME: ClaimName = ClaimName([7; 32]);
const HOUR: u64 = 3_600_000;

fn id(millis: i64, number: u32) -> Id {
    Id::from_u128(u128::from(millis.unsigned_abs()) << 80 | u128::from(number))
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn by_key(known: Option<(Claim, Fate)>, call: Id, now: i64) -> Result<Decision, Repeated> {
    let claims = Claims { key: Some(NAME), task: None };
    decide(&claims, known, None, call, at(now))
}

#[test]
fn what_a_repetition_is_follows_from_what_became_of_the_attempt() {
    let first = by_key(None, id(1_000, 1), 1_000).unwrap();
    let claim = first.key.unwrap();
    assert!(!first.rides);
    let next = |claim, fate| by_key(Some((claim, fate)), id(2_000, 2), 2_000);
    assert_eq!(next(claim, Fate::Running), Err(Repeated::Running));
    let failed = next(claim, Fate::Nothing).unwrap();
    assert!(!failed.rides && failed.gives_up == [None, None]);
    let ran_out = next(claim, Fate::RanOut).unwrap();
    assert!(!ran_out.rides && ran_out.gives_up == [Some(claim.call), None]);
    let again = next(claim, Fate::Charged).unwrap();
    assert!(again.rides && again.key.unwrap().call == id(2_000, 2));
    assert_eq!(next(Claim { delivered: true, ..claim }, Fate::Charged), Err(Repeated::Delivered));
    // A whole answer that carried nothing was not charged, and may be asked for anew.
    assert!(!next(Claim { delivered: true, ..claim }, Fate::Nothing).unwrap().rides);
}

#[test]
fn an_answer_is_sent_again_three_times_and_failures_do_not_count() {
    let mut claim = by_key(None, id(0, 0), 0).unwrap().key.unwrap();
    for number in 1..=SENT_AGAIN_MAX {
        let again = by_key(Some((claim, Fate::Charged)), id(0, number), 0).unwrap();
        assert!(again.rides, "{number}");
        claim = again.key.unwrap();
        let failed = by_key(Some((claim, Fate::Nothing)), id(0, 10 + number), 0).unwrap();
        assert!(failed.rides);
        claim = failed.key.unwrap();
    }
    assert_eq!(by_key(Some((claim, Fate::Charged)), id(0, 9), 0), Err(Repeated::SentOften));
}

#[test]
fn a_claim_is_forgotten_with_the_ids() {
    let claim = by_key(None, id(0, 0), 0).unwrap().key.unwrap();
    let last = i64::try_from(REMEMBERED_MILLIS).unwrap() - 1;
    assert!(by_key(Some((claim, Fate::Charged)), id(last, 1), last).unwrap().rides);
    assert!(!by_key(Some((claim, Fate::Charged)), id(last, 1), last + 1).unwrap().rides);
}

#[test]
fn what_is_paid_for_does_not_count_in_its_task() {
    let task = Task { name: NAME, calls: 2, millis: HOUR };
    let claims = Claims { key: Some(NAME), task: Some(task) };
    let first = decide(&claims, None, None, id(0, 1), at(0)).unwrap();
    assert!(!first.rides && first.task.unwrap().call == id(0, 1));
    let known = |claim: Option<Claim>| claim.map(|claim| (claim, Fate::Charged));
    let again = decide(&claims, known(first.key), known(first.task), id(0, 2), at(0)).unwrap();
    assert!(again.rides && again.task.is_none());
    let other = decide(&claims, None, known(first.task), id(0, 3), at(0)).unwrap();
    assert!(other.rides && other.task.unwrap().count == 2);
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Charged),
        1 => Just(Fate::Running),
        1 => Just(Fate::Nothing),
        1 => Just(Fate::RanOut),
    ]
}

proptest! {
    /// However its calls end: between two that pay there are less than `calls` that ride, and none beyond the time.
    #[test]
    fn one_payment_is_good_for_so_many_calls_and_so_long(
        calls in 1u32..6,
        steps in prop::collection::vec((fates(), 0i64..400_000), 1..60),
    ) {
        let task = Task { name: NAME, calls, millis: HOUR / 3 };
        let claims = Claims { key: None, task: Some(task) };
        let (mut now, mut known, mut paid_at, mut riding) = (0, None, None, 0);
        for (number, (fate, pause)) in steps.into_iter().enumerate() {
            now += pause;
            let call = id(now, u32::try_from(number).unwrap());
            let former = known.map(|claim| (claim, fate));
            let decided = decide(&claims, None, former, call, at(now)).unwrap();
            if decided.rides {
                riding += 1;
                prop_assert!(riding < calls);
                let since: i64 = paid_at.unwrap();
                prop_assert!(now - since < i64::try_from(task.millis).unwrap());
                prop_assert!(matches!(fate, Fate::Charged | Fate::Running));
            } else {
                (paid_at, riding) = (Some(now), 0);
                prop_assert_eq!(decided.task.unwrap().call, call);
            }
            known = decided.task;
        }
    }

    /// However its attempts end: one that was charged is never charged again, and is sent again three times at most.
    #[test]
    fn a_key_is_charged_once(fates in prop::collection::vec(fates(), 1..40)) {
        let (mut known, mut charged, mut worked) = (None::<Claim>, 0, 0);
        for (number, fate) in fates.into_iter().enumerate() {
            if let Some(claim) = known && fate == Fate::Charged {
                worked += 1;
                charged += u32::from(!claim.paid);
            }
            prop_assert!(charged <= 1);
            let former = known.map(|claim| (claim, fate));
            match by_key(former, id(0, u32::try_from(number).unwrap()), 0) {
                Ok(decision) => {
                    prop_assert_eq!(decision.rides, charged > 0);
                    known = decision.key;
                }
                Err(Repeated::Running) => {}
                Err(repeated) => {
                    prop_assert_eq!(repeated, Repeated::SentOften);
                    prop_assert_eq!(worked, 1 + SENT_AGAIN_MAX);
                    return Ok(());
                }
            }
        }
    }

    #[test]
    fn a_claim_is_written_and_read_again(
        call: u128, since in 0i64..1 << 50, count: u32, paid: bool, delivered: bool, ends in 0i64..1 << 50,
    ) {
        let claim = Claim {
            call: Id::from_u128(call), since: at(since), count, paid, delivered, ends: at(ends),
        };
        prop_assert_eq!(claim.to_string().parse(), Ok(claim));
    }

    #[test]
    fn other_texts_are_no_claims(text in "[0-9a-f ]{0,60}") {
        let _ = text.parse::<Claim>();
    }
}
