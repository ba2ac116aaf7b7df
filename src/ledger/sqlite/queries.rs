//! Reads on the side: balances, entries, audits. Never on the path of a call.

use rusqlite::{Connection, Row, params};

use super::books::{from_json, id_at, read_account};
use crate::credit::{Account, AccountId, Entry, Id, Period, Timestamp, read};
use crate::ledger::audit::{Auditor, Report};

/// The books of `account` at `now`, as a reader sees them.
pub(super) fn account_at(
    db: &mut Connection,
    account: &AccountId,
    period: Option<Period>,
    now: Timestamp,
) -> rusqlite::Result<Option<Account>> {
    let snapshot = db.transaction()?;
    let Some(books) = read_account(&snapshot, account)? else { return Ok(None) };
    // Books that break a rule are shown as they stand; `verify` says what is wrong with them.
    Ok(Some(read(&books, period, now).unwrap_or(books)))
}

/// Entries of `account` after number `after`, oldest first.
pub(super) fn entries(
    db: &Connection,
    account: &AccountId,
    after: u64,
    limit: u32,
) -> rusqlite::Result<Vec<Entry>> {
    let sql = "SELECT account, seq, at, op, balance, fact FROM entry
               WHERE account = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
    let mut query = db.prepare_cached(sql)?;
    query
        .query_map(params![account.as_str(), after, limit], |row| Ok(read_entry(row)?.1))?
        .collect()
}

/// Entries about the call `id`, or written by it, oldest first.
pub(super) fn explain(db: &Connection, id: Id) -> rusqlite::Result<Vec<(AccountId, Entry)>> {
    let bytes = id.as_u128().to_be_bytes();
    let sql = "SELECT account, seq, at, op, balance, fact FROM entry WHERE hold = ?1 ORDER BY seq";
    let mut query = db.prepare_cached(sql)?;
    query.query_map([bytes], read_entry)?.collect()
}

/// Checks every account against its entries, in one snapshot of the file.
pub(super) fn audit(db: &mut Connection, now: Timestamp) -> rusqlite::Result<Report> {
    let snapshot = db.transaction()?;
    let mut report = Report::default();
    let mut accounts = snapshot.prepare(
        "SELECT id FROM account UNION SELECT account FROM entry UNION SELECT account FROM record",
    )?;
    let mut ids = accounts.query([])?;
    let sql =
        "SELECT account, seq, at, op, balance, fact FROM entry WHERE account = ?1 ORDER BY seq";
    let mut query = snapshot.prepare(sql)?;
    while let Some(row) = ids.next()? {
        let id: String = row.get(0)?;
        let id = AccountId::try_from(id).map_err(|error| super::books::bad_column(0, error))?;
        let mut auditor = Auditor::new(id.clone());
        let mut rows = query.query([id.as_str()])?;
        while let Some(row) = rows.next()? {
            auditor.entry(&read_entry(row)?.1);
        }
        let stored = read_account(&snapshot, &id)?.unwrap_or_default();
        auditor.close(&stored, now, &mut report);
    }
    Ok(report)
}

fn read_entry(row: &Row<'_>) -> rusqlite::Result<(AccountId, Entry)> {
    let account: String = row.get(0)?;
    let account = account.try_into().map_err(|error| super::books::bad_column(0, error))?;
    let entry = Entry {
        seq: row.get(1)?,
        at: Timestamp::from_millis(row.get(2)?),
        op: id_at(row, 3)?,
        balance: row.get(4)?,
        fact: from_json(row, 5)?,
    };
    Ok((account, entry))
}
