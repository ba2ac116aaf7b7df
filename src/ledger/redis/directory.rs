//! Accounts' records and keys in Redis.
//!
//! A key is kept with its account, so that one script issues or revokes it and raises the version. It is looked up by
//! its hash through a hint, which is written first: a hint without a key means nothing, and a key always has one.

use std::collections::HashMap;

use ::redis::{Cmd, cmd};

use super::text::{self, Unreadable, Words};
use super::{Store, hexadecimal, keys, unreadable};
use crate::config::WhenExhausted;
use crate::credit::{AccountId, Id, Timestamp};
use crate::directory::{Key, KeyHash, KnownKey, Owner, Record};
use crate::ledger::fingerprint::fingerprint;
use crate::ledger::{Change, Changed, LedgerError};

/// Records that are read at once.
const PORTION: usize = 500;

impl Store {
    pub(in crate::ledger) async fn change(
        &self,
        id: Id,
        change: Change,
    ) -> Result<Changed, LedgerError> {
        match change {
            Change::Create { record, gate_until } => {
                let words = vec![
                    "create".into(),
                    record.plan,
                    millis(record.anchor),
                    record.zone.name().to_owned(),
                    millis(record.created),
                    millis(gate_until),
                    status_text(record.when_exhausted),
                ];
                self.change_account(&record.account, id, words, None).await
            }
            Change::Gate { account, until } => {
                self.change_account(&account, id, vec!["gate".into(), millis(until)], None).await
            }
            Change::Plan { account, plan, allowance } => {
                let words = vec!["plan".into(), plan, allowance.micros().to_string()];
                self.change_account(&account, id, words, None).await
            }
            Change::WhenExhausted { account, status } => {
                let words = vec!["when_exhausted".into(), status_text(status)];
                self.change_account(&account, id, words, None).await
            }
            Change::IssueKey { key, hash } => self.issue_key(id, key, hash).await,
            Change::RevokeKey { id: key } => self.revoke_key(id, &key).await,
        }
    }

    async fn issue_key(&self, id: Id, key: Key, hash: KeyHash) -> Result<Changed, LedgerError> {
        if let Owner::Account(account) = &key.owner
            && self.record(account).await?.is_none()
        {
            return Ok(Changed::NoSuchAccount);
        }
        for (name, hint) in hints(hash, &key) {
            self.write(&name, cmd("SET").arg(&name).arg(hint)).await?;
        }
        let text = keys::hex(hash);
        let ends = key.ends.map_or_else(|| "-".to_owned(), millis);
        let created = millis(key.created);
        match key.owner {
            Owner::Account(account) => {
                let words = ["issue".into(), text, key.id, created, ends, key.prefix, key.name];
                self.change_account(&account, id, words.into(), Some(hash)).await
            }
            Owner::Service => {
                let mut set = cmd("HSETNX");
                let key = Key { revoked: None, ..key };
                set.arg(keys::SERVICE_KEYS).arg(&key_field(hash, &key));
                self.write(keys::SERVICE_KEYS, &set).await?;
                Ok(Changed::Done { record: None, key: Some(hash) })
            }
        }
    }

    async fn revoke_key(&self, id: Id, key: &str) -> Result<Changed, LedgerError> {
        let place = keys::hash_of(key);
        let hint: Option<String> = self.ask(&place, cmd("GET").arg(&place)).await?;
        let Some(hint) = hint else { return Ok(Changed::NoSuchKey) };
        let (text, owner) = hint.split_once(' ').unwrap_or((&hint, ""));
        let hash = read_hash(text).map_err(|error| unreadable(&error))?;
        if !owner.is_empty() {
            let owner: AccountId = text::parsed(owner).map_err(|error| unreadable(&error))?;
            let words = vec!["revoke".into(), text.to_owned()];
            return self.change_account(&owner, id, words, Some(hash)).await;
        }
        let Some(known) = self.key(hash).await? else { return Ok(Changed::NoSuchKey) };
        if known.key.revoked.is_none() {
            let mut set = cmd("HSET");
            let key = Key { revoked: Some((self.clock)()), ..known.key };
            set.arg(keys::SERVICE_KEYS).arg(&key_field(hash, &key));
            self.write(keys::SERVICE_KEYS, &set).await?;
        }
        Ok(Changed::Done { record: None, key: Some(hash) })
    }

    async fn change_account(
        &self,
        account: &AccountId,
        id: Id,
        words: Vec<String>,
        key: Option<KeyHash>,
    ) -> Result<Changed, LedgerError> {
        let fingerprint = hexadecimal(fingerprint(account, &words));
        let now = self.now_for_scripts();
        let step = self.functions.change((account, id), &words, &fingerprint, now);
        let answer = self.step(account, true, &step).await?;
        changed(account, &answer, key).map_err(|error| unreadable(&error))
    }

