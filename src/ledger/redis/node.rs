//! One server: whether it is here, and the connections to it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::pipe::Pipe;
use super::server::Facts;
use crate::config::Place;
use crate::cores;

/// Connections for steps that wait for replicas that are kept for the next one.
const IDLE_LANES: usize = 8;

pub(super) struct Node {
    pub(super) place: Place,
    state: RwLock<State>,
    /// Counts arrivals, so that what is said of a former one's connections does not touch its successor.
    numbers: AtomicU64,
    lanes: Mutex<Vec<Pipe>>,
}

enum State {
    /// Nobody has looked yet.
    Unknown,
    Here(Present),
    /// Why it is away, for whoever asks meanwhile.
    Away(Arc<str>),
}

/// A server that is here.
#[derive(Clone)]
pub(super) struct Present {
    pub(super) number: u64,
    /// One for all that don't serve, and one for each thread that does.
    pipes: Arc<[Pipe]>,
    /// Replicas that were connected when last asked.
    pub(super) replicas: u8,
    /// Whether it can wait for its own file to be synced.
    pub(super) syncs: bool,
}

impl Present {
    /// The present thread's connection.
    pub(super) fn pipe(&self) -> &Pipe {
        self.pipes.get(cores::seat()).unwrap_or(&self.pipes[0])
    }
}

impl Node {
    pub(super) fn new(place: Place) -> Self {
        let (state, lanes) = (RwLock::new(State::Unknown), Mutex::default());
        Self { place, state, numbers: AtomicU64::new(0), lanes }
    }

    pub(super) fn present(&self) -> Option<Present> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Here(present) => Some(present.clone()),
            State::Unknown | State::Away(_) => None,
        }
    }

    pub(super) fn is_present(&self) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        matches!(*state, State::Here(_))
    }

    /// Whether it was looked for in vain, or lost.
    pub(super) fn is_away(&self) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        matches!(*state, State::Away(_))
    }

    /// Why nobody is asked there now.
    pub(super) fn absence(&self) -> String {
        let why = match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Unknown | State::Here(_) => "not connected yet".into(),
            State::Away(why) => Arc::clone(why),
        };
        format!("its Redis at {} is away: {why}", self.place)
    }

    /// A number for the connections that are being made.
    pub(super) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Here from now on, by these connections. Whether nobody knew it before.
    pub(super) fn arrived(&self, number: u64, pipes: Vec<Pipe>, facts: &Facts) -> bool {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = match &*state {
            State::Unknown => true,
            State::Here(_) => false,
            State::Away(_) => {
                tracing::info!(server = %self.place, "the ledger's Redis answers again");
                false
            }
        };
        let (replicas, syncs) = (facts.replicas(), facts.can_wait_for_its_file());
        *state = State::Here(Present { number, pipes: pipes.into(), replicas, syncs });
        is_new
    }

    /// What it said when it was asked again.
    pub(super) fn confirmed(&self, number: u64, facts: &Facts) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let State::Here(present) = &mut *state
            && present.number == number
        {
            (present.replicas, present.syncs) = (facts.replicas(), facts.can_wait_for_its_file());
        }
    }

    /// Away from now on, if arrival `number` is still the present one; any, if it is none's.
    pub(super) fn left(&self, number: Option<u64>, why: &str) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let concerned = match &*state {
            State::Here(present) => number.is_none_or(|number| number == present.number),
            State::Unknown | State::Away(_) => number.is_none(),
        };
        if concerned {
            if !matches!(&*state, State::Away(_)) {
                tracing::warn!(server = %self.place, %why, "the ledger's Redis is away");
            }
            *state = State::Away(why.into());
            self.lanes.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// An idle connection for a step that waits.
    pub(super) fn lane(&self) -> Option<Pipe> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Gives it back, once its step has been answered.
    pub(super) fn keep_lane(&self, lane: Pipe) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() < IDLE_LANES {
            lanes.push(lane);
        }
    }
}
