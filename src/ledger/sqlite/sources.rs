//! What is remembered of sources, for ever: what each has granted, and what was taken back of it.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::books::{bad_column, credits, read_kind};
use crate::credit::{AccountId, Source, SourceId, Timestamp};

/// What is remembered of a source.
pub(super) fn one(
    db: &Connection,
    account: &AccountId,
    id: &SourceId,
) -> rusqlite::Result<Option<Source>> {
    let sql = "SELECT lot, kind, starts, ends, granted, expired, voided, reclaimed
               FROM source WHERE account = ?1 AND id = ?2";
    db.prepare_cached(sql)?.query_row([account.as_str(), id.as_str()], read_one).optional()
}

/// What is remembered of every source of `account`, by name.
pub(super) fn all(
    db: &Connection,
    account: &AccountId,
) -> rusqlite::Result<Vec<(SourceId, Source)>> {
    let sql = "SELECT lot, kind, starts, ends, granted, expired, voided, reclaimed, id
               FROM source WHERE account = ?1 ORDER BY id";
    let read = |row: &rusqlite::Row<'_>| {
        let id: String = row.get(8)?;
        Ok((id.try_into().map_err(|error| bad_column(8, error))?, read_one(row)?))
    };
    db.prepare_cached(sql)?.query_map([account.as_str()], read)?.collect()
}

fn read_one(row: &rusqlite::Row<'_>) -> rusqlite::Result<Source> {
    Ok(Source {
        lot: row.get(0)?,
        kind: read_kind(row, 1)?,
        start: Timestamp::from_millis(row.get(2)?),
        end: Timestamp::from_millis(row.get(3)?),
        granted: credits(row, 4)?,
        expired: credits(row, 5)?,
        voided: credits(row, 6)?,
        reclaimed: credits(row, 7)?,
    })
}

pub(super) fn write(
    db: &Transaction<'_>,
    account: &AccountId,
    id: &SourceId,
    source: &Source,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO source VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
               ON CONFLICT (account, id) DO UPDATE SET voided = ?9, reclaimed = ?10";
    db.prepare_cached(sql)?.execute(params![
        account.as_str(),
        id.as_str(),
        source.lot,
        source.kind.as_str(),
        source.start.millis(),
        source.end.millis(),
        source.granted.micros(),
        source.expired.micros(),
        source.voided.micros(),
        source.reclaimed.micros(),
    ])?;
    Ok(())
}
