//! What was made through each account, in the file.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::credit::{AccountId, Timestamp};
use crate::ledger::owned::{Owned, Spell, Thing};

/// Forgotten things in one go, so that tidying never holds up a batch for long.
const FORGET: u32 = 20_000;

/// The table, which files of earlier versions lack.
pub(super) const TABLE: &str = include_str!("owned.sql");

/// Whether `account` owns every one of `things`.
pub(super) fn all_owned(
    db: &Connection,
    account: &AccountId,
    things: &[Thing],
    now: Timestamp,
) -> rusqlite::Result<bool> {
    for thing in things {
        if !is_owned(db, account, thing, now)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether `account` owns `thing`.
pub(super) fn is_owned(
    db: &Connection,
    account: &AccountId,
    thing: &Thing,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let sql = "SELECT spell FROM owned WHERE account = ?1 AND thing = ?2";
    let key = params![account.as_str(), thing.bytes()];
    let spell: Option<Option<u16>> =
        db.prepare_cached(sql)?.query_row(key, |row| row.get(0)).optional()?;
    let owned = |spell: Option<u16>| Owned { thing: *thing, spell: spell.map(Spell::from_number) };
    Ok(spell.is_some_and(|spell| owned(spell).is_known(now)))
}

/// `account` owns these from now on.
pub(super) fn write(
    db: &Transaction<'_>,
    account: &AccountId,
    owned: &[Owned],
) -> rusqlite::Result<()> {
    // What is kept for ever stays so.
    let sql = "INSERT INTO owned VALUES (?1, ?2, ?3) ON CONFLICT (account, thing) DO UPDATE
               SET spell = CASE WHEN spell IS NULL THEN NULL ELSE excluded.spell END";
    let mut insert = db.prepare_cached(sql)?;
    for Owned { thing, spell } in owned {
        let spell = spell.map(Spell::number);
        insert.execute(params![account.as_str(), thing.bytes(), spell])?;
    }
    Ok(())
}

/// `account` doesn't own it any more.
pub(super) fn forget(
    db: &Transaction<'_>,
    account: &AccountId,
    thing: &Thing,
) -> rusqlite::Result<()> {
    let sql = "DELETE FROM owned WHERE account = ?1 AND thing = ?2";
    db.prepare_cached(sql)?.execute(params![account.as_str(), thing.bytes()]).map(|_| ())
}

/// Forgets what providers have forgotten.
pub(super) fn forget_old(db: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    let oldest = Spell::known(now).last().map_or(0, Spell::number);
    let sql = "DELETE FROM owned WHERE (account, thing) IN
               (SELECT account, thing FROM owned WHERE spell < ?1 LIMIT ?2)";
    db.execute(sql, params![oldest, FORGET]).map(|_| ())
}

/// All that `account` owns at `now`, in order. A file of an earlier version has none.
pub(super) fn all(
    db: &Connection,
    account: &AccountId,
    now: Timestamp,
) -> rusqlite::Result<Vec<Owned>> {
    let sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'owned'";
    if !db.prepare_cached(sql)?.exists([])? {
        return Ok(Vec::new());
    }
    let sql = "SELECT thing, spell FROM owned WHERE account = ?1 ORDER BY thing";
    let read = |row: &rusqlite::Row<'_>| {
        let (thing, spell): ([u8; 16], Option<u16>) = (row.get(0)?, row.get(1)?);
        Ok(Owned { thing: Thing::from_bytes(thing), spell: spell.map(Spell::from_number) })
    };
    let mut all = db.prepare_cached(sql)?;
    let mut owned: Vec<Owned> =
        all.query_map([account.as_str()], read)?.collect::<Result<_, _>>()?;
    owned.retain(|owned| owned.is_known(now));
    Ok(owned)
}
