//! Accounts in the writer's memory, and how their changes reach the file.
//!
//! Steps of a batch work on the books in memory; entries and operations are written as they come, the state of an
//! account once at the end of the batch, and only what differs from what the file has.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{jobs, sources};
use crate::credit::{
    Account, AccountId, Broken, Done, Entry, ExpiredHold, Fact, Hold, Id, Lot, LotKind, Operation,
    Part, REMEMBERED_MILLIS, Refusal, Reply, SourceId, Timestamp, apply,
};
use crate::ledger::fingerprint::fingerprint;

/// Accounts kept in memory; beyond it all are dropped and read again as they are needed.
const CACHED: usize = 100_000;
/// Forgotten operations in one go, so that tidying never holds up a batch for long.
pub(super) const FORGET: u32 = 20_000;

/// Why a step did not happen.
#[derive(Debug)]
pub(super) enum StepError {
    /// The books would break a rule: this step alone is refused.
    Broken(AccountId, Broken),
    /// SQLite refused: the batch fails.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for StepError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// The writer's memory.
#[derive(Default)]
pub(super) struct Books {
    accounts: HashMap<AccountId, Account>,
    /// The accounts that this batch changed, as the file has them.
    before: HashMap<AccountId, Account>,
}

impl Books {
    /// One operation, once.
    pub(super) fn apply(
        &mut self,
        db: &Transaction<'_>,
        account: &AccountId,
        id: Id,
        operation: &Operation,
        now: Timestamp,
    ) -> Result<Reply, StepError> {
        self.apply_as(db, (account, id), operation, fingerprint(account, operation), now)
    }

    /// The same, where `fingerprint` is of what was asked.
    pub(super) fn apply_as(
        &mut self,
        db: &Transaction<'_>,
        (account, id): (&AccountId, Id),
        operation: &Operation,
        fingerprint: [u8; 16],
        now: Timestamp,
    ) -> Result<Reply, StepError> {
        let books = self.load(db, account)?;
        let refused = |outcome| Ok(Reply { outcome, funds: books.funds(now.max(books.clock)) });
        if id.made_at().after_millis(REMEMBERED_MILLIS) < now {
            return refused(Err(Refusal::TooOld));
        }
        let step = operation.step();
        if let Some((known, outcome)) = remembered(db, id, &step)? {
            let same = known == fingerprint;
            return refused(if same { outcome } else { Err(Refusal::Conflict) });
        }
        for (other, refusal) in operation.ruled_out_by() {
            let before = remembered(db, id, other)?;
            if before.is_some_and(|(_, outcome)| Operation::was_done(other, &outcome)) {
                return refused(Err(refusal.clone()));
            }
        }
        let source = match operation.source() {
            Some(source) => sources::one(db, account, source)?,
            None => None,
        };
        let applied = apply(books, source.as_ref(), id, operation, now)
            .map_err(|broken| StepError::Broken(account.clone(), broken))?;
        for entry in &applied.entries {
            write_entry(db, account, entry)?;
        }
        if let (Some(id), Some(source)) = (operation.source(), &applied.source) {
            sources::write(db, account, id, source)?;
        }
        // A stale hold decided nothing: the gateway reads the record again and asks under the same id.
        if !matches!(applied.reply.outcome, Err(Refusal::Stale { .. })) {
            remember(db, id, &step, account, fingerprint, &applied.reply.outcome)?;
        }
        if !applied.entries.is_empty() {
            let former = self.accounts.insert(account.clone(), applied.account);
            self.before.entry(account.clone()).or_insert_with(|| former.unwrap_or_default());
        }
        Ok(applied.reply)
    }

    /// Writes the state of every account that the batch changed.
    pub(super) fn write(&mut self, db: &Transaction<'_>) -> rusqlite::Result<()> {
        for (id, before) in self.before.drain() {
            if let Some(after) = self.accounts.get(&id) {
                write_account(db, &id, &before, after)?;
            }
        }
        if self.accounts.len() > CACHED {
            self.accounts.clear();
        }
        Ok(())
    }

    /// Forgets operations whose ids are too old to be asked again. Ids are ordered by time.
    pub(super) fn forget_operations(now: Timestamp, db: &Connection) -> rusqlite::Result<()> {
        let margin = 3_600_000;
        let kept_from = now.millis() - REMEMBERED_MILLIS.cast_signed() - margin;
        let oldest = u128::from(kept_from.max(0).unsigned_abs()) << 80;
        let sql = "DELETE FROM operation WHERE (id, step) IN
                   (SELECT id, step FROM operation WHERE id < ?1 ORDER BY id LIMIT ?2)";
        db.execute(sql, params![oldest.to_be_bytes(), FORGET]).map(|_| ())
    }

