//! What was made through each account: a hash for what stays, and one for each spell of what is forgotten some day, which
//! then goes as a whole. Thing by thing, with nothing as its value.

use std::collections::{BTreeMap, HashMap};

use ::redis::{Pipeline, Value, cmd, pipe};

use super::link::Request;
use super::{Store, hexadecimal, keys, read_reply, reply, text, unreadable};
use crate::credit::{AccountId, Id, Operation, Reply, Timestamp};
use crate::ledger::LedgerError;
use crate::ledger::fingerprint::fingerprint;
use crate::ledger::owned::{Owned, Spell, Thing};

/// Things that are written at once.
const PORTION: usize = 500;

impl Store {
    /// One operation, if `account` owns all of `things`; nothing if it doesn't.
    pub(in crate::ledger) async fn apply_if_owned(
        &self,
        account: &AccountId,
        id: Id,
        operation: &Operation,
        things: &[Thing],
    ) -> Result<Option<Reply>, LedgerError> {
        let fingerprint = hexadecimal(fingerprint(account, operation));
        let places = places(account, (self.clock)());
        let (now, step) = (self.now_for_scripts(), (account, id));
        let step =
            self.functions.apply_if_owned(step, operation, &fingerprint, now, &places, things);
        let answer = self.step(account, false, &step).await?;
        match answer.as_slice() {
            [word, _] if word == "foreign" => Ok(None),
            _ => reply(&answer).map(Some),
        }
    }

    /// Which of `things` belong to `account`.
    pub(in crate::ledger) async fn owns(
        &self,
        account: &AccountId,
        things: &[Thing],
    ) -> Result<Vec<bool>, LedgerError> {
        if things.is_empty() {
            return Ok(Vec::new());
        }
        let mut asked = Pipeline::new();
        let places = places(account, (self.clock)());
        for place in &places {
            let question = asked.cmd("HMGET").arg(place);
            for thing in things {
                question.arg(thing.bytes());
            }
        }
        let replies = self.link.ask(&places[0], Request::Many(&asked)).await?;
        let Value::Array(replies) = replies else {
            return Err(LedgerError::Unknown(format!("{replies:?}")));
        };
        let mut owned = vec![false; things.len()];
        for reply in replies {
            let found: Vec<Option<Vec<u8>>> = read_reply(reply)?;
            for (owned, found) in owned.iter_mut().zip(found) {
                *owned |= found.is_some();
            }
        }
        Ok(owned)
    }

    /// `account` owns these from now on. What stays for ever is on replicas when this returns.
    pub(in crate::ledger) async fn own(
        &self,
        account: &AccountId,
        owned: &[Owned],
    ) -> Result<(), LedgerError> {
        let now = (self.clock)();
        for (spell, things) in by_spell(owned) {
            let place = keys::owned(account, spell);
            for portion in things.chunks(PORTION) {
                let mut write = cmd("HSET");
                write.arg(&place);
                for thing in portion {
                    write.arg(thing.bytes()).arg("");
                }
                match spell {
                    None => self.write(&place, &write).await?,
                    Some(spell) => {
                        let mut both = pipe();
                        both.add_command(write);
                        both.cmd("PEXPIRE").arg(&place).arg(spell.left(now).max(1));
                        self.write_all(&place, &both).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// `account` doesn't own it any more.
    pub(in crate::ledger) async fn forget(
        &self,
        account: &AccountId,
        thing: &Thing,
    ) -> Result<(), LedgerError> {
        let mut both = pipe();
        let places = places(account, (self.clock)());
        for place in &places {
            both.cmd("HDEL").arg(place).arg(thing.bytes());
        }
        self.write_all(&places[0], &both).await
    }

    /// All that `account` owns, in order.
    pub(in crate::ledger) async fn all_owned(
        &self,
        account: &AccountId,
    ) -> Result<Vec<Owned>, LedgerError> {
        let mut owned = Vec::new();
        let spells = Spell::known((self.clock)()).map(Some);
        for spell in std::iter::once(None).chain(spells) {
            let place = keys::owned(account, spell);
            let fields: HashMap<Vec<u8>, Vec<u8>> =
                self.ask(&place, cmd("HGETALL").arg(&place)).await?;
            for thing in fields.into_keys() {
                let bytes = thing
                    .try_into()
                    .map_err(|other| unreadable(&text::Unreadable(format!("a thing {other:?}"))))?;
                owned.push(Owned { thing: Thing::from_bytes(bytes), spell });
            }
        }
        owned.sort_unstable();
        Ok(owned)
    }

    /// Commands about one slot, of which `key` is one of the keys.
    pub(super) async fn write_all(
        &self,
        key: &str,
        commands: &Pipeline,
    ) -> Result<(), LedgerError> {
        let replies = self.link.ask(key, Request::Many(commands)).await?;
        replies.extract_error().map(drop).map_err(|error| LedgerError::Unknown(error.to_string()))
    }
}

/// Where what `account` owns may stand.
pub(super) fn places(account: &AccountId, now: Timestamp) -> Vec<String> {
    let spells = Spell::known(now).map(Some);
    std::iter::once(None).chain(spells).map(|spell| keys::owned(account, spell)).collect()
}

/// Things by when they are forgotten.
fn by_spell(owned: &[Owned]) -> BTreeMap<Option<Spell>, Vec<Thing>> {
    let mut spells: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for owned in owned {
        spells.entry(owned.spell).or_default().push(owned.thing);
    }
    spells
}
