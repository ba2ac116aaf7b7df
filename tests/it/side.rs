//! An engine beside the core: the same random histories must give the same replies, the same books and the same entries.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use creditgate::credit::{
    Account, AccountId, Credits, Done, Entry, Id, Operation, Period, REMEMBERED_MILLIS, Refusal,
    Reply, Source, SourceId, Timestamp, apply, read,
};
use creditgate::ledger::Ledger;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestRng, TestRunner};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use crate::core::engine::{remember, ruled_out};
use crate::core::history::{self, History, Resolver};
use crate::core::reached::Reached;
use crate::redis::raw::Raw;

/// Histories of 40 to 200 steps.
pub const SMALL: u64 = 500;
pub const VAST: u64 = 60;
pub const AT_ONCE: usize = 8;

/// Runs many histories, each on a side of its own, and says what they met: every answer, and 50,000 operations.
pub async fn run_all<F>(open: impl Fn(u64) -> F) -> Tally
where
    F: Future<Output = Side> + Send + 'static,
{
    let small = (0..SMALL).map(|seed| (seed, one_of(&history::small(), seed)));
    let vast = (0..VAST).map(|seed| (SMALL + seed, one_of(&history::vast(), seed)));
    let crowded = [(SMALL + VAST, one_of(&history::crowded(), 0))];
    let (mut running, mut tally) = (JoinSet::new(), Tally::default());
    for (seed, history) in crowded.into_iter().chain(small).chain(vast) {
        if running.len() == AT_ONCE {
            tally.add(running.join_next().await.unwrap());
        }
        let side = open(seed);
        running.spawn(async move {
            let ran = side.await.replay(&history).await;
            ran.unwrap_or_else(|why| panic!("history {seed}: {why}"))
        });
    }
    while let Some(done) = running.join_next().await {
        tally.add(done);
    }
    let Tally { reached, repeated, other, too_old, ruled_out } = &tally;
    println!("{reached}{repeated} repeated, {other} with other arguments, {too_old} too old");
    println!("{ruled_out} ruled out by another step under their id");
    tally.reached.assert_complete();
    assert!(tally.reached.operations() >= 50_000, "{}", tally.reached);
    assert!(tally.repeated > 100 && tally.other > 100 && tally.too_old > 100);
    assert!(tally.ruled_out > 100);
    tally
}

/// What no gateway asks under the id of a call that has ended.
fn second_end(operation: &Operation, version: u64) -> Option<Operation> {
    match operation {
        Operation::Settle { amount, .. } => Some(Operation::Charge {
            amount: *amount,
            period: None,
            work: None,
            job: None,
            feature: None,
        }),
        Operation::Release => Some(Operation::Charge {
            amount: Credits::ZERO,
            period: None,
            work: None,
            job: None,
            feature: None,
        }),
        Operation::Charge { amount, .. } => Some(Operation::Hold {
            amount: *amount,
            ttl_millis: 1000,
            version,
            period: None,
            feature: None,
        }),
        _ => None,
    }
}

pub fn one_of(histories: &impl Strategy<Value = History>, seed: u64) -> History {
    let rng = TestRng::from_seed(
        proptest::test_runner::RngAlgorithm::ChaCha,
        &[seed; 4].map(u64::to_le_bytes).concat(),
    );
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    histories.new_tree(&mut runner).unwrap().current()
}

/// What a run has met.
#[derive(Default)]
pub struct Tally {
    pub reached: Reached,
    /// Steps that were asked before: answered from memory, refused for other arguments, or too old.
    pub repeated: usize,
    pub other: usize,
    pub too_old: usize,
    /// Steps that another one under their id left no room for.
    pub ruled_out: usize,
}

impl Tally {
    pub fn add(&mut self, other: Result<Self, tokio::task::JoinError>) {
        let other = other.unwrap();
        self.reached.add(&other.reached);
        self.repeated += other.repeated;
        self.other += other.other;
        self.too_old += other.too_old;
        self.ruled_out += other.ruled_out;
    }
}

