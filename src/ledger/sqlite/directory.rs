//! Accounts' records and keys in the file.

use chrono_tz::Tz;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::books::{Books, StepError, bad_column};
use crate::config::WhenExhausted;
use crate::credit::{AccountId, Credits, Id, Operation, Timestamp};
use crate::directory::{Key, KeyHash, KnownKey, Owner, Record};
use crate::ledger::{Change, Changed};

/// The record of `account`.
pub(super) fn record(db: &Connection, account: &AccountId) -> rusqlite::Result<Option<Record>> {
    let sql = "SELECT account, version, plan, anchor, zone, created, when_exhausted FROM record
               WHERE account = ?1";
    db.prepare_cached(sql)?.query_row([account.as_str()], read_record).optional()
}

/// Records after the name `after`, in order.
pub(super) fn records(db: &Connection, after: &str, limit: u32) -> rusqlite::Result<Vec<Record>> {
    let sql = "SELECT account, version, plan, anchor, zone, created, when_exhausted FROM record
               WHERE account > ?1 ORDER BY account LIMIT ?2";
    let mut query = db.prepare_cached(sql)?;
    query.query_map(params![after, limit], read_record)?.collect()
}

/// The key with this hash, and its record's version.
pub(super) fn key(db: &Connection, hash: KeyHash) -> rusqlite::Result<Option<KnownKey>> {
    let sql = "SELECT id, name, account, prefix, created, ends, revoked,
                      coalesce((SELECT version FROM record WHERE record.account = key.account), 0)
               FROM key WHERE hash = ?1";
    let read = |row: &Row<'_>| Ok(KnownKey { key: read_key(row)?, version: row.get(7)? });
    db.prepare_cached(sql)?.query_row([hash.0], read).optional()
}

/// The keys of `account`, or the service keys; oldest first.
pub(super) fn keys(db: &Connection, account: Option<&AccountId>) -> rusqlite::Result<Vec<Key>> {
    let sql = "SELECT id, name, account, prefix, created, ends, revoked
               FROM key WHERE account IS ?1 ORDER BY created, id";
    let mut query = db.prepare_cached(sql)?;
    query.query_map([account.map(AccountId::as_str)], read_key)?.collect()
}

impl Books {
    /// Carries out a change of the directory, and the operation on the account's books that goes with it. The books
    /// come first: a step that they refuse leaves no trace in the directory.
    pub(super) fn change(
        &mut self,
        db: &Transaction<'_>,
        id: Id,
        change: Change,
        now: Timestamp,
    ) -> Result<Changed, StepError> {
        let mut scope = Scope { books: self, db, id, now };
        match change {
            Change::Create { record, gate_until } => scope.create(record, gate_until),
            Change::Gate { account, until } => scope.gate(&account, until),
            Change::Plan { account, plan, allowance } => scope.plan(&account, plan, allowance),
            Change::WhenExhausted { account, status } => scope.when_exhausted(&account, status),
            Change::IssueKey { key, hash } => scope.issue_key(&key, hash),
            Change::RevokeKey { id: key } => scope.revoke_key(&key),
        }
    }
}

struct Scope<'a> {
    books: &'a mut Books,
    db: &'a Transaction<'a>,
    id: Id,
    now: Timestamp,
}

