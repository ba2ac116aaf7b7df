//! Many questions at once: one round trip to each server.

use std::sync::Arc;

use ::redis::{Cmd, FromRedisValue, Pipeline, Value, from_redis_value};

use super::Store;
use super::link::Request;
use super::node::Node;
use crate::ledger::LedgerError;

impl Store {
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
}
