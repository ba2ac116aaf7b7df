//! Whatever is written is read back as it was. That the scripts write the same letters is tested in `tests/it`, where a
//! server is.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::credit::{
    Account, Basis, Done, Entry, ExpiredHold, Fact, Feature, Hold, Job, Lot, OpenJob, Refusal,
    Source, SourceId, Unit, Usage, Work,
};

fn ids() -> impl Strategy<Value = Id> {
    prop_oneof![any::<u128>().prop_map(Id::from_u128), Just(Id::from_u128(7))]
}

fn amounts() -> impl Strategy<Value = Credits> {
    prop_oneof![0..=9_u64, 0..=Credits::MAX.micros()]
        .prop_map(|micros| Credits::from_micros(micros).unwrap())
}

fn instants() -> impl Strategy<Value = Timestamp> {
    (0..=Timestamp::MAX.millis()).prop_map(Timestamp::from_millis)
}

fn parts_of_lots() -> impl Strategy<Value = Vec<Part>> {
    vec((any::<u32>(), amounts()).prop_map(|(lot, amount)| Part { lot, amount }), 0..4)
}

/// As many as an account may open.
fn lot_numbers() -> impl Strategy<Value = u32> {
    0..1_u32 << 30
}

fn kinds() -> impl Strategy<Value = LotKind> {
    select(vec![LotKind::Plan, LotKind::Gift, LotKind::Purchased])
}

/// Names with every letter that may be in them.
fn names() -> impl Strategy<Value = SourceId> {
    vec(0x21..=0x7e_u8, 1..=128)
        .prop_map(|bytes| String::from_utf8(bytes).unwrap().parse().unwrap())
}

fn works() -> impl Strategy<Value = Option<Work>> {
    let usage = (any::<u64>(), any::<u64>());
    let work = (any::<bool>(), usage).prop_map(|(reported, (input, output))| Work {
        basis: if reported { Basis::Reported } else { Basis::Estimated },
        usage: Usage::NOTHING.with(Unit::Input, input).with(Unit::Output, output),
    });
    proptest::option::of(work)
}

fn features() -> impl Strategy<Value = Option<Feature>> {
    proptest::option::of("[A-Za-z0-9._:-]{2,64}".prop_map(|name| name.parse().unwrap()))
}

fn descriptions() -> impl Strategy<Value = Job> {
    (names(), names()).prop_map(|(name, terms)| {
        let name = name.as_str().replace(';', ":");
        Job::new(&name, terms.as_str()).unwrap()
    })
}

fn facts_of_calls() -> impl Strategy<Value = Fact> {
    prop_oneof![
        (ids(), amounts(), instants(), parts_of_lots(), features()).prop_map(
            |(hold, amount, deadline, parts, feature)| Fact::Hold {
                hold,
                amount,
                deadline,
                parts,
                feature
            }
        ),
        (ids(), parts_of_lots(), instants(), amounts())
            .prop_map(|(hold, added, deadline, done)| Fact::Extend { hold, added, deadline, done }),
        (
            (ids(), amounts(), parts_of_lots(), amounts()),
            any::<bool>(),
            works(),
            proptest::option::of(descriptions())
        )
            .prop_map(|((hold, charged, parts, owed), late, work, job)| Fact::Settle {
                hold,
                charged,
                parts,
                owed,
                late,
                work,
                job
            }),
        (
            (ids(), amounts(), parts_of_lots(), amounts()),
            features(),
            works(),
            proptest::option::of(descriptions())
        )
            .prop_map(|((hold, charged, parts, owed), feature, work, job)| Fact::Charge {
                hold,
                charged,
                parts,
                owed,
                feature,
                work,
                job
            }),
        (
            (ids(), amounts(), amounts(), parts_of_lots(), amounts()),
            (amounts(), parts_of_lots(), amounts(), works())
        )
            .prop_map(
                |((hold, charged, before, back, repaid), (lost, parts, owed, work))| {
                    Fact::Correct { hold, charged, before, back, repaid, lost, parts, owed, work }
                }
            ),
        ids().prop_map(|hold| Fact::Release { hold }),
        (ids(), amounts(), parts_of_lots(), instants()).prop_map(
            |(hold, done, parts, settle_until)| Fact::HoldExpired {
                hold,
                done,
                parts,
                settle_until
            }
        ),
    ]
}

fn facts() -> impl Strategy<Value = Fact> {
    let terms = (any::<u32>(), kinds(), instants(), instants(), amounts(), amounts());
    prop_oneof![
        (proptest::option::of(names()), terms).prop_map(
            |(source, (lot, lot_kind, start, end, amount, repaid))| {
                Fact::Grant { source, lot, lot_kind, start, end, amount, repaid }
            }
        ),
        (instants(), any::<u64>()).prop_map(|(until, version)| Fact::Gate { until, version }),
        (any::<u32>(), amounts(), any::<i64>()).prop_map(|(lot, allowance, change)| Fact::Plan {
            lot,
            allowance,
            change
        }),
        facts_of_calls(),
        (any::<u32>(), amounts()).prop_map(|(lot, amount)| Fact::LotExpired { lot, amount }),
        parts_of_lots().prop_map(|parts| Fact::Repay { parts }),
        (names(), any::<u32>(), amounts(), amounts(), amounts()).prop_map(
            |(source, lot, total, taken, owed)| Fact::Void { source, lot, total, taken, owed }
        ),
    ]
}

