//! Which answers and facts a run has reached. A test that never meets a case says nothing about it.

use std::collections::BTreeMap;
use std::fmt;

use creditgate::credit::{Account, Done, Entry, Fact, LotKind, Operation, Refusal};

/// Every answer that the core can give, by operation. `too old`, and `conflict` by an operation's id, are the
/// ledger engines' to find.
const ANSWERS: [&str; 38] = [
    "grant: granted",
    "grant: granted before",
    "grant: conflict",
    "grant: ended",
    "grant: too much",
    "gate: gated",
    "gate: ignored",
    "plan: planned",
    "plan: too much",
    "hold: held",
    "hold: stale",
    "hold: inactive",
    "hold: conflict",
    "hold: too many holds",
    "hold: owed",
    "hold: credits held",
    "hold: exhausted",
    "extend: extended",
    "extend: already resolved",
    "extend: inactive",
    "extend: credits held",
    "extend: exhausted",
    "settle: settled",
    "settle: owed",
    "settle: already resolved",
    "settle: too much",
    "release: released",
    "release: already resolved",
    "charge: settled",
    "charge: owed",
    "charge: too much",
    "correct: corrected",
    "correct: owed",
    "correct: already resolved",
    "correct: too much",
    "void: voided",
    "void: unknown source",
    "void: too much",
];

const FACTS: [&str; 14] = [
    "grant",
    "gate",
    "plan",
    "hold",
    "extend",
    "settle",
    "settle late",
    "charge",
    "correct",
    "release",
    "hold_expired",
    "lot_expired",
    "repay",
    "void",
];

/// The ways of a charge: what paid for the call.
const CHARGES: [&str; 8] = [
    "its hold",
    "its expired hold",
    "lots",
    "lots and debt",
    "debt",
    "debt beside a closed gate's credits",
    "nothing",
    "a month that it opened",
];

#[derive(Clone, Default)]
pub(crate) struct Reached {
    answers: BTreeMap<String, usize>,
    charges: BTreeMap<&'static str, usize>,
    facts: BTreeMap<&'static str, usize>,
}

impl Reached {
    /// `account`: the books after the step.
    pub(crate) fn note(
        &mut self,
        operation: &Operation,
        outcome: &Result<Done, Refusal>,
        entries: &[Entry],
        account: &Account,
    ) {
        let answer = match outcome {
            Ok(done) => name_of(done),
            Err(refusal) => name_of_refusal(refusal),
        };
        let step = operation.step();
        let step = step.split('.').next().unwrap_or(&step);
        *self.answers.entry(format!("{step}: {answer}")).or_default() += 1;
        for entry in entries {
            let fact = match entry.fact {
                Fact::Settle { late: true, .. } => "settle late",
                _ => entry.fact.name(),
            };
            *self.facts.entry(fact).or_default() += 1;
        }
        if matches!(operation, Operation::Charge { .. }) {
            for way in entries.iter().filter_map(|entry| way_of_charge(entry, account)) {
                *self.charges.entry(way).or_default() += 1;
            }
        }
    }

    /// Counts what another run has reached as well.
    pub(crate) fn add(&mut self, other: &Self) {
        for (answer, times) in &other.answers {
            *self.answers.entry(answer.clone()).or_default() += times;
        }
        for (fact, times) in &other.facts {
            *self.facts.entry(fact).or_default() += times;
        }
        for (way, times) in &other.charges {
            *self.charges.entry(way).or_default() += times;
        }
    }

    pub(crate) fn operations(&self) -> usize {
        self.answers.values().sum()
    }

    /// Every answer and every fact was reached, and none that is not the core's.
    pub(crate) fn assert_complete(&self) {
        let never = |names: &[&'static str], reached: &dyn Fn(&str) -> bool| {
            names.iter().filter(|name| !reached(name)).copied().collect::<Vec<_>>()
        };
        let answers = never(&ANSWERS, &|name| self.answers.contains_key(name));
        let facts = never(&FACTS, &|name| self.facts.contains_key(name));
        let charges = never(&CHARGES, &|name| self.charges.contains_key(name));
        let never: Vec<_> = [answers, facts, charges].concat();
        assert!(never.is_empty(), "never reached: {never:?}");
        let known = |name: &&String| ANSWERS.contains(&name.as_str());
        let unknown: Vec<_> = self.answers.keys().filter(|name| !known(name)).collect();
        assert!(unknown.is_empty(), "not the core's to say: {unknown:?}");
    }

    /// No refusal crowds out the rest: each is at most a third of the operations.
    pub(crate) fn assert_varied(&self) {
        let mut kinds = BTreeMap::<&str, usize>::new();
        for (answer, times) in &self.answers {
            let kind = answer.split_once(": ").map_or(answer.as_str(), |(_, kind)| kind);
            *kinds.entry(kind).or_default() += times;
        }
        let refusals = ["already resolved", "conflict", "credits held", "ended", "exhausted"];
        for kind in refusals.into_iter().chain(["inactive", "owed", "stale", "unknown source"]) {
            let times = kinds.get(kind).copied().unwrap_or_default();
            assert!(times * 3 <= self.operations(), "mostly {kind}:\n{self}");
        }
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} operations", self.operations())?;
        for (answer, times) in &self.answers {
            writeln!(f, "{times:>8} {answer}")?;
        }
        for (fact, times) in &self.facts {
            writeln!(f, "{times:>8} entries {fact}")?;
        }
        for (way, times) in &self.charges {
            writeln!(f, "{times:>8} charges to {way}")?;
        }
        Ok(())
    }
}

fn way_of_charge(entry: &Entry, account: &Account) -> Option<&'static str> {
    match &entry.fact {
        Fact::Settle { late: false, .. } => Some("its hold"),
        Fact::Settle { late: true, .. } => Some("its expired hold"),
        Fact::Grant { source: None, lot_kind: LotKind::Plan, .. } => Some("a month that it opened"),
        Fact::Charge { parts, owed, .. } => Some(match (parts.is_empty(), owed.is_zero()) {
            (true, true) => "nothing",
            (false, true) => "lots",
            (false, false) => "lots and debt",
            (true, false) if account.funds(entry.at).unheld().is_zero() => "debt",
            (true, false) => "debt beside a closed gate's credits",
        }),
        _ => None,
    }
}

fn name_of(done: &Done) -> &'static str {
    match done {
        Done::Granted { .. } => "granted",
        Done::GrantedBefore { .. } => "granted before",
        Done::Gated { ignored: false } => "gated",
        Done::Gated { ignored: true } => "ignored",
        Done::Planned { .. } => "planned",
        Done::Held => "held",
        Done::Extended => "extended",
        Done::Settled { owed, .. } if owed.is_zero() => "settled",
        Done::Corrected { owed, .. } if owed.is_zero() => "corrected",
        Done::Settled { .. } | Done::Corrected { .. } => "owed",
        Done::Released => "released",
        Done::Voided { .. } => "voided",
    }
}

fn name_of_refusal(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Exhausted => "exhausted",
        Refusal::Held => "credits held",
        Refusal::Owed => "owed",
        Refusal::Inactive => "inactive",
        Refusal::Stale { .. } => "stale",
        Refusal::TooManyHolds => "too many holds",
        Refusal::AlreadyResolved => "already resolved",
        Refusal::Conflict => "conflict",
        Refusal::TooOld => "too old",
        Refusal::UnknownSource => "unknown source",
        Refusal::Ended => "ended",
        Refusal::TooMuch => "too much",
    }
}