/// A connection beside the engine's.
pub enum Backdoor {
    Redis(Raw),
    /// To a file, in a folder that goes with it.
    Sqlite {
        file: rusqlite::Connection,
        _folder: tempfile::TempDir,
    },
}

/// The engine and the core's books of one account.
pub struct Side {
    pub ledger: Ledger,
    pub backdoor: Backdoor,
    pub now: Arc<AtomicI64>,
    pub seed: u64,
    pub account: AccountId,
    pub books: Account,
    pub sources: HashMap<SourceId, Source>,
    pub memory: HashMap<(Id, String), (Operation, Result<Done, Refusal>)>,
    pub entries: Vec<Entry>,
    pub tally: Tally,
}

impl Side {
    /// An engine at whose clock `now` stands.
    pub fn new(ledger: Ledger, backdoor: Backdoor, now: Arc<AtomicI64>, seed: u64) -> Self {
        Self {
            ledger,
            backdoor,
            now,
            seed,
            account: format!("acc-{seed}").parse().unwrap(),
            books: Account::default(),
            sources: HashMap::new(),
            memory: HashMap::new(),
            entries: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Runs one history on both; says where they differ.
    pub async fn replay(mut self, history: &History) -> Result<Tally, String> {
        let mut resolver = Resolver::default();
        for (place, step) in history.steps.iter().enumerate() {
            let call = resolver.resolve(step, &self.books);
            // Ids are one gateway's own: no two histories use the same.
            let id = Id::from_u128(call.id.as_u128() | u128::from(self.seed) << 32);
            self.now.store(call.now.millis(), Ordering::SeqCst);
            if place % 2 == 0 && matches!(call.operation, Operation::Hold { .. }) {
                self.forget_hold(id).await;
            }
            self.ask(id, &call.operation, call.now).await?;
            if place % 9 == 8 {
                self.ask(id, &call.operation, call.now).await?;
            }
            let operation = call.operation;
            if let Operation::Grant { source, kind, start, end, amount } = operation.clone() {
                // The same but for its amount.
                let amount = Credits::from_micros(amount.micros() ^ 1).unwrap_or_default();
                let other = Operation::Grant { source, kind, start, end, amount };
                self.ask(Id::from_u128(id.as_u128() | 1 << 31), &other, call.now).await?;
            }
            if place % 3 == 2
                && let Some(second) = second_end(&operation, self.books.version)
            {
                self.ask(id, &second, call.now).await?;
            }
            if place % 5 == 4 {
                self.look(call.period, call.later).await?;
            }
        }
        let entries = self.ledger.entries(&self.account, 0, u32::MAX).await;
        for (name, source) in &self.sources {
            let stored = self.ledger.source(&self.account, name).await;
            let stored = stored.map_err(|error| error.to_string())?;
            same("sources", &stored.as_ref(), &Some(source))?;
        }
        same("entries", &entries.map_err(|error| error.to_string())?, &self.entries)?;
        self.assert_next_due().await?;
        Ok(self.tally)
    }

    /// One step on both; what both say.
    pub async fn ask(
        &mut self,
        id: Id,
        operation: &Operation,
        now: Timestamp,
    ) -> Result<Reply, String> {
        let expected = self.expected(id, operation, now)?;
        let reply = self.ledger.apply(&self.account, id, operation.clone()).await;
        let compared = reply.map_err(|error| error.to_string());
        let compared = compared.and_then(|reply| same("replies", &reply, &expected));
        compared.map_err(|why| format!("{id} {operation:?}: {why}"))?;
        Ok(expected)
    }

    /// What a reader sees later.
    pub async fn look(&mut self, period: Option<Period>, later: Timestamp) -> Result<(), String> {
        self.now.store(later.millis(), Ordering::SeqCst);
        let seen = self.ledger.read(&self.account, period).await;
        let seen = seen.map_err(|error| error.to_string())?.unwrap_or_default();
        same("books", &seen, &read(&self.books, period, later).unwrap())
    }

    /// Redis knows an instant before which nothing is due: later than the last entry, and no later than the first of all
    /// that is kept.
    async fn assert_next_due(&mut self) -> Result<(), String> {
        let Backdoor::Redis(raw) = &mut self.backdoor else { return Ok(()) };
        let shard = Sha256::digest(self.account.as_str())[0];
        let key = format!("{{s{shard:03}}}:a:{}", self.account);
        let head = raw.bytes(&["HGET", &key, "f"]).await;
        let next = head[46..52].iter().rev().fold(0, |next, byte| next << 8 | i64::from(*byte));
        let next = Timestamp::from_millis(next);
        let holds = self.books.holds.iter().map(|hold| hold.deadline);
        let expired = self.books.expired.iter().map(|hold| hold.settle_until);
        let jobs = self.books.jobs.iter().map(|job| job.correct_until);
        let first = holds.chain(expired).chain(jobs).min().unwrap_or(Timestamp::MAX);
        let is_known = self.books.clock < next && next <= first;
        is_known.then_some(()).ok_or_else(|| format!("{next:?} is not the next instant: {first:?}"))
    }

    /// Takes a hold's step out of the memory, so that only the books know of it.
    async fn forget_hold(&mut self, id: Id) {
        if self.memory.remove(&(id, "hold".into())).is_none() {
            return;
        }
        match &mut self.backdoor {
            Backdoor::Redis(raw) => {
                let shard = Sha256::digest(self.account.as_str())[0];
                let hour = id.made_at().millis() / 3_600_000;
                let key = format!("{{s{shard:03}}}:op:{hour}");
                let field = format!("{:032x}.hold", id.as_u128());
                let gone = raw.ask(&["HDEL", &key, &field]).await;
                assert_eq!(gone, ::redis::Value::Int(1));
            }
            Backdoor::Sqlite { file, _folder } => {
                let sql = "DELETE FROM operation WHERE id = ?1 AND step = 'hold'";
                assert_eq!(file.execute(sql, [id.as_u128().to_be_bytes()]).unwrap(), 1);
            }
        }
    }

    /// What the core says, and what a ledger must say of a step that it was asked before.
    fn expected(&mut self, id: Id, operation: &Operation, now: Timestamp) -> Result<Reply, String> {
        let funds = self.books.funds(now.max(self.books.clock));
        if id.made_at().after_millis(REMEMBERED_MILLIS) < now {
            self.tally.too_old += 1;
            return Ok(Reply { outcome: Err(Refusal::TooOld), funds });
        }
        let step = (id, operation.step().into_owned());
        if let Some((former, outcome)) = self.memory.get(&step) {
            if former != operation {
                self.tally.other += 1;
                return Ok(Reply { outcome: Err(Refusal::Conflict), funds });
            }
            self.tally.repeated += 1;
            return Ok(Reply { outcome: outcome.clone(), funds });
        }
        let done = |step: &str| {
            self.memory
                .get(&(id, step.to_owned()))
                .is_some_and(|(_, outcome)| outcome.is_ok() || step == "release")
        };
        if let Some(refusal) = ruled_out(operation, done) {
            self.tally.ruled_out += 1;
            return Ok(Reply { outcome: Err(refusal), funds });
        }
        let source = operation.source().and_then(|name| self.sources.get(name));
        let applied = apply(&self.books, source, id, operation, now).map_err(|e| e.to_string())?;
        let (outcome, books) = (&applied.reply.outcome, &applied.account);
        self.tally.reached.note(operation, outcome, &applied.entries, books);
        remember(&mut self.sources, operation.source(), &applied);
        if !matches!(applied.reply.outcome, Err(Refusal::Stale { .. })) {
            self.memory.insert(step, (operation.clone(), applied.reply.outcome.clone()));
        }
        self.entries.extend(applied.entries);
        self.books = applied.account;
        Ok(applied.reply)
    }
}

pub fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    engine: &T,
    core: &T,
) -> Result<(), String> {
    if engine == core {
        return Ok(());
    }
    Err(format!("{what} differ\nengine: {engine:?}\n  core: {core:?}"))
}
