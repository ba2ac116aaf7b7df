//! The scripts: their texts put together, their arguments, and what their errors mean.

use ::redis::aio::ConnectionManager;
use ::redis::{ErrorKind, RedisError, Script, ServerErrorKind};

use super::{keys, text};
use crate::credit::{AccountId, Id, Operation, Period, Timestamp};
use crate::ledger::LedgerError;

/// The rules of money, which both scripts begin with.
pub(super) const BOOKS: &str = include_str!("books.lua");
const APPLY: &str = include_str!("apply.lua");
const CHANGE: &str = include_str!("change.lua");

/// The scripts of one engine.
pub(super) struct Scripts {
    apply: Script,
    /// For what must not be refused when the memory is full: not to charge is to serve for nothing.
    settle: Script,
    change: Script,
}

impl Scripts {
    /// With `books` as the rules of money.
    pub(super) fn new(books: &str) -> Self {
        let script = |flags: &str, end: &str| Script::new(&format!("#!lua{flags}\n{books}\n{end}"));
        Self {
            apply: script("", APPLY),
            settle: script(" flags=allow-oom", APPLY),
            change: script("", CHANGE),
        }
    }

    /// One operation. Whether `now` is nothing decides whose clock counts.
    pub(super) async fn apply(
        &self,
        mut connection: ConnectionManager,
        (account, id): (&AccountId, Id),
        operation: &Operation,
        fingerprint: &str,
        now: Option<Timestamp>,
    ) -> Result<Vec<String>, RedisError> {
        let script = if resolves(operation) { &self.settle } else { &self.apply };
        let mut call = script.prepare_invoke();
        for key in keys::of_step(account, id) {
            call.key(key);
        }
        for argument in heading(account, id, now) {
            call.arg(argument);
        }
        call.arg(operation.step()).arg(fingerprint);
        for argument in arguments(operation) {
            call.arg(argument);
        }
        call.invoke_async(&mut connection).await
    }

    /// One change of the directory; `change` is its name and its arguments.
    pub(super) async fn change(
        &self,
        mut connection: ConnectionManager,
        (account, id): (&AccountId, Id),
        change: &[String],
        fingerprint: &str,
        now: Option<Timestamp>,
    ) -> Result<Vec<String>, RedisError> {
        let mut call = self.change.prepare_invoke();
        for key in keys::of_step(account, id) {
            call.key(key);
        }
        call.key(keys::record(account)).key(keys::keys(account));
        for argument in heading(account, id, now) {
            call.arg(argument);
        }
        call.arg(fingerprint).arg(change);
        call.invoke_async(&mut connection).await
    }
}

/// What an error says about the step.
pub(super) fn refused(error: &RedisError) -> LedgerError {
    // Only these are certain to come before the script has begun.
    let not_begun = match error.kind() {
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::NoPerm
            | ServerErrorKind::NoScript,
        )
        | ErrorKind::AuthenticationFailed => true,
        _ => {
            let code = error.code().unwrap_or_default();
            error.is_connection_refusal()
                || ["OOM", "BUSY", "MISCONF", "NOREPLICAS", "NOAUTH"].contains(&code)
        }
    };
    if not_begun {
        LedgerError::Unavailable(error.to_string())
    } else {
        LedgerError::Unknown(error.to_string())
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
        Operation::Settle { amount } => vec!["settle".into(), amount.micros().to_string()],
        Operation::Release => vec!["release".into()],
        Operation::Charge { amount, period } => {
            let words = vec!["charge".into(), amount.micros().to_string()];
            [words, month(period.as_ref())].concat()
        }
        Operation::Void { source, total } => {
            vec!["void".into(), source.to_string(), total.micros().to_string()]
        }
    }
}
