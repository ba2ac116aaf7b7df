//! Core and model side by side: each operation goes to both, and both must say and keep the same.
//!
//! Plays the ledger engine's part for the core: keeps the account and its sources between the steps.

use std::collections::BTreeMap;
use std::fmt::Debug;

use creditgate::credit::{
    Account, Done, Entry, Fact, Id, Operation, Period, Refusal, Source, SourceId, Timestamp, apply,
    read,
};

use super::audit::Audit;
use super::model::Model;

#[derive(Default)]
pub(super) struct Pair {
    account: Account,
    sources: BTreeMap<SourceId, Source>,
    log: Vec<Entry>,
    audit: Audit,
    model: Model,
}

impl Pair {
    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    /// All entries so far.
    pub(super) fn log(&self) -> &[Entry] {
        &self.log
    }

    /// How many entries there are so far.
    pub(super) fn entries(&self) -> usize {
        self.log.len()
    }

    /// One operation on both; the answer that they agree on, or where they differ.
    pub(super) fn step(
        &mut self,
        id: Id,
        operation: &Operation,
        now: Timestamp,
    ) -> Result<Result<Done, Refusal>, String> {
        let expected = self.model.apply(id, operation, now);
        let known = operation.source().and_then(|source| self.sources.get(source));
        let applied = apply(&self.account, known, id, operation, now).map_err(|e| e.to_string())?;
        same("outcome", &applied.reply.outcome, &expected)?;
        let now = now.max(applied.account.clock);
        same("funds", &applied.reply.funds, &self.model.funds(now))?;

        self.account = applied.account;
        self.keep_sources(operation.source(), applied.source, &applied.entries);
        for entry in &applied.entries {
            self.audit.entry(entry).map_err(|why| format!("{why}\nin {entry:?}"))?;
        }
        self.log.extend(applied.entries);
        self.audit.state(&self.account)?;
        same_books(&self.account, &self.model, now)?;
        for (name, source) in &self.sources {
            same("source", &Some(source), &self.model.source(name).as_ref())?;
        }
        Ok(expected)
    }

    /// What a reader sees at `now` must be the same too.
    pub(super) fn look(&self, period: Option<Period>, now: Timestamp) -> Result<(), String> {
        let seen = read(&self.account, period, now).map_err(|e| e.to_string())?;
        let model = self.model.read(period, now);
        let now = now.max(self.account.clock);
        same("funds that are read", &seen.funds(now), &model.funds(now))?;
        same_books(&seen, &model, now).map_err(|why| format!("read at {now:?}: {why}"))
    }

    /// The core is told of one source and answers with it; what expires is known from the entries.
    fn keep_sources(&mut self, own: Option<&SourceId>, now: Option<Source>, entries: &[Entry]) {
        for entry in entries {
            if let Fact::LotExpired { lot, amount } = entry.fact
                && let Some((name, source)) = self.sources.iter_mut().find(|(_, s)| s.lot == lot)
                && own != Some(name)
            {
                source.expired = source.expired.checked_add(amount).unwrap();
            }
        }
        if let (Some(own), Some(now)) = (own, now) {
            self.sources.insert(own.clone(), now);
        }
    }
}

fn same_books(account: &Account, model: &Model, now: Timestamp) -> Result<(), String> {
    let mut account = account.clone();
    // What is forgotten when the next entry is written counts as forgotten.
    account.expired.retain(|hold| now < hold.settle_until);
    account.jobs.retain(|job| now < job.correct_until);
    let jobs = &account.jobs;
    let paid = |lot: u32| jobs.iter().flat_map(|job| &job.parts).any(|part| part.lot == lot);
    account.lots.retain(|lot| !lot.remaining.is_zero() || now < lot.end || paid(lot.no));
    same("balance", &account.balance(), &model.balance())?;
    same("books", &account, &model.account(account.seq, now))
}

fn same<T: PartialEq + Debug + ?Sized>(what: &str, core: &T, model: &T) -> Result<(), String> {
    if core == model {
        return Ok(());
    }
    Err(format!("{what} differ\n core: {core:?}\nmodel: {model:?}"))
}
