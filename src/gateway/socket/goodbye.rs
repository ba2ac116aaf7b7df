//! How a socket ends: who is refused and told so, when it closes, and what becomes of the responses that run.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::super::record::Ending;
use super::super::rejection::Rejection;
use super::session::{Session, Verdict};
use super::turn::Turn;
use crate::config::OnExhausted;
use crate::ledger::Charge;
use crate::metrics::HoldOutcome;

/// How long a socket may take for its goodbye.
const GOODBYE_LIMIT: Duration = Duration::from_secs(5);

/// The longest life of a socket. The ledger takes no charge under an id that is older than three days.
const LIFE_MAX: Duration = Duration::from_hours(24);

/// Why a socket closes, in its last frame.
#[derive(Clone, Debug)]
pub struct Farewell {
    pub code: u16,
    pub reason: String,
    /// How the responses are noted that it cuts.
    pub ending: Ending,
}

impl Session {
    /// Says that a response can't be paid for, and decides what becomes of the socket.
    pub fn refuse(&self, rejection: &Rejection, regards: Option<&str>, may_drop: bool) -> Verdict {
        let config = &self.gateway.config;
        let event_id = format!("event_{}", uuid::Uuid::now_v7().simple());
        let id = self.socket.to_string();
        let (event, message) = rejection.said(&config.refusal.top_up_url, &id, |refusal| {
            let event = self.protocol.refusal(refusal, &event_id, regards);
            (event, refusal.message.to_owned())
        });
        let code = rejection.code();
        // Who is told by no event reads the reason of the goodbye.
        let reason = if event.is_some() { code.to_owned() } else { message };
        let lasts = rejection.lasts();
        let close = if lasts { 1008 } else { 1013 };
        let farewell = Farewell { code: close, reason, ending: Ending::Refused(code) };
        let can_go_on = event.is_some() && may_drop && !lasts;
        let mut state = self.state();
        state.says.extend(event);
        if can_go_on {
            drop(state);
            self.wake.notify_one();
            return Verdict::Dropped;
        }
        let cuts = lasts && config.metering.on_exhausted == OnExhausted::Cut;
        if cuts || !may_drop {
            state.leaving.get_or_insert(farewell);
        } else {
            state.finishing.get_or_insert(farewell);
        }
        drop(state);
        self.look_for_the_end();
        self.wake.notify_one();
        if may_drop { Verdict::Dropped } else { Verdict::Ends }
    }

    /// A response that the provider began can't be paid for: the socket ends with it.
    pub fn cut(&self, rejection: &Rejection) {
        // Nothing of the provider's passes any more, so there is nothing to leave out.
        self.refuse(rejection, None, false);
    }

    /// No response begins any more.
    pub fn finish(&self, farewell: Farewell) {
        self.state().finishing.get_or_insert(farewell);
        self.look_for_the_end();
    }

    /// It closes now.
    pub fn leave(&self, farewell: Farewell) {
        self.state().leaving.get_or_insert(farewell);
        self.end_within(GOODBYE_LIMIT);
        self.wake.notify_one();
    }

    pub fn look_for_the_end(&self) {
        let mut state = self.state();
        if state.leaving.is_none() && state.is_quiet() {
            state.leaving = state.finishing.take();
        }
        let leaves = state.leaving.is_some();
        drop(state);
        if leaves {
            self.end_within(GOODBYE_LIMIT);
            self.wake.notify_one();
        }
    }

    /// The client has gone. Whether there is work whose report is worth waiting for.
    pub fn client_left(&self) -> bool {
        let mut state = self.state();
        state.client_left = true;
        state.open.iter().any(Turn::is_by_work)
    }

    pub fn has_client(&self) -> bool {
        !self.state().client_left
    }

    pub fn is_quiet(&self) -> bool {
        self.state().is_quiet()
    }

    /// What is to be said to the client next.
    pub fn next_words(&self) -> Option<Bytes> {
        self.state().says.pop_front()
    }

    pub fn farewell(&self) -> Option<Farewell> {
        self.state().leaving.clone()
    }

    /// Bytes have passed.
    pub fn touch(&self) {
        self.state().touched = Instant::now();
    }

    /// Ends the socket after `limit` at the latest.
    pub fn end_within(&self, limit: Duration) {
        let at = Instant::now() + limit;
        let mut state = self.state();
        state.ends_at = Some(state.ends_at.map_or(at, |earlier| earlier.min(at)));
        drop(state);
        self.timed.notify_one();
    }

    /// Waits until its time is over; says whether nothing has passed for `idle`, or that it has lived its life.
    pub async fn time_is_over(&self, idle: Duration) -> bool {
        loop {
            let (quiet, end) = {
                let state = self.state();
                ((state.touched + idle).min(self.born + LIFE_MAX), state.ends_at)
            };
            let now = Instant::now();
            if end.is_some_and(|end| end <= now) {
                return false;
            }
            if quiet <= now && end.is_none() {
                return true;
            }
            let due = end.unwrap_or(quiet);
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = self.timed.notified() => {}
            }
        }
    }

    /// Ends every response that has not ended.
    pub fn end(&self, ending: Ending) {
        let (asked, open, reserve) = {
            let mut state = self.state();
            let asked = std::mem::take(&mut state.asked);
            (asked, std::mem::take(&mut state.open), state.reserve.take())
        };
        for turn in asked.into_iter().chain(open) {
            turn.end(ending, &self.gateway.metrics);
        }
        if let Some(reserve) = reserve {
            reserve.call.resolve(Charge::Release);
            self.gateway.metrics.hold_ended(HoldOutcome::Released);
        }
    }
}