impl Scope<'_> {
    fn create(&mut self, new: Record, gate_until: Timestamp) -> Result<Changed, StepError> {
        if record(self.db, &new.account)?.is_some() {
            return Ok(Changed::AccountExists);
        }
        self.raise(Record { version: 0, ..new }, Some(gate_until))
    }

    fn gate(&mut self, account: &AccountId, until: Timestamp) -> Result<Changed, StepError> {
        let Some(record) = record(self.db, account)? else { return Ok(Changed::NoSuchAccount) };
        self.raise(record, Some(until))
    }

    fn plan(
        &mut self,
        account: &AccountId,
        plan: String,
        allowance: Credits,
    ) -> Result<Changed, StepError> {
        let Some(record) = record(self.db, account)? else { return Ok(Changed::NoSuchAccount) };
        let operation = Operation::Plan { allowance };
        let reply = self.books.apply(self.db, account, self.id, &operation, self.now)?;
        match reply.outcome {
            Ok(_) => self.raise(Record { plan, ..record }, None),
            Err(refusal) => Ok(Changed::Refused(refusal)),
        }
    }

    fn when_exhausted(
        &mut self,
        account: &AccountId,
        status: Option<WhenExhausted>,
    ) -> Result<Changed, StepError> {
        let Some(record) = record(self.db, account)? else { return Ok(Changed::NoSuchAccount) };
        self.raise(Record { when_exhausted: status, ..record }, None)
    }

    fn issue_key(&mut self, key: &Key, hash: KeyHash) -> Result<Changed, StepError> {
        let account = match &key.owner {
            Owner::Account(account) => Some(account),
            Owner::Service => None,
        };
        let changed = self.with_key(account, hash)?;
        if matches!(changed, Changed::Done { .. }) {
            let sql = "INSERT INTO key VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, NULL)";
            self.db.prepare_cached(sql)?.execute(params![
                hash.0,
                key.id,
                key.name,
                account.map(AccountId::as_str),
                key.prefix,
                key.created.millis(),
                key.ends.map(Timestamp::millis),
            ])?;
        }
        Ok(changed)
    }

    fn revoke_key(&mut self, key: &str) -> Result<Changed, StepError> {
        let sql = "SELECT hash, account FROM key WHERE id = ?1";
        let read = |row: &Row<'_>| Ok((KeyHash(row.get(0)?), row.get::<_, Option<String>>(1)?));
        let found = self.db.prepare_cached(sql)?.query_row([key], read).optional()?;
        let Some((hash, account)) = found else { return Ok(Changed::NoSuchKey) };
        let account = account.map(AccountId::try_from).transpose();
        let account = account.map_err(|error| bad_column(1, error))?;
        let changed = self.with_key(account.as_ref(), hash)?;
        if matches!(changed, Changed::Done { .. }) {
            let sql = "UPDATE key SET revoked = coalesce(revoked, ?2) WHERE id = ?1";
            self.db.prepare_cached(sql)?.execute(params![key, self.now.millis()])?;
        }
        Ok(changed)
    }

    /// Raises the version of the record that a key belongs to; a service key belongs to none.
    fn with_key(
        &mut self,
        account: Option<&AccountId>,
        hash: KeyHash,
    ) -> Result<Changed, StepError> {
        let Some(account) = account else {
            return Ok(Changed::Done { record: None, key: Some(hash) });
        };
        let Some(record) = record(self.db, account)? else { return Ok(Changed::NoSuchAccount) };
        Ok(match self.raise(record, None)? {
            Changed::Done { record, .. } => Changed::Done { record, key: Some(hash) },
            other => other,
        })
    }

    /// Writes `record` with the next version, in the directory and in the account's books.
    fn raise(
        &mut self,
        mut record: Record,
        gate_until: Option<Timestamp>,
    ) -> Result<Changed, StepError> {
        record.version += 1;
        let until = match gate_until {
            Some(until) => until,
            None => self.books.account(self.db, &record.account)?.gate_until,
        };
        let gate = Operation::Gate { until, version: record.version };
        let reply = self.books.apply(self.db, &record.account, self.id, &gate, self.now)?;
        if let Err(refusal) = reply.outcome {
            return Ok(Changed::Refused(refusal));
        }
        let sql = "INSERT INTO record (account, version, plan, anchor, zone, created, when_exhausted)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                   ON CONFLICT (account) DO UPDATE SET version = ?2, plan = ?3, when_exhausted = ?7";
        self.db.prepare_cached(sql)?.execute(params![
            record.account.as_str(),
            record.version,
            record.plan,
            record.anchor.millis(),
            record.zone.name(),
            record.created.millis(),
            record.when_exhausted.map(WhenExhausted::status),
        ])?;
        Ok(Changed::Done { record: Some(record), key: None })
    }
}

fn read_record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let account: String = row.get(0)?;
    let zone: String = row.get(4)?;
    // What this version doesn't know is as the plan says.
    let when_exhausted = row.get::<_, Option<u64>>(6)?.and_then(WhenExhausted::of_status);
    Ok(Record {
        account: account.try_into().map_err(|error| bad_column(0, error))?,
        version: row.get(1)?,
        plan: row.get(2)?,
        anchor: Timestamp::from_millis(row.get(3)?),
        zone: zone.parse::<Tz>().map_err(|error| bad_column(4, error))?,
        created: Timestamp::from_millis(row.get(5)?),
        when_exhausted,
    })
}

fn read_key(row: &Row<'_>) -> rusqlite::Result<Key> {
    let account: Option<String> = row.get(2)?;
    let account = account.map(AccountId::try_from).transpose();
    Ok(Key {
        id: row.get(0)?,
        name: row.get(1)?,
        owner: account
            .map_err(|error| bad_column(2, error))?
            .map_or(Owner::Service, Owner::Account),
        prefix: row.get(3)?,
        created: Timestamp::from_millis(row.get(4)?),
        ends: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_millis),
        revoked: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_millis),
    })
}
