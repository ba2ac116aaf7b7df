//! The credit core beside a model of it: random histories on both must give the same books.

mod audit;
pub(crate) mod engine;
pub(crate) mod history;
mod model;
mod pair;
pub(crate) mod reached;
mod stories;

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use history::{History, Resolver, Step};
use pair::Pair;
use reached::Reached;

/// These always run; a fresh one runs beside them, named when it fails.
const SEEDS: [u64; 3] = [1, 0x5eed, 20_260_131];
/// Histories for each seed: 4 · 110 histories of 40 to 200 steps are more than 50,000 operations.
const CASES: u32 = 110;

#[test]
fn core_and_model_keep_the_same_books() {
    let reached = RefCell::new(Reached::default());
    let seeds = seeds();
    for &seed in &seeds {
        run(seed, CASES, &history::small(), &reached);
    }
    let everyday = reached.borrow().clone();
    for seed in seeds {
        run(seed, CASES / 9, &history::vast(), &reached);
    }
    run(SEEDS[0], 2, &history::crowded(), &reached);
    println!("{}", reached.borrow());
    everyday.assert_varied();
    reached.borrow().assert_complete();
    assert!(reached.borrow().operations() >= 50_000, "{}", reached.borrow());
}

/// The one of `MODEL_SEED` or a fresh one, and the fixed ones.
fn seeds() -> Vec<u64> {
    let first = match std::env::var("MODEL_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => rand::random(),
    };
    [first].into_iter().chain(SEEDS).collect()
}

fn run(
    seed: u64,
    cases: u32,
    histories: &impl Strategy<Value = History>,
    reached: &RefCell<Reached>,
) {
    let standard = Config::default();
    let max_shrink_iters = standard.max_shrink_iters.min(20_000);
    let config = Config { cases, failure_persistence: None, max_shrink_iters, ..standard };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.to_le_bytes(); 4].concat());
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result = runner.run(histories, |history| {
        replay(&history, reached).map_err(TestCaseError::fail)?;
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, _)) => panic!("{why}\nAgain with MODEL_SEED={seed}"),
        Err(why) => panic!("{why}, with MODEL_SEED={seed}"),
    }
}

/// Runs the history on both; the message of a failure ends with the operations that led to it.
fn replay(history: &History, reached: &RefCell<Reached>) -> Result<(), String> {
    let (mut pair, mut resolver) = (Pair::default(), Resolver::default());
    let mut said = Vec::new();
    let mut each = |step: &Step| {
        let call = resolver.resolve(step, pair.account());
        said.push(format!("at {}: {:?} {:?}", call.now.millis(), call.id, call.operation));
        let entries = pair.entries();
        let outcome = pair.step(call.id, &call.operation, call.now)?;
        let entries = &pair.log()[entries..];
        reached.borrow_mut().note(&call.operation, &outcome, entries, pair.account());
        pair.look(call.period, call.later)
    };
    let result = history.steps.iter().try_for_each(&mut each);
    result.map_err(|why| format!("{why}\n\nafter\n{}", said.join("\n")))
}
