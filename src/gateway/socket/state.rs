//! What a socket's session has come to: its responses, what the next of them will read, and what is still to be said.
//! Decides nothing that costs.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::Instant;

use super::goodbye::Farewell;
use super::session::Reserve;
use super::turn::Turn;
use crate::credit::Usage;
use crate::provider::socket::{ClientEvent, Failed, Of, Protocol, ServerEvent};

/// Models that a session may name.
pub const MODELS_MAX: usize = 32;

pub struct State {
    pub reserve: Option<Reserve>,
    /// Asked for by the client, and not begun.
    pub asked: VecDeque<Turn>,
    /// Begun.
    pub open: Vec<Turn>,
    pub models: Vec<String>,
    pub transcriber: Option<String>,
    /// What the next response will read, as far as is known.
    pub context: Usage,
    pub tokens: u64,
    pub output_tokens_max: Option<u64>,
    pub says: VecDeque<Bytes>,
    /// No response begins any more; it closes when all have ended.
    pub finishing: Option<Farewell>,
    /// It closes now.
    pub leaving: Option<Farewell>,
    pub client_left: bool,
    pub touched: Instant,
    pub ends_at: Option<Instant>,
}

impl State {
    /// Nothing has been said yet, and what the query names is held for.
    pub fn new(models: Vec<String>, reserve: Reserve, now: Instant) -> Self {
        Self {
            reserve: Some(reserve),
            asked: VecDeque::new(),
            open: Vec::new(),
            models,
            transcriber: None,
            context: Usage::NOTHING,
            tokens: 0,
            output_tokens_max: None,
            says: VecDeque::new(),
            finishing: None,
            leaving: None,
            client_left: false,
            touched: now,
            ends_at: None,
        }
    }

    /// Whether no response is asked for or runs.
    pub fn is_quiet(&self) -> bool {
        self.asked.is_empty() && self.open.iter().all(|turn| turn.ended.is_some())
    }

    /// Notes what an event of the client says of the session. Whether there was room for its models.
    pub fn note(&mut self, protocol: Protocol, event: &ClientEvent) -> bool {
        if protocol == Protocol::Responses {
            // Each response says this anew.
            (self.tokens, self.output_tokens_max) = (event.tokens, event.output_tokens_max);
        } else {
            self.tokens = self.tokens.saturating_add(event.tokens);
            self.output_tokens_max = event.output_tokens_max.or(self.output_tokens_max);
        }
        if let Some(transcriber) = &event.transcriber {
            self.transcriber = Some(transcriber.clone());
        }
        for model in &event.models {
            if !self.models.contains(model) {
                self.models.push(model.clone());
            }
        }
        self.models.len() <= MODELS_MAX
    }

    /// The models of which a response may take one.
    pub fn models_of(&self, protocol: Protocol, event: &ClientEvent) -> Vec<String> {
        let says = protocol == Protocol::Responses && !event.models.is_empty();
        if says { event.models.clone() } else { self.models.clone() }
    }

    /// The place of the response that an event belongs to.
    pub fn place(&self, event: &ServerEvent) -> Option<usize> {
        let named = |turn: &Turn| turn.of == event.of && turn.id.is_some() && turn.id == event.id;
        let awaits_usage = !event.output && event.ended.is_none();
        let nameless = |turn: &Turn| {
            turn.of == event.of
                && (event.id.is_none() || turn.id.is_none())
                && (turn.ended.is_none() || awaits_usage)
        };
        let of_name = self.open.iter().position(named);
        of_name.or_else(|| {
            (!event.begins).then(|| in_lane(self.open.iter(), event, nameless)).flatten()
        })
    }

    pub fn find(&self, event: &ServerEvent) -> bool {
        self.place(event).is_some()
    }

    /// Lets an event's response take it; returns the response if that was its end.
    pub fn take(&mut self, protocol: Protocol, event: &ServerEvent) -> Option<Turn> {
        let at = self.place(event)?;
        let turn = &mut self.open[at];
        turn.see(event);
        turn.ended = turn.ended.or(event.ended);
        turn.ended?;
        // Google may tell the work after the end of a turn.
        if protocol == Protocol::Live && turn.is_by_work() && !turn.is_told() {
            return None;
        }
        let turn = self.open.remove(at);
        self.context = turn.context().unwrap_or(self.context);
        Some(turn)
    }

    /// Responses that have ended without a report, now that the next has begun.
    pub fn awaited(&mut self, protocol: Protocol) -> Vec<Turn> {
        if protocol != Protocol::Live {
            return Vec::new();
        }
        let (ended, open) =
            std::mem::take(&mut self.open).into_iter().partition(|turn| turn.ended.is_some());
        self.open = open;
        ended
    }

    /// The response that was asked for and begins with an event.
    pub fn begun(&mut self, event: &ServerEvent) -> Option<Turn> {
        let at = in_lane(self.asked.iter(), event, |_| true)?;
        self.asked.remove(at)
    }

    /// The response that an error of the provider has ended: one that runs, or that has not begun.
    pub fn failed(&mut self, error: &ServerEvent) -> Option<Turn> {
        let runs = |turn: &Turn| turn.of == Of::Response;
        if error.error == Some(Failed::Response)
            && let Some(at) = in_lane(self.open.iter(), error, runs)
        {
            return Some(self.open.remove(at));
        }
        let regards = error.regards.as_deref();
        let is_it = |turn: &Turn| turn.asked_by.as_deref() == regards;
        let at = in_lane(self.asked.iter(), error, is_it)?;
        self.asked.remove(at)
    }
}

/// The place of the response that an event is about: the first one in its lane; where either has none, the first.
fn in_lane<'t>(
    turns: impl Iterator<Item = &'t Turn> + Clone,
    event: &ServerEvent,
    is_it: impl Fn(&Turn) -> bool,
) -> Option<usize> {
    let own = turns.clone().position(|turn| turn.lane == event.lane && is_it(turn));
    own.or_else(|| {
        let mut turns = turns;
        turns.position(|turn| (turn.lane.is_none() || event.lane.is_none()) && is_it(turn))
    })
}
