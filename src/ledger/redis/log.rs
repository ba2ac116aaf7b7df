//! The log of a shard, message by message.

use std::collections::HashMap;

use ::redis::cmd;

use super::{Shard, Store, text, unreadable};
use crate::credit::{AccountId, Entry};
use crate::ledger::LedgerError;
use crate::ledger::archive::Position;

/// Messages that are read at once.
pub(super) const PORTION: usize = 2000;

/// A message of a stream: its id, and its fields.
type Message = (String, HashMap<String, String>);

/// One message: where it stands, and what it says of whom.
#[derive(Clone, Debug)]
pub(in crate::ledger) struct Logged {
    pub(in crate::ledger) at: Position,
    pub(in crate::ledger) account: AccountId,
    pub(in crate::ledger) entry: Entry,
}

/// A log that is being read.
pub(super) struct Log {
    key: String,
    last: Option<Position>,
    portion: usize,
}

impl Log {
    /// From its beginning.
    pub(super) fn new(shard: Shard) -> Self {
        Self::after(shard, None, PORTION)
    }

    /// From after `last`, at most `portion` messages at once.
    pub(super) fn after(shard: Shard, last: Option<Position>, portion: usize) -> Self {
        Self { key: shard.log(), last, portion }
    }

    /// From the first message that was written at `millis` or later.
    pub(super) fn since(shard: Shard, millis: u64) -> Self {
        let last = millis.checked_sub(1).map(|millis| Position { millis, number: u64::MAX });
        Self::after(shard, last, PORTION)
    }

    /// The next messages; nothing at the end, where later ones may follow.
    pub(super) async fn next(&mut self, store: &Store) -> Result<Option<Vec<Logged>>, LedgerError> {
        let mut range = cmd("XRANGE");
        let first = self.last.map_or_else(|| "-".to_owned(), |last| format!("({last}"));
        range.arg(&self.key).arg(first).arg("+").arg("COUNT").arg(self.portion);
        let messages: Vec<Message> = store.ask(&self.key, &range).await?;
        let read: Result<Vec<_>, _> = messages.iter().map(read).collect();
        let read = read.map_err(|error| unreadable(&error))?;
        let Some(last) = read.last() else { return Ok(None) };
        self.last = Some(last.at);
        Ok(Some(read))
    }
}

fn read((id, fields): &Message) -> Result<Logged, text::Unreadable> {
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    let at = id.parse().map_err(|_| text::Unreadable(id.clone()))?;
    Ok(Logged { at, account: text::parsed(field("a"))?, entry: text::entry(field("e"))? })
}
