//! The functions that a server carries out for us: their library, and their arguments.
//!
//! A library is named by its text, so that gateways of several versions work side by side. The server keeps it, in its file
//! and on its replicas too: a script would be made anew for each step, which took a third of its time.

use ::redis::Cmd;
use sha2::{Digest, Sha256};

use super::{keys, text};
use crate::credit::{
    AccountId, ClaimName, Claims, Feature, Id, Job, Operation, Period, Timestamp, Work,
};
use crate::ledger::owned::Thing;

/// The rules of money, with which the library begins.
pub(super) const BOOKS: &str = concat!(
    include_str!("books/stored.lua"),
    include_str!("books/rules.lua"),
    include_str!("books/operations.lua"),
    include_str!("books/steps.lua"),
);
const OWNED: &str = include_str!("owned.lua");
const APPLY: &str = include_str!("apply.lua");
const CLAIM: &str = include_str!("claim.lua");
const DELIVERED: &str = include_str!("delivered.lua");
const CHANGE: &str = include_str!("change.lua");
const PROBE: &str = include_str!("probe.lua");

/// What most calls of a function need.
const USUAL_WORDS: usize = 24;
const USUAL_BYTES: usize = 512;

/// The functions of one engine.
pub(super) struct Functions {
    /// The command that gives them to a server.
    load: Cmd,
    apply: String,
    /// The same, if the account owns what the call is about.
    apply_if_owned: String,
    /// For what must not be refused when the memory is full.
    settle: String,
    change: String,
    claim: String,
    delivered: String,
}

/// A hold with its claims, as it is asked.
pub(super) struct Asked<'a> {
    pub(super) hold: &'a Operation,
    pub(super) claims: &'a Claims,
    /// Of the hold, and of a release.
    pub(super) fingerprints: [String; 2],
    /// The calls that the claims of the key and of the task are taken to name.
    pub(super) known: [Option<Id>; 2],
}

impl Functions {
    /// With `books` as the rules of money.
    pub(super) fn new(books: &str) -> Self {
        let text = [books, APPLY, OWNED, CHANGE, CLAIM, DELIVERED].join("\n");
        let mut hash = [0; 8];
        hash.copy_from_slice(&Sha256::digest(&text)[..8]);
        let library = format!("creditgate_{:016x}", u64::from_be_bytes(hash));
        let named = |name: &str| format!("{library}_{name}");
        let text = format!("#!lua name={library}\nlocal LIBRARY = '{library}'\n{text}");
        let mut load = ::redis::cmd("FUNCTION");
        load.arg("LOAD").arg(text);
        Self {
            load,
            apply: named("apply"),
            apply_if_owned: named("apply_if_owned"),
            settle: named("settle"),
            change: named("change"),
            claim: named("claim"),
            delivered: named("delivered"),
        }
    }

    /// Gives the functions to a server, which refuses if it has them.
    pub(super) fn load(&self) -> &Cmd {
        &self.load
    }

    /// One operation. Whether `now` is nothing decides whose clock counts.
    pub(super) fn apply(
        &self,
        (account, id): (&AccountId, Id),
        operation: &Operation,
        fingerprint: &str,
        now: Option<Timestamp>,
    ) -> Cmd {
        let function = if resolves(operation) { &self.settle } else { &self.apply };
        let mut call = call(function);
        call.arg(5).arg(&keys::of_step(account, id));
        heading(&mut call, account, id, now);
        call.arg(&*operation.step()).arg(fingerprint).arg(name(operation));
        terms(&mut call, operation);
        call
    }

    /// One hold with its claims.
    pub(super) fn claim(
        &self,
        (account, id): (&AccountId, Id),
        asked: &Asked<'_>,
        now: Option<Timestamp>,
    ) -> Cmd {
        let Asked { hold, claims, fingerprints, known } = asked;
        let own = keys::of_step(account, id);
        let claim = |name: Option<ClaimName>, call: Option<Id>| {
            let claim = name.map_or_else(|| own[0].clone(), |name| keys::claim(account, name));
            let memory =
                call.map_or_else(|| own[2].clone(), |call| keys::operations(account, call));
            [claim, memory]
        };
        let named_call = |is_asked: bool, call: Option<Id>| match call {
            _ if !is_asked => String::new(),
            None => "-".to_owned(),
            Some(call) => text::id(call),
        };
        let (calls, millis) = claims.task.map_or((0, 0), |task| (task.calls, task.millis));
        let mut call = call(&self.claim);
        call.arg(9).arg(&own).arg(&claim(claims.key, known[0]));
        call.arg(&claim(claims.task.map(|task| task.name), known[1]));
        heading(&mut call, account, id, now);
        call.arg(&*hold.step()).arg(fingerprints);
        call.arg(named_call(claims.key.is_some(), known[0]));
        call.arg(named_call(claims.task.is_some(), known[1])).arg(calls).arg(millis);
        terms(&mut call, hold);
        call
    }

    /// The answer to the attempt `id` reached its client whole.
    pub(super) fn delivered(&self, account: &AccountId, key: ClaimName, id: Id) -> Cmd {
        let mut call = call(&self.delivered);
        call.arg(1).arg(keys::claim(account, key)).arg(text::id(id));
        call
    }

    /// One operation, if each of `things` stands at one of `places`.
    pub(super) fn apply_if_owned(
        &self,
        (account, id): (&AccountId, Id),
        operation: &Operation,
        fingerprint: &str,
        now: Option<Timestamp>,
        places: &[String],
        things: &[Thing],
    ) -> Cmd {
        let mut call = call(&self.apply_if_owned);
        call.arg(5 + places.len()).arg(&keys::of_step(account, id)).arg(places);
        heading(&mut call, account, id, now);
        call.arg(&*operation.step()).arg(fingerprint).arg(name(operation));
        terms(&mut call, operation);
        for thing in things {
            call.arg(thing.bytes());
        }
        call.arg(things.len());
        call
    }