    /// The books of an account as the batch has them.
    pub(super) fn account(
        &mut self,
        db: &Connection,
        id: &AccountId,
    ) -> rusqlite::Result<&Account> {
        self.load(db, id)
    }

    fn load(&mut self, db: &Connection, id: &AccountId) -> rusqlite::Result<&Account> {
        if !self.accounts.contains_key(id) {
            let account = read_account(db, id)?.unwrap_or_default();
            self.accounts.insert(id.clone(), account);
        }
        Ok(&self.accounts[id])
    }
}

/// The account as the file has it.
pub(super) fn read_account(db: &Connection, id: &AccountId) -> rusqlite::Result<Option<Account>> {
    let sql = "SELECT seq, clock, gate_until, version, debt, plan_start, lots_opened, expired
               FROM account WHERE id = ?1";
    let account = db.prepare_cached(sql)?.query_row([id.as_str()], |row| {
        Ok(Account {
            seq: row.get(0)?,
            clock: Timestamp::from_millis(row.get(1)?),
            gate_until: Timestamp::from_millis(row.get(2)?),
            version: row.get(3)?,
            debt: credits(row, 4)?,
            plan_start: Timestamp::from_millis(row.get(5)?),
            lots_opened: row.get(6)?,
            expired: from_json::<Vec<ExpiredHold>>(row, 7)?,
            ..Account::default()
        })
    });
    let Some(mut account) = account.optional()? else { return Ok(None) };
    let sql = "SELECT no, kind, source, starts, ends, granted, remaining, held
               FROM lot WHERE account = ?1";
    let mut lots = db.prepare_cached(sql)?;
    account.lots = lots.query_map([id.as_str()], read_lot)?.collect::<Result<_, _>>()?;
    account.lots.sort_by_key(Lot::burn_order);
    let sql = "SELECT id, deadline, done, parts FROM hold WHERE account = ?1 ORDER BY id";
    let mut holds = db.prepare_cached(sql)?;
    let holds = holds.query_map([id.as_str()], |row| {
        Ok(Hold {
            id: id_at(row, 0)?,
            deadline: Timestamp::from_millis(row.get(1)?),
            done: credits(row, 2)?,
            parts: from_json::<Vec<Part>>(row, 3)?,
        })
    })?;
    account.holds = holds.collect::<Result<_, _>>()?;
    account.jobs = jobs::read(db, id)?;
    Ok(Some(account))
}

/// The id in column `at`.
pub(super) fn id_at(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Id> {
    row.get::<_, [u8; 16]>(at).map(|bytes| Id::from_u128(u128::from_be_bytes(bytes)))
}

/// The JSON in column `at`.
pub(super) fn from_json<T: serde::de::DeserializeOwned>(
    row: &rusqlite::Row<'_>,
    at: usize,
) -> rusqlite::Result<T> {
    let text: String = row.get(at)?;
    serde_json::from_str(&text).map_err(|error| bad_column(at, error))
}

/// A value that the schema should have kept out.
pub(super) fn bad_column(
    at: usize,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, error.into())
}

pub(super) fn credits(
    row: &rusqlite::Row<'_>,
    at: usize,
) -> rusqlite::Result<crate::credit::Credits> {
    let micros: u64 = row.get(at)?;
    crate::credit::Credits::from_micros(micros)
        .ok_or_else(|| bad_column(at, "an amount is too large"))
}

pub(super) fn read_kind(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<LotKind> {
    match row.get_ref(at)?.as_str()? {
        "plan" => Ok(LotKind::Plan),
        "gift" => Ok(LotKind::Gift),
        "purchased" => Ok(LotKind::Purchased),
        other => Err(bad_column(at, format!("unknown kind of lot `{other}`"))),
    }
}

fn read_lot(row: &rusqlite::Row<'_>) -> rusqlite::Result<Lot> {
    let source: Option<String> = row.get(2)?;
    Ok(Lot {
        no: row.get(0)?,
        kind: read_kind(row, 1)?,
        source: source.map(SourceId::try_from).transpose().map_err(|error| bad_column(2, error))?,
        start: Timestamp::from_millis(row.get(3)?),
        end: Timestamp::from_millis(row.get(4)?),
        granted: credits(row, 5)?,
        remaining: credits(row, 6)?,
        held: credits(row, 7)?,
    })
}

fn write_account(
    db: &Transaction<'_>,
    id: &AccountId,
    before: &Account,
    after: &Account,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO account VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
               ON CONFLICT (id) DO UPDATE SET seq = ?2, clock = ?3, gate_until = ?4, version = ?5,
               debt = ?6, plan_start = ?7, lots_opened = ?8, expired = ?9";
    db.prepare_cached(sql)?.execute(params![
        id.as_str(),
        after.seq,
        after.clock.millis(),
        after.gate_until.millis(),
        after.version,
        after.debt.micros(),
        after.plan_start.millis(),
        after.lots_opened,
        to_json(&after.expired)?,
    ])?;
    for lot in before.lots.iter().filter(|lot| after.lot(lot.no).is_none()) {
        let sql = "DELETE FROM lot WHERE account = ?1 AND no = ?2";
        db.prepare_cached(sql)?.execute(params![id.as_str(), lot.no])?;
    }
    for lot in after.lots.iter().filter(|lot| before.lot(lot.no) != Some(lot)) {
        let sql = "INSERT INTO lot VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                   ON CONFLICT (account, no) DO UPDATE
                   SET ends = ?6, granted = ?7, remaining = ?8, held = ?9";
        db.prepare_cached(sql)?.execute(params![
            id.as_str(),
            lot.no,
            lot.kind.as_str(),
            lot.source.as_ref().map(SourceId::as_str),
            lot.start.millis(),
            lot.end.millis(),
            lot.granted.micros(),
            lot.remaining.micros(),
            lot.held.micros(),
        ])?;
    }
    jobs::write(db, id, &before.jobs, &after.jobs)?;
    write_holds(db, id, &before.holds, &after.holds)
}

fn write_holds(
    db: &Transaction<'_>,
    account: &AccountId,
    before: &[Hold],
    after: &[Hold],
) -> rusqlite::Result<()> {
    let former: HashMap<Id, &Hold> = before.iter().map(|hold| (hold.id, hold)).collect();
    let open: HashMap<Id, &Hold> = after.iter().map(|hold| (hold.id, hold)).collect();
    for hold in before.iter().filter(|hold| !open.contains_key(&hold.id)) {
        let sql = "DELETE FROM hold WHERE account = ?1 AND id = ?2";
        db.prepare_cached(sql)?.execute(params![account.as_str(), bytes(hold.id)])?;
    }
    for hold in after.iter().filter(|hold| former.get(&hold.id) != Some(hold)) {
        let sql = "INSERT INTO hold VALUES (?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT (account, id) DO UPDATE SET deadline = ?3, done = ?4, parts = ?5";
        db.prepare_cached(sql)?.execute(params![
            account.as_str(),
            bytes(hold.id),
            hold.deadline.millis(),
            hold.done.micros(),
            to_json(&hold.parts)?,
        ])?;
    }
    Ok(())
}

fn write_entry(db: &Transaction<'_>, account: &AccountId, entry: &Entry) -> rusqlite::Result<()> {
    insert_entry(db, account, entry)?;
    if let Fact::LotExpired { lot, amount } = &entry.fact {
        let sql = "UPDATE source SET expired = expired + ?3 WHERE account = ?1 AND lot = ?2";
        db.prepare_cached(sql)?.execute(params![account.as_str(), lot, amount.micros()])?;
    }
    Ok(())
}

/// Adds one line to a ledger, or to an archive.
pub(super) fn insert_entry(
    db: &Transaction<'_>,
    account: &AccountId,
    entry: &Entry,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    db.prepare_cached(sql)?.execute(params![
        account.as_str(),
        entry.seq,
        entry.at.millis(),
        bytes(entry.op),
        entry.fact.name(),
        entry.fact.hold().map(bytes),
        entry.fact.change(),
        entry.balance,
        to_json(&entry.fact)?,
    ])?;
    Ok(())
}

type Outcome = Result<Done, Refusal>;

pub(super) fn remembered(
    db: &Connection,
    id: Id,
    step: &str,
) -> rusqlite::Result<Option<([u8; 16], Outcome)>> {
    let sql = "SELECT fingerprint, outcome FROM operation WHERE id = ?1 AND step = ?2";
    let mut query = db.prepare_cached(sql)?;
    query
        .query_row(params![bytes(id), step], |row| Ok((row.get(0)?, from_json::<Outcome>(row, 1)?)))
        .optional()
}

fn remember(
    db: &Transaction<'_>,
    id: Id,
    step: &str,
    account: &AccountId,
    fingerprint: [u8; 16],
    outcome: &Outcome,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO operation VALUES (?1, ?2, ?3, ?4, ?5)";
    let row = params![bytes(id), step, account.as_str(), fingerprint, to_json(outcome)?];
    db.prepare_cached(sql)?.execute(row).map(|_| ())
}

pub(super) fn bytes(id: Id) -> [u8; 16] {
    id.as_u128().to_be_bytes()
}

pub(super) fn to_json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}