    pub(in crate::ledger) async fn record(
        &self,
        account: &AccountId,
    ) -> Result<Option<Record>, LedgerError> {
        let fields: Vec<Option<String>> =
            self.ask(&keys::record(account), &record_fields(account)).await?;
        read_record(account, &fields).map_err(|error| unreadable(&error))
    }

    pub(in crate::ledger) async fn records(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Record>, LedgerError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut found = Vec::new();
        let mut after = after.to_owned();
        while found.len() < limit {
            // Some names have books and no record: ask on until there are enough.
            let names = self.names(&after, limit.min(PORTION)).await?;
            let Some(last) = names.last() else { break };
            last.as_str().clone_into(&mut after);
            let questions = names.iter().map(|name| (keys::record(name), record_fields(name)));
            let records = self.ask_all::<Vec<Option<String>>>(questions.collect()).await?;
            for (name, fields) in names.iter().zip(&records) {
                found.extend(read_record(name, fields).map_err(|error| unreadable(&error))?);
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Names of accounts after `after`, in order; at most `limit`.
    async fn names(&self, after: &str, limit: usize) -> Result<Vec<AccountId>, LedgerError> {
        let first = if after.is_empty() { "-".to_owned() } else { format!("({after}") };
        let questions = keys::Shard::all().map(|shard| {
            let (key, mut range) = (shard.names(), cmd("ZRANGEBYLEX"));
            range.arg(&key).arg(&first).arg("+").arg("LIMIT").arg(0).arg(limit);
            (key, range)
        });
        let mut names = Vec::new();
        for found in self.ask_all::<Vec<String>>(questions.collect()).await? {
            for name in found {
                names.push(text::parsed::<AccountId>(&name).map_err(|error| unreadable(&error))?);
            }
        }
        names.sort();
        names.truncate(limit);
        Ok(names)
    }

    pub(in crate::ledger) async fn key(
        &self,
        hash: KeyHash,
    ) -> Result<Option<KnownKey>, LedgerError> {
        let place = keys::owner(hash);
        let owner: Option<String> = self.ask(&place, cmd("GET").arg(&place)).await?;
        let Some(owner) = owner else { return Ok(None) };
        let (owner, place, version) = if owner.is_empty() {
            (Owner::Service, keys::SERVICE_KEYS.to_owned(), 0)
        } else {
            let account: AccountId = text::parsed(&owner).map_err(|error| unreadable(&error))?;
            // The version first: a key that is read after it may be newer, which costs a reload, never older.
            let version = self.record(&account).await?.map_or(0, |record| record.version);
            let place = keys::keys(&account);
            (Owner::Account(account), place, version)
        };
        let details: Option<String> =
            self.ask(&place, cmd("HGET").arg(&place).arg(keys::hex(hash))).await?;
        let key = details.map(|details| read_key(owner, &details)).transpose();
        let key = key.map_err(|error| unreadable(&error))?;
        Ok(key.map(|key| KnownKey { key, version }))
    }

    pub(in crate::ledger) async fn keys(
        &self,
        account: Option<&AccountId>,
    ) -> Result<Vec<Key>, LedgerError> {
        let keys = self.keys_with_hashes(account).await?;
        Ok(keys.into_iter().map(|(_, key)| key).collect())
    }

    /// The keys of `account`, or the service keys, with their hashes; oldest first.
    pub(super) async fn keys_with_hashes(
        &self,
        account: Option<&AccountId>,
    ) -> Result<Vec<(KeyHash, Key)>, LedgerError> {
        let place = account.map_or_else(|| keys::SERVICE_KEYS.to_owned(), keys::keys);
        let owner = account.cloned().map_or(Owner::Service, Owner::Account);
        let found: HashMap<String, String> = self.ask(&place, cmd("HGETALL").arg(&place)).await?;
        let read = |(hash, details): (&String, &String)| {
            Ok((read_hash(hash)?, read_key(owner.clone(), details)?))
        };
        let keys: Result<Vec<_>, Unreadable> = found.iter().map(read).collect();
        let mut keys = keys.map_err(|error| unreadable(&error))?;
        keys.sort_by(|(_, a), (_, b)| (a.created, &a.id).cmp(&(b.created, &b.id)));
        Ok(keys)
    }
}

/// A record as the fields of its hash.
pub(super) fn record_text(record: &Record) -> [(&'static str, String); 6] {
    [
        ("version", record.version.to_string()),
        ("plan", record.plan.clone()),
        ("anchor", millis(record.anchor)),
        ("zone", record.zone.name().to_owned()),
        ("created", millis(record.created)),
        ("when_exhausted", status_text(record.when_exhausted)),
    ]
}

/// A status, or nothing: as the plan says.
fn status_text(status: Option<WhenExhausted>) -> String {
    status.map_or_else(String::new, |status| status.status().to_string())
}

/// A key as it is kept: its hash, and `id created ends revoked prefix name`.
pub(super) fn key_field(hash: KeyHash, key: &Key) -> [String; 2] {
    let Key { id, name, owner: _, prefix, created, ends, revoked } = key;
    let [ends, revoked] = [ends, revoked].map(|at| at.map_or_else(|| "-".to_owned(), millis));
    [keys::hex(hash), format!("{id} {} {ends} {revoked} {prefix} {name}", millis(*created))]
}

/// Where a key's hints stand, and what they say.
pub(super) fn hints(hash: KeyHash, key: &Key) -> [(String, String); 2] {
    let owner = match &key.owner {
        Owner::Account(account) => account.as_str(),
        Owner::Service => "",
    };
    let of_name = format!("{} {owner}", keys::hex(hash));
    [(keys::owner(hash), owner.to_owned()), (keys::hash_of(&key.id), of_name)]
}

fn record_fields(account: &AccountId) -> Cmd {
    let mut command = cmd("HMGET");
    command.arg(keys::record(account)).arg(&[
        "version",
        "plan",
        "anchor",
        "zone",
        "created",
        "when_exhausted",
    ]);
    command
}

fn read_record(
    account: &AccountId,
    fields: &[Option<String>],
) -> Result<Option<Record>, Unreadable> {
    // Records of earlier versions say nothing of `when_exhausted`.
    let [Some(version), Some(plan), Some(anchor), Some(zone), Some(created), when_exhausted] =
        fields
    else {
        return Ok(None);
    };
    Ok(Some(Record {
        account: account.clone(),
        version: text::parsed(version)?,
        plan: plan.clone(),
        anchor: Timestamp::from_millis(text::parsed(anchor)?),
        zone: text::parsed(zone)?,
        created: Timestamp::from_millis(text::parsed(created)?),
        when_exhausted: when_exhausted
            .as_ref()
            .and_then(|status| status.parse().ok())
            .and_then(WhenExhausted::of_status),
    }))
}

/// What change.lua says.
fn changed(
    account: &AccountId,
    answer: &[String],
    key: Option<KeyHash>,
) -> Result<Changed, Unreadable> {
    let Some((outcome, fields)) = answer.split_first() else {
        return Err(Unreadable("nothing".into()));
    };
    Ok(match outcome.as_str() {
        "done" => {
            let fields: Vec<_> = fields.iter().cloned().map(Some).collect();
            Changed::Done { record: read_record(account, &fields)?, key }
        }
        "!account_exists" => Changed::AccountExists,
        "!no_such_account" => Changed::NoSuchAccount,
        "!no_such_key" => Changed::NoSuchKey,
        other => match text::outcome(other)? {
            Err(refusal) => Changed::Refused(refusal),
            Ok(_) => return Err(Unreadable(other.to_owned())),
        },
    })
}

/// A key out of `id created ends revoked prefix name`.
fn read_key(owner: Owner, details: &str) -> Result<Key, Unreadable> {
    let (head, name) = details
        .match_indices(' ')
        .nth(4)
        .map(|(at, _)| (&details[..at], &details[at + 1..]))
        .ok_or_else(|| Unreadable(details.to_owned()))?;
    let mut words = Words::new(head, ' ');
    let id = words.text()?.to_owned();
    let created = words.instant()?;
    let maybe = |word: &str| match word {
        "-" => Ok(None),
        millis => text::parsed(millis).map(|millis| Some(Timestamp::from_millis(millis))),
    };
    let (ends, revoked) = (maybe(words.text()?)?, maybe(words.text()?)?);
    let prefix = words.text()?.to_owned();
    Ok(Key { id, name: name.to_owned(), owner, prefix, created, ends, revoked })
}

fn read_hash(text: &str) -> Result<KeyHash, Unreadable> {
    let mut hash = KeyHash([0; 32]);
    if text.len() != 64 || !text.is_ascii() {
        return Err(Unreadable(text.to_owned()));
    }
    for (at, byte) in hash.0.iter_mut().enumerate() {
        let digits = &text[2 * at..2 * at + 2];
        *byte = u8::from_str_radix(digits, 16).map_err(|_| Unreadable(text.to_owned()))?;
    }
    Ok(hash)
}

fn millis(at: Timestamp) -> String {
    at.millis().to_string()
}