    /// One change of the directory; `change` is its name and its arguments.
    pub(super) fn change(
        &self,
        (account, id): (&AccountId, Id),
        change: &[String],
        fingerprint: &str,
        now: Option<Timestamp>,
    ) -> Cmd {
        let mut call = call(&self.change);
        call.arg(7).arg(&keys::of_step(account, id));
        call.arg(keys::record(account)).arg(keys::keys(account));
        heading(&mut call, account, id, now);
        call.arg(fingerprint).arg(change);
        call
    }
}

fn call(function: &str) -> Cmd {
    let mut call = Cmd::with_capacity(USUAL_WORDS, USUAL_BYTES);
    call.arg("FCALL").arg(function);
    call
}

/// Every command once, on keys of which nothing stays.
pub(super) fn probe(shard: keys::Shard, asks_for_time: bool) -> Cmd {
    let mut call = ::redis::cmd("EVAL");
    call.arg(format!("#!lua\n{PROBE}")).arg(4).arg(&shard.probes()).arg(if asks_for_time {
        "time"
    } else {
        ""
    });
    call
}

/// Whether its effect must outlive the server before anybody is told: what was bought, and what was taken back.
pub(super) fn is_durable(operation: &Operation) -> bool {
    match operation {
        Operation::Grant { .. }
        | Operation::Void { .. }
        | Operation::Gate { .. }
        | Operation::Plan { .. } => true,
        Operation::Hold { .. }
        | Operation::Extend { .. }
        | Operation::Settle { .. }
        | Operation::Release
        | Operation::Charge { .. }
        | Operation::Correct { .. } => false,
    }
}

fn resolves(operation: &Operation) -> bool {
    match operation {
        Operation::Settle { .. }
        | Operation::Release
        | Operation::Charge { .. }
        | Operation::Correct { .. } => true,
        Operation::Grant { .. }
        | Operation::Gate { .. }
        | Operation::Plan { .. }
        | Operation::Hold { .. }
        | Operation::Extend { .. }
        | Operation::Void { .. } => false,
    }
}

fn heading(call: &mut Cmd, account: &AccountId, id: Id, now: Option<Timestamp>) {
    call.arg(account.as_str());
    match now {
        Some(now) => call.arg(now.millis()),
        None => call.arg(""),
    };
    call.arg(&id.digits()[..]).arg(id.made_at().millis());
}

/// What an operation is called.
fn name(operation: &Operation) -> &'static str {
    match operation {
        Operation::Grant { .. } => "grant",
        Operation::Gate { .. } => "gate",
        Operation::Plan { .. } => "plan",
        Operation::Hold { .. } => "hold",
        Operation::Extend { .. } => "extend",
        Operation::Settle { .. } => "settle",
        Operation::Release => "release",
        Operation::Charge { .. } => "charge",
        Operation::Correct { .. } => "correct",
        Operation::Void { .. } => "void",
    }
}

/// The arguments of an operation.
fn terms(call: &mut Cmd, operation: &Operation) {
    // A duration beyond the calendar ends with the calendar.
    let duration = |millis: u64| millis.min(Timestamp::MAX.millis().unsigned_abs());
    match operation {
        Operation::Grant { source, kind, start, end, amount } => {
            call.arg(source.as_str()).arg(text::kind(*kind));
            call.arg(start.millis()).arg(end.millis()).arg(amount.micros());
        }
        Operation::Gate { until, version } => {
            call.arg(until.millis()).arg(version);
        }
        Operation::Plan { allowance } => {
            call.arg(allowance.micros());
        }
        Operation::Hold { amount, ttl_millis, version, period, feature } => {
            call.arg(amount.micros()).arg(duration(*ttl_millis)).arg(version);
            month(call, period.as_ref());
            is_for(call, feature.as_ref());
        }
        Operation::Extend { more, ttl_millis, done, .. } => {
            call.arg(more.micros()).arg(duration(*ttl_millis)).arg(done.micros());
        }
        Operation::Settle { amount, work, job } => {
            call.arg(amount.micros());
            told(call, work.as_ref());
            begun(call, job.as_ref());
        }
        Operation::Release => {}
        Operation::Charge { amount, period, feature, work, job } => {
            call.arg(amount.micros());
            told(call, work.as_ref());
            begun(call, job.as_ref());
            month(call, period.as_ref());
            is_for(call, feature.as_ref());
        }
        Operation::Correct { call: corrected, amount, work } => {
            call.arg(&corrected.digits()[..]).arg(amount.micros());
            told(call, work.as_ref());
        }
        Operation::Void { source, total } => {
            call.arg(source.as_str()).arg(total.micros());
        }
    }
}

fn month(call: &mut Cmd, period: Option<&Period>) {
    if let Some(Period { start, end, allowance }) = period {
        call.arg(start.millis()).arg(end.millis()).arg(allowance.micros());
    }
}

/// What a call is for, if its caller said it.
fn is_for(call: &mut Cmd, feature: Option<&Feature>) {
    if let Some(feature) = feature {
        call.arg(feature.as_str());
    }
}

/// What a call is charged for, as one word.
fn told(call: &mut Cmd, work: Option<&Work>) {
    match work {
        Some(work) => call.arg(work.to_string()),
        None => call.arg("-"),
    };
}

/// The job that a call began, as one word.
fn begun(call: &mut Cmd, job: Option<&Job>) {
    match job {
        Some(job) => call.arg(job.to_string()),
        None => call.arg("-"),
    };
}
