//! The embedded engine beside the core: the same random histories must give the same replies and the same books, also
//! when the file is closed and opened in the middle of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use creditgate::credit::{
    Account, AccountId, Id, Operation, Refusal, Source, SourceId, Timestamp, apply,
};
use creditgate::ledger::sqlite::Store;
use creditgate::ledger::{Clock, Ledger};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::history::{self, History, Resolver};
use crate::harness::SOON;
use crate::side::{Backdoor, Side, run_all};

/// Histories of 40 to 200 steps in the middle of which the file is closed and opened.
const HISTORIES: u64 = 24;

#[tokio::test(flavor = "multi_thread")]
async fn core_and_embedded_engine_keep_the_same_books() {
    run_all(|seed| async move {
        // In memory where that can be had: how much survives a crash is not the question here.
        let memory = std::path::Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.unwrap();
        let path = folder.path().join("ledger.db");
        let now = Arc::new(AtomicI64::new(0));
        let told = Arc::clone(&now);
        let clock: Clock = Arc::new(move || Timestamp::from_millis(told.load(Ordering::SeqCst)));
        let ledger = Ledger::Sqlite(Arc::new(Store::open(&path, clock).unwrap()));
        let file = rusqlite::Connection::open(&path).unwrap();
        file.busy_timeout(SOON).unwrap();
        Side::new(ledger, Backdoor::Sqlite { file, _folder: folder }, now, seed)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_opened_again_keeps_the_same_books() {
    let folder = tempfile::tempdir().unwrap();
    let mut steps = 0;
    for seed in 0..HISTORIES {
        let rng = TestRng::from_seed(
            RngAlgorithm::default(),
            &[[seed; 4].map(u64::to_le_bytes).concat()].concat(),
        );
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let history = history::small().new_tree(&mut runner).unwrap().current();
        let path = folder.path().join(format!("{seed}.db"));
        steps += replay(&path, &history, seed).await;
    }
    assert!(steps > 1000, "only {steps} steps");
}

/// Runs one history; returns the steps that both were asked.
async fn replay(path: &std::path::Path, history: &History, seed: u64) -> usize {
    let account: AccountId = "acc".parse().unwrap();
    let now = Arc::new(AtomicI64::new(0));
    let open = || {
        let now = Arc::clone(&now);
        let clock: Clock = Arc::new(move || Timestamp::from_millis(now.load(Ordering::SeqCst)));
        Ledger::Sqlite(Arc::new(Store::open(path, clock).unwrap()))
    };
    let mut ledger = open();
    let (mut books, mut sources) = (Account::default(), HashMap::<SourceId, Source>::new());
    let (mut asked, mut resolver, mut steps) = (HashSet::new(), Resolver::default(), 0);
    let mut done = HashSet::<(Id, String)>::new();
    for (place, step) in history.steps.iter().enumerate() {
        let call = resolver.resolve(step, &books);
        now.store(call.now.millis(), Ordering::SeqCst);
        // A second use of an id would be answered from memory: that is tested elsewhere.
        let id = call.id;
        if !asked.insert((id, call.operation.step())) {
            continue;
        }
        let source = call.operation.source().and_then(|name| sources.get(name));
        let expected = apply(&books, source, id, &call.operation, call.now).unwrap();
        let reply = ledger.apply(&account, id, call.operation.clone()).await.unwrap();
        if reply.outcome == Err(Refusal::TooOld) {
            asked.remove(&(id, call.operation.step()));
            continue;
        }
        steps += 1;
        let known = |step: &str| done.contains(&(id, step.to_owned()));
        if let Some(refusal) = ruled_out(&call.operation, known) {
            assert_eq!(reply.outcome, Err(refusal), "seed {seed}, step {place}");
            continue;
        }
        if reply.outcome.is_ok() || matches!(call.operation, Operation::Release) {
            done.insert((id, call.operation.step().into_owned()));
        }
        assert_eq!(reply, expected.reply, "seed {seed}, step {place}: {:?}", call.operation);
        remember(&mut sources, call.operation.source(), &expected);
        books = expected.account;
        if place % 17 == 16 {
            ledger.close().await;
            drop(ledger);
            ledger = open();
        }
    }
    let report = ledger.audit().await.unwrap();
    assert!(report.is_clean(), "seed {seed}: {:?}", report.broken);
    let entries = ledger.entries(&account, 0, u32::MAX).await.unwrap();
    assert_eq!(entries.len() as u64, books.seq, "seed {seed}");
    ledger.close().await;
    steps
}

/// What a ledger, which remembers ids, must say of a step because of another that was `done` under its id.
pub(crate) fn ruled_out(operation: &Operation, done: impl Fn(&str) -> bool) -> Option<Refusal> {
    match operation {
        Operation::Charge { .. } if done("settle") || done("release") => {
            Some(Refusal::AlreadyResolved)
        }
        Operation::Hold { .. } if done("charge") => Some(Refusal::Conflict),
        Operation::Hold { .. } if done("release") => Some(Refusal::AlreadyResolved),
        _ => None,
    }
}

/// Keeps the sources as an engine does: the core is told of one and answers with it.
pub(crate) fn remember(
    sources: &mut HashMap<SourceId, Source>,
    own: Option<&SourceId>,
    applied: &creditgate::credit::Applied,
) {
    use creditgate::credit::Fact;
    for entry in &applied.entries {
        if let Fact::LotExpired { lot, amount } = entry.fact {
            for source in sources.values_mut().filter(|source| source.lot == lot) {
                source.expired = source.expired.saturating_add(amount);
            }
        }
    }
    if let (Some(own), Some(source)) = (own, &applied.source) {
        sources.insert(own.clone(), source.clone());
    }
}