fn lots() -> impl Strategy<Value = Lot> {
    let sums = (amounts(), amounts(), amounts());
    (lot_numbers(), proptest::option::of(names()), kinds(), instants(), instants(), sums).prop_map(
        |(no, source, kind, start, end, (granted, remaining, held))| Lot {
            no,
            kind,
            source,
            start,
            end,
            granted,
            remaining,
            held,
        },
    )
}

fn accounts() -> impl Strategy<Value = Account> {
    let holds = (ids(), instants(), amounts(), parts_of_lots())
        .prop_map(|(id, deadline, done, parts)| Hold { id, deadline, done, parts });
    let expired = (ids(), amounts(), instants())
        .prop_map(|(id, charged, settle_until)| ExpiredHold { id, charged, settle_until });
    let numbers = (any::<u64>(), instants(), instants(), any::<u64>());
    let rest = (amounts(), instants(), any::<u32>());
    let sums = (amounts(), amounts(), parts_of_lots());
    let jobs = (ids(), instants(), sums, descriptions()).prop_map(
        |(call, correct_until, (charged, owed, parts), job)| OpenJob {
            call,
            correct_until,
            charged,
            owed,
            parts,
            job,
        },
    );
    let remembered = (vec(holds, 0..4), vec(expired, 0..4), vec(jobs, 0..4));
    (numbers, rest, vec(lots(), 0..4), remembered).prop_map(
        |((seq, clock, gate_until, version), rest, mut lots, remembered)| {
            let (mut holds, mut expired, mut jobs) = remembered;
            jobs.sort_by_key(|job| job.call);
            jobs.dedup_by_key(|job| job.call);
            let (debt, plan_start, lots_opened) = rest;
            lots.sort_by_key(|lot| lot.no);
            lots.dedup_by_key(|lot| lot.no);
            lots.sort_by_key(Lot::burn_order);
            holds.sort_by_key(|hold| hold.id);
            holds.dedup_by_key(|hold| hold.id);
            expired.sort_by_key(|hold| hold.id);
            expired.dedup_by_key(|hold| hold.id);
            Account {
                seq,
                clock,
                gate_until,
                version,
                debt,
                plan_start,
                lots_opened,
                lots,
                holds,
                // In an order that is not that of their ids.
                expired: expired.into_iter().rev().collect(),
                jobs: jobs.into_iter().rev().collect(),
            }
        },
    )
}

proptest! {
    #[test]
    fn an_entry_is_read_as_it_was_written(
        (seq, at, op) in (any::<u64>(), instants(), ids()),
        balance in any::<i64>(),
        fact in facts(),
    ) {
        let written = Entry { seq, at, op, fact, balance };
        prop_assert_eq!(entry(&entry_text(&written)), Ok(written));
    }

    #[test]
    fn books_are_read_as_they_were_written(books in accounts()) {
        // Each has a number of its own: those of jobs and of holds are never compared.
        let place = |id| {
            let hold = books.expired.iter().position(|hold| hold.id == id);
            hold.or_else(|| books.jobs.iter().position(|job| job.call == id)).unwrap() as u64
        };
        let both = |job: &OpenJob| books.expired.iter().any(|hold| hold.id == job.call);
        prop_assume!(!books.jobs.iter().any(both));
        let fields = account_fields(&books, place).into_iter().collect();
        prop_assert_eq!(account(&fields), Ok(Some(books)));
    }

    #[test]
    fn a_source_is_read_as_it_was_written(
        (lot, kind, start, end) in (lot_numbers(), kinds(), instants(), instants()),
        [granted, expired, voided, reclaimed] in [amounts(), amounts(), amounts(), amounts()],
    ) {
        let written = Source { lot, kind, start, end, granted, expired, voided, reclaimed };
        prop_assert_eq!(source(&source_text(&written)), Ok(written));
    }

    #[test]
    fn an_outcome_is_read_as_it_was_written(
        (amount, other) in (amounts(), amounts()),
        (lot, version, change, ignored) in
            (any::<u32>(), any::<u64>(), any::<i64>(), any::<bool>()),
    ) {
        for written in [
            Ok(Done::Granted { lot, repaid: amount }),
            Ok(Done::GrantedBefore { lot }),
            Ok(Done::Gated { ignored }),
            Ok(Done::Planned { change }),
            Ok(Done::Held),
            Ok(Done::Extended),
            Ok(Done::Settled { charged: amount, owed: other }),
            Ok(Done::Corrected { before: amount, charged: other, owed: amount }),
            Ok(Done::Released),
            Ok(Done::Voided { taken: amount, owed: other }),
            Err(Refusal::Exhausted),
            Err(Refusal::Held),
            Err(Refusal::Owed),
            Err(Refusal::Inactive),
            Err(Refusal::Stale { version }),
            Err(Refusal::TooManyHolds),
            Err(Refusal::AlreadyResolved),
            Err(Refusal::Conflict),
            Err(Refusal::TooOld),
            Err(Refusal::UnknownSource),
            Err(Refusal::Ended),
            Err(Refusal::TooMuch),
        ] {
            prop_assert_eq!(outcome(&outcome_text(&written)), Ok(written));
        }
    }
}
