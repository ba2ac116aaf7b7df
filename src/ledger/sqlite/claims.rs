//! Claims in the file: read and written in the step of the hold that they belong to.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::books::{Books, FORGET, StepError, bad_column, remembered};
use crate::credit::{
    Account, AccountId, Claim, ClaimName, Claims, Credits, Fate, Id, Operation, REMEMBERED_MILLIS,
    Timestamp, decide,
};
use crate::ledger::Claimed;
use crate::ledger::fingerprint::fingerprint;

impl Books {
    /// One hold, once, with its claims.
    pub(super) fn claim(
        &mut self,
        db: &Transaction<'_>,
        (account, id): (&AccountId, Id),
        hold: &Operation,
        claims: &Claims,
        now: Timestamp,
    ) -> Result<Claimed, StepError> {
        let asked = fingerprint(account, hold);
        let is_too_old = id.made_at().after_millis(REMEMBERED_MILLIS) < now;
        if is_too_old || remembered(db, id, "hold")?.is_some() {
            let reply = self.apply_as(db, (account, id), hold, asked, now)?;
            let rides = rides(self.account(db, account)?, id, hold);
            return Ok(Claimed::Answered { reply, rides });
        }
        let books = self.account(db, account)?;
        let now_there = now.max(books.clock);
        let key = known(db, (account, books), claims.key, now)?;
        let task = known(db, (account, books), claims.task.map(|task| task.name), now)?;
        let decision = match decide(claims, key, task, id, now_there) {
            Ok(decision) => decision,
            Err(repeated) => return Ok(Claimed::Repeated(repeated)),
        };
        for call in decision.gives_up.into_iter().flatten() {
            self.apply(db, account, call, &Operation::Release, now)?;
        }
        let free = decision.rides.then(|| without_price(hold));
        let operation = free.as_ref().unwrap_or(hold);
        let reply = self.apply_as(db, (account, id), operation, asked, now)?;
        if reply.outcome.is_ok() {
            let task_name = claims.task.map(|task| task.name);
            for (name, claim) in [(claims.key, decision.key), (task_name, decision.task)] {
                if let (Some(name), Some(claim)) = (name, claim) {
                    write(db, account, name, &claim)?;
                }
            }
        }
        let rides = rides(self.account(db, account)?, id, hold);
        Ok(Claimed::Answered { reply, rides })
    }
}

/// The answer to the attempt `id` reached its client whole.
pub(super) fn delivered(
    db: &Transaction<'_>,
    account: &AccountId,
    key: ClaimName,
    id: Id,
) -> rusqlite::Result<()> {
    match read(db, account, key)? {
        Some(claim) if claim.call == id => {
            write(db, account, key, &Claim { delivered: true, ..claim })
        }
        Some(_) | None => Ok(()),
    }
}

/// Forgets claims that have ended.
pub(super) fn forget(now: Timestamp, db: &Connection) -> rusqlite::Result<()> {
    let sql = "DELETE FROM claim WHERE (account, name) IN
               (SELECT account, name FROM claim WHERE ends < ?1 LIMIT ?2)";
    db.execute(sql, params![now.millis(), FORGET]).map(|_| ())
}

/// Every claim after that of this account and name, in order; at most `limit`.
pub(super) fn all(
    db: &Connection,
    after: Option<&(AccountId, ClaimName, Claim)>,
    limit: u32,
) -> rusqlite::Result<Vec<(AccountId, ClaimName, Claim)>> {
    let there = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'claim'";
    if db.query_row(there, [], |_| Ok(())).optional()?.is_none() {
        return Ok(vec![]);
    }
    let sql = "SELECT account, name, claim FROM claim
               WHERE (account, name) > (?1, ?2) ORDER BY account, name LIMIT ?3";
    let (account, name) =
        after.map_or(("", [0; 32]), |(account, name, _)| (account.as_str(), name.0));
    let mut query = db.prepare_cached(sql)?;
    let found = query.query_map(params![account, name, limit], |row| {
        let account: String = row.get(0)?;
        let account = account.try_into().map_err(|error| bad_column(0, error))?;
        Ok((account, ClaimName(row.get(1)?), claim_at(row, 2)?))
    })?;
    found.collect()
}

/// Whether the hold `id`, which is open, holds nothing of what was asked.
fn rides(books: &Account, id: Id, asked: &Operation) -> bool {
    let Operation::Hold { amount, .. } = asked else { return false };
    !amount.is_zero() && books.hold(id).is_some_and(|hold| hold.amount().is_zero())
}

fn without_price(hold: &Operation) -> Operation {
    let mut hold = hold.clone();
    if let Operation::Hold { amount, .. } = &mut hold {
        *amount = Credits::ZERO;
    }
    hold
}

fn known(
    db: &Connection,
    (account, books): (&AccountId, &Account),
    name: Option<ClaimName>,
    now: Timestamp,
) -> rusqlite::Result<Option<(Claim, Fate)>> {
    let Some(name) = name else { return Ok(None) };
    let Some(claim) = read(db, account, name)? else { return Ok(None) };
    let mut charged = false;
    for step in ["settle", "charge"] {
        charged |= remembered(db, claim.call, step)?.is_some_and(|(_, outcome)| outcome.is_ok());
    }
    Ok(Some((claim, books.fate(claim.call, charged, now))))
}

fn read(db: &Connection, account: &AccountId, name: ClaimName) -> rusqlite::Result<Option<Claim>> {
    let sql = "SELECT claim FROM claim WHERE account = ?1 AND name = ?2";
    let mut query = db.prepare_cached(sql)?;
    query.query_row(params![account.as_str(), name.0], |row| claim_at(row, 0)).optional()
}

fn claim_at(row: &Row<'_>, at: usize) -> rusqlite::Result<Claim> {
    let text: String = row.get(at)?;
    text.parse().map_err(|error: crate::credit::BadClaim| bad_column(at, error))
}

fn write(
    db: &Transaction<'_>,
    account: &AccountId,
    name: ClaimName,
    claim: &Claim,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO claim VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (account, name) DO UPDATE SET claim = ?3, ends = ?4";
    let row = params![account.as_str(), name.0, claim.to_string(), claim.ends.millis()];
    db.prepare_cached(sql)?.execute(row).map(|_| ())
}
