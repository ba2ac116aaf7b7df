//! Jobs whose charge may be corrected, as an account's books have them.

use rusqlite::{Connection, Transaction, params};

use super::books::{bad_column, bytes, credits, from_json, id_at, to_json};
use crate::credit::{AccountId, Job, OpenJob, Timestamp};

/// The table, for files that were made before there was one.
pub(super) const TABLE: &str = include_str!("job.sql");

/// The jobs of `account`, in the order in which they were charged.
pub(super) fn read(db: &Connection, account: &AccountId) -> rusqlite::Result<Vec<OpenJob>> {
    let sql = "SELECT call, correct_until, charged, owed, parts, job FROM job
               WHERE account = ?1 ORDER BY place";
    let read = |row: &rusqlite::Row<'_>| {
        let job: String = row.get(5)?;
        Ok(OpenJob {
            call: id_at(row, 0)?,
            correct_until: Timestamp::from_millis(row.get(1)?),
            charged: credits(row, 2)?,
            owed: credits(row, 3)?,
            parts: from_json(row, 4)?,
            job: Job::try_from(job).map_err(|error| bad_column(5, error))?,
        })
    };
    db.prepare_cached(sql)?.query_map([account.as_str()], read)?.collect()
}

/// Writes what differs.
pub(super) fn write(
    db: &Transaction<'_>,
    account: &AccountId,
    before: &[OpenJob],
    after: &[OpenJob],
) -> rusqlite::Result<()> {
    if before == after {
        return Ok(());
    }
    let same = |a: &OpenJob, b: &OpenJob| (a.call, a.correct_until) == (b.call, b.correct_until);
    for job in before {
        match after.iter().find(|new| same(new, job)) {
            Some(new) if new == job => {}
            // A refund has asked for what it was taken from. Its place is the same.
            Some(new) => {
                let sql = "UPDATE job SET owed = ?3, parts = ?4 WHERE account = ?1 AND call = ?2";
                let (owed, parts) = (new.owed.micros(), to_json(&new.parts)?);
                let row = params![account.as_str(), bytes(job.call), owed, parts];
                db.prepare_cached(sql)?.execute(row)?;
            }
            None => {
                let sql = "DELETE FROM job WHERE account = ?1 AND call = ?2";
                db.prepare_cached(sql)?.execute(params![account.as_str(), bytes(job.call)])?;
            }
        }
    }
    // New ones follow those that were there.
    for job in after.iter().filter(|job| !before.iter().any(|old| same(old, job))) {
        let sql = "INSERT INTO job SELECT ?1, ?2, 1 + coalesce(max(place), 0), ?3, ?4, ?5, ?6, ?7
                   FROM job WHERE account = ?1";
        db.prepare_cached(sql)?.execute(params![
            account.as_str(),
            bytes(job.call),
            job.correct_until.millis(),
            job.charged.micros(),
            job.owed.micros(),
            to_json(&job.parts)?,
            job.job.to_string(),
        ])?;
    }
    Ok(())
}
