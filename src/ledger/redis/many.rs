//! Many questions at once: walks over accounts and shards, in a round trip or two for each server.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ::redis::{Cmd, FromRedisValue, Pipeline, Value, cmd, from_redis_value};

use super::link::Request;
use super::node::Node;
use super::{Shard, Store, keys, text, unreadable};
use crate::credit::{Account, AccountId};
use crate::ledger::LedgerError;

/// Accounts whose books are read at once.
const BOOKS_AT_ONCE: usize = 200;

impl Store {
    /// Shards in whose log or names there is anything.
    pub(super) async fn shards_in_use(&self) -> Result<Vec<Shard>, LedgerError> {
        let mut questions = Vec::new();
        for shard in Shard::all() {
            let (log, names) = (shard.log(), shard.names());
            let lengths = [cmd("XLEN").arg(&log).to_owned(), cmd("ZCARD").arg(&names).to_owned()];
            questions.extend([log, names].into_iter().zip(lengths));
        }
        let lengths = self.ask_all::<u64>(questions).await?;
        let in_use = Shard::all().zip(lengths.chunks(2));
        Ok(in_use
            .filter(|(_, both)| both.iter().any(|length| *length > 0))
            .map(|(s, _)| s)
            .collect())
    }

    /// Many questions, each with its key, asked of each server in one piece; the replies in the same order. Where a
    /// piece is not answered whole, as when a slot is on its way, each question goes its own way.
    pub(super) async fn ask_all<T: FromRedisValue>(
        &self,
        questions: Vec<(String, Cmd)>,
    ) -> Result<Vec<T>, LedgerError> {
        let map = self.link.map();
        let mut pieces: Vec<(Option<Arc<Node>>, Vec<usize>)> = Vec::new();
        for (place, (key, _)) in questions.iter().enumerate() {
            let owner = map.owner(key);
            let same = |other: &Option<Arc<Node>>| match (other, &owner) {
                (Some(other), Some(owner)) => Arc::ptr_eq(other, owner),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            match pieces.iter_mut().find(|(other, _)| same(other)) {
                Some((_, piece)) => piece.push(place),
                None => pieces.push((owner, vec![place])),
            }
        }
        let mut replies: Vec<Option<T>> = questions.iter().map(|_| None).collect();
        for (_, piece) in pieces {
            let mut commands = Pipeline::with_capacity(piece.len());
            for place in &piece {
                commands.add_command(questions[*place].1.clone());
            }
            let (key, _) = &questions[piece[0]];
            if let Ok(Value::Array(values)) = self.link.ask(key, Request::Many(&commands)).await {
                for (place, value) in piece.into_iter().zip(values) {
                    replies[place] =
                        value.extract_error().ok().and_then(|v| from_redis_value(v).ok());
                }
            }
        }
        let mut all = Vec::with_capacity(questions.len());
        for (reply, (key, command)) in replies.into_iter().zip(&questions) {
            all.push(match reply {
                Some(reply) => reply,
                None => self.ask(key, command).await?,
            });
        }
        Ok(all)
    }

    /// The books of `accounts` as they are stored.
    pub(super) async fn stored(
        &self,
        accounts: impl Iterator<Item = &AccountId>,
    ) -> Result<BTreeMap<AccountId, Account>, LedgerError> {
        let accounts: Vec<&AccountId> = accounts.collect();
        let mut stored = BTreeMap::new();
        for portion in accounts.chunks(BOOKS_AT_ONCE) {
            let questions = portion.iter().map(|account| {
                let key = keys::books(account);
                let all = cmd("HGETALL").arg(&key).to_owned();
                (key, all)
            });
            let books = self.ask_all::<HashMap<String, Vec<u8>>>(questions.collect()).await?;
            for (account, fields) in portion.iter().zip(&books) {
                let books = text::account(fields).map_err(|error| unreadable(&error))?;
                stored.insert((*account).clone(), books.unwrap_or_default());
            }
        }
        Ok(stored)
    }
}
