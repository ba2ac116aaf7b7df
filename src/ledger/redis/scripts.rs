//! The scripts: their texts put together, and their arguments.

use ::redis::{Cmd, Script, cmd};

use super::{keys, text};
use crate::credit::{AccountId, Id, Operation, Period, Timestamp, Work};
use crate::ledger::owned::Thing;

/// The rules of money, which both scripts begin with.
pub(super) const BOOKS: &str = include_str!("books.lua");
const OWNED: &str = include_str!("owned.lua");
const APPLY: &str = include_str!("apply.lua");
const CHANGE: &str = include_str!("change.lua");
const PROBE: &str = include_str!("probe.lua");

/// The scripts of one engine.
pub(super) struct Scripts {
    apply: Text,
    /// The same, if the account owns what the call is about.
    apply_if_owned: Text,
    /// For what must not be refused when the memory is full: not to charge is to serve for nothing.
    settle: Text,
    change: Text,
}

/// A script, and the name under which a server remembers it.
pub(super) struct Text {
    text: String,
    hash: String,
}

/// How a script is named to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// By the hash, which the server may have forgotten.
    ByHash,
    /// By the whole text.
    Whole,
}

impl Scripts {
    /// With `books` as the rules of money.
    pub(super) fn new(books: &str) -> Self {
        let script = |flags: &str, end: &str| Text::new(format!("#!lua{flags}\n{books}\n{end}"));
        Self {
            apply: script("", APPLY),
            apply_if_owned: script("", &format!("{OWNED}\n{APPLY}")),
            settle: script(" flags=allow-oom", APPLY),
            change: script("", CHANGE),
        }
    }

    /// One operation. Whether `now` is nothing decides whose clock counts.
    pub(super) fn apply(
        &self,
        named: Named,
        (account, id): (&AccountId, Id),
        operation: &Operation,
        fingerprint: &str,
        now: Option<Timestamp>,
    ) -> Cmd {
        let script = if resolves(operation) { &self.settle } else { &self.apply };
        let mut call = script.call(named);
        call.arg(5).arg(&keys::of_step(account, id)).arg(&heading(account, id, now));
        call.arg(operation.step()).arg(fingerprint).arg(arguments(operation));
        call
    }

    /// One operation, if each of `things` stands at one of `places`.
    #[expect(clippy::too_many_arguments, reason = "the words of one command, in their order")]
    pub(super) fn apply_if_owned(
        &self,
        named: Named,
        (account, id): (&AccountId, Id),
        operation: &Operation,
        fingerprint: &str,
        now: Option<Timestamp>,
        places: &[String],
        things: &[Thing],
    ) -> Cmd {
        let mut call = self.apply_if_owned.call(named);
        call.arg(5 + places.len()).arg(&keys::of_step(account, id)).arg(places);
        call.arg(&heading(account, id, now));
        call.arg(operation.step()).arg(fingerprint).arg(arguments(operation));
        for thing in things {
            call.arg(thing.bytes());
        }
        call.arg(things.len());
        call
    }

    /// One change of the directory; `change` is its name and its arguments.
    pub(super) fn change(
        &self,
        named: Named,
        (account, id): (&AccountId, Id),
        change: &[String],
        fingerprint: &str,
        now: Option<Timestamp>,
    ) -> Cmd {
        let mut call = self.change.call(named);
        call.arg(7).arg(&keys::of_step(account, id));
        call.arg(keys::record(account)).arg(keys::keys(account));
        call.arg(&heading(account, id, now)).arg(fingerprint).arg(change);
        call
    }
}

impl Text {
    fn new(text: String) -> Self {
        let hash = Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }

    fn call(&self, named: Named) -> Cmd {
        match named {
            Named::ByHash => cmd("EVALSHA").arg(&self.hash).to_owned(),
            Named::Whole => cmd("EVAL").arg(&self.text).to_owned(),
        }
    }
}

/// Every command once, on keys of which nothing stays.
pub(super) fn probe(shard: keys::Shard, asks_for_time: bool) -> Cmd {
    let mut call = Text::new(format!("#!lua\n{PROBE}")).call(Named::Whole);
    call.arg(4).arg(&shard.probes()).arg(if asks_for_time { "time" } else { "" });
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
        | Operation::Charge { .. } => false,
    }
}

fn resolves(operation: &Operation) -> bool {
    match operation {
        Operation::Settle { .. } | Operation::Release | Operation::Charge { .. } => true,
        Operation::Grant { .. }
        | Operation::Gate { .. }
        | Operation::Plan { .. }
        | Operation::Hold { .. }
        | Operation::Extend { .. }
        | Operation::Void { .. } => false,
    }
}

fn heading(account: &AccountId, id: Id, now: Option<Timestamp>) -> [String; 4] {
    let now = now.map_or_else(String::new, |now| now.millis().to_string());
    [account.to_string(), now, text::id(id), id.made_at().millis().to_string()]
}

/// What a call is charged for, as one word.
fn told(work: Option<&Work>) -> String {
    work.map_or_else(|| "-".to_owned(), Work::to_string)
}

fn arguments(operation: &Operation) -> Vec<String> {
    let millis = |at: &Timestamp| at.millis().to_string();
    // A duration beyond the calendar ends with the calendar.
    let duration = |millis: u64| millis.min(Timestamp::MAX.millis().unsigned_abs()).to_string();
    let month = |period: Option<&Period>| {
        period.map_or_else(Vec::new, |Period { start, end, allowance }| {
            vec![millis(start), millis(end), allowance.micros().to_string()]
        })
    };
    match operation {
        Operation::Grant { source, kind, start, end, amount } => vec![
            "grant".into(),
            source.to_string(),
            text::kind(*kind).into(),
            millis(start),
            millis(end),
            amount.micros().to_string(),
        ],
        Operation::Gate { until, version } => {
            vec!["gate".into(), millis(until), version.to_string()]
        }
        Operation::Plan { allowance } => vec!["plan".into(), allowance.micros().to_string()],
        Operation::Hold { amount, ttl_millis, version, period } => {
            let words = vec![
                "hold".into(),
                amount.micros().to_string(),
                duration(*ttl_millis),
                version.to_string(),
            ];
            [words, month(period.as_ref())].concat()
        }
        Operation::Extend { more, ttl_millis, done, .. } => vec![
            "extend".into(),
            more.micros().to_string(),
            duration(*ttl_millis),
            done.micros().to_string(),
        ],
        Operation::Settle { amount, work } => {
            vec!["settle".into(), amount.micros().to_string(), told(work.as_ref())]
        }
        Operation::Release => vec!["release".into()],
        Operation::Charge { amount, period, work } => {
            let words = vec!["charge".into(), amount.micros().to_string(), told(work.as_ref())];
            [words, month(period.as_ref())].concat()
        }
        Operation::Void { source, total } => {
            vec!["void".into(), source.to_string(), total.micros().to_string()]
        }
    }
}
