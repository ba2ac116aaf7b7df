//! What is known of one socket: its responses, what is held for them, and what is still to be said before it closes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode, request};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::auth::Caller;
use super::super::charging::Charging;
use super::super::record::{Ending, Record};
use super::super::rejection::Rejection;
use super::super::{Gateway, Target};
use super::turn::{self, Turn};
use crate::config::{Name, OnExhausted};
use crate::credit::{Credits, Id, Operation as Step, Usage};
use crate::ledger::{Call, Charge};
use crate::metrics::HoldOutcome;
use crate::policy;
use crate::provider::socket::{ClientEvent, Of, Protocol, ServerEvent};
use crate::provider::{Operation, Route};

/// Responses of one socket that may be asked for or run at once, whatever the plan allows.
const TURNS_MAX: usize = 64;

/// Models that a session may name.
const MODELS_MAX: usize = 8;

/// How long a socket may take for its goodbye.
const GOODBYE_LIMIT: Duration = Duration::from_secs(5);

/// The longest life of a socket. The ledger takes no charge under an id that is older than three days.
const LIFE_MAX: Duration = Duration::from_hours(24);

/// Credits that are held before anything is asked for.
pub struct Reserve {
    pub call: Call,
    pub id: Id,
    pub held: Credits,
    pub unheld: bool,
}

/// Why a socket closes, in its last frame.
#[derive(Clone, Debug)]
pub struct Farewell {
    pub code: u16,
    pub reason: String,
    /// How the responses are noted that it cuts.
    pub ending: Ending,
}

/// What becomes of a client's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Passes,
    /// It is left out.
    Dropped,
    /// Nothing more of the client's passes.
    Ends,
}

pub struct Session {
    pub gateway: Arc<Gateway>,
    pub protocol: Protocol,
    head: request::Parts,
    caller: Caller,
    provider: Name,
    route: Route,
    path: String,
    socket: Id,
    born: Instant,
    state: Mutex<State>,
    /// There is something to say, or a new time to end.
    pub wake: Notify,
    pub timed: Notify,
}

struct State {
    reserve: Option<Reserve>,
    /// Asked for by the client, and not begun.
    asked: VecDeque<Turn>,
    /// Begun.
    open: Vec<Turn>,
    models: Vec<String>,
    transcriber: Option<String>,
    /// What the next response will read, as far as is known.
    context: Usage,
    tokens: u64,
    output_tokens_max: Option<u64>,
    says: VecDeque<Bytes>,
    /// No response begins any more; it closes when all have ended.
    finishing: Option<Farewell>,
    /// It closes now.
    leaving: Option<Farewell>,
    client_left: bool,
    touched: Instant,
    ends_at: Option<Instant>,
}

impl Session {
    pub fn new(
        gateway: &Arc<Gateway>,
        (protocol, head, caller): (Protocol, request::Parts, Caller),
        target: &Target<'_>,
        models: Vec<String>,
        reserve: Reserve,
        socket: Id,
    ) -> Self {
        let now = Instant::now();
        Self {
            gateway: Arc::clone(gateway),
            protocol,
            head,
            caller,
            provider: target.place.provider.clone(),
            route: target.place.route,
            path: target.place.path.as_str().to_owned(),
            socket,
            born: now,
            state: Mutex::new(State {
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
            }),
            wake: Notify::new(),
            timed: Notify::new(),
        }
    }

    /// A message of the client has come whole but for its last piece. `may_drop`: none of it has passed yet.
    pub async fn said(&self, event: ClientEvent, may_drop: bool) -> Verdict {
        let models = {
            let mut state = self.state();
            state.note(self.protocol, &event);
            if !event.begins && !event.is_obscure {
                return Verdict::Passes;
            }
            if state.finishing.is_some() || state.leaving.is_some() {
                return if may_drop { Verdict::Dropped } else { Verdict::Ends };
            }
            state.models_of(self.protocol, &event)
        };
        let begun = if event.is_obscure {
            Err(Rejection::ObscureEvent)
        } else {
            self.begin(Of::Response, models).await
        };
        match begun {
            Ok(mut turn) => {
                turn.asked_by = event.id;
                self.state().asked.push_back(turn);
                Verdict::Passes
            }
            Err(rejection) => self.refuse(&rejection, event.id.as_deref(), may_drop),
        }
    }

    /// An event of the provider has come whole but for its last piece. An error is why it must not pass.
    pub async fn heard(&self, event: &ServerEvent) -> Result<(), Rejection> {
        if event.is_error {
            let failed = self.state().failed(event.regards.as_deref());
            if let Some(turn) = failed {
                turn.end(Ending::Broken, &self.gateway.metrics);
            }
            self.look_for_the_end();
            return Ok(());
        }
        let opens = event.begins || event.output;
        let known = self.state().find(event);
        if !known {
            let asked = {
                let mut state = self.state();
                let fits = event.of == Of::Response && (opens || event.ended.is_some());
                if fits { state.asked.pop_front() } else { None }
            };
            let mut turn = match asked {
                Some(turn) => turn,
                None if opens => {
                    let models = self.state().models_of(self.protocol, &ClientEvent::default());
                    self.begin(event.of, models).await?
                }
                None => return Ok(()),
            };
            turn.id.clone_from(&event.id);
            let stale = {
                let mut state = self.state();
                state.open.push(turn);
                state.awaited(self.protocol)
            };
            for turn in stale {
                turn.end(Ending::Complete, &self.gateway.metrics);
            }
        }
        let ended = self.state().take(self.protocol, event);
        if let Some(turn) = ended {
            turn.end(Ending::Complete, &self.gateway.metrics);
            self.look_for_the_end();
        }
        Ok(())
    }

    /// Holds the credits of a response, or says why not.
    async fn begin(&self, of: Of, models: Vec<String>) -> Result<Turn, Rejection> {
        let gateway = &*self.gateway;
        let plan = gateway.plan(&self.caller)?;
        let running = gateway.limits.run(&self.caller, &plan.pace)?;
        let (operation, demand, reserve) = {
            let mut state = self.state();
            if state.asked.len() + state.open.len() >= TURNS_MAX {
                let limit = u32::try_from(TURNS_MAX).unwrap_or(u32::MAX);
                return Err(Rejection::TooManyRunning { limit });
            }
            let mut demand = turn::demand(state.tokens, state.output_tokens_max);
            if self.protocol.keeps_conversation() {
                demand.given = demand.given.plus(&state.context);
            }
            let operation = match of {
                Of::Response => self.route.operation,
                Of::Transcription => Operation::Transcription,
            };
            (operation, demand, state.reserve.take())
        };
        let models: Vec<&str> = match of {
            Of::Response => models.iter().map(String::as_str).collect(),
            Of::Transcription => Vec::new(),
        };
        let transcriber = self.state().transcriber.clone();
        let named = match of {
            Of::Response => models,
            Of::Transcription => transcriber.as_deref().into_iter().collect(),
        };
        let quoted = policy::dearest(&self.provider, operation, &gateway.config.prices, &named);
        let Some(quoted) = quoted else {
            self.state().reserve = reserve;
            let model = if named.is_empty() { operation.to_string() } else { named.join("`, `") };
            return Err(Rejection::NoPrice { model });
        };
        let charging = Charging::of_demand(&quoted.price, self.route.language, operation, demand);
        let needed = charging.held();
        let fits = reserve.as_ref().is_some_and(|reserve| reserve.held >= needed);
        let id = match &reserve {
            Some(reserve) if fits => reserve.id,
            _ => Id::from_u128(uuid::Uuid::now_v7().as_u128()),
        };
        let mut record = Record::new(id, Method::GET, Arc::clone(&gateway.metrics));
        self.describe(&mut record, operation, named.first().copied());
        let call = match reserve {
            Some(reserve) if fits => {
                (record.held, record.unheld) = (Some(reserve.held), reserve.unheld);
                reserve.call
            }
            other => {
                if let Some(reserve) = other {
                    self.give_back(reserve).await;
                }
                let held = gateway.hold(&self.head, self.caller.clone(), needed, &mut record).await;
                held.inspect_err(|rejection| self.note_refusal(rejection, &mut record))?.0
            }
        };
        self.state().tokens = 0;
        Ok(Turn::new(of, call, running, charging, record))
    }

    fn describe(&self, record: &mut Record, operation: Operation, model: Option<&str>) {
        record.path.clone_from(&self.path);
        record.dialect = self.route.language;
        record.route = self.route.pattern;
        record.class = self.route.class.as_str();
        record.operation = operation.as_str();
        record.account = Some(self.caller.record.account.clone());
        record.key = Some(self.caller.key.key.id.clone());
        record.model = model.map(str::to_owned);
        record.status = Some(StatusCode::SWITCHING_PROTOCOLS);
        record.socket = Some(self.socket);
    }

    fn note_refusal(&self, rejection: &Rejection, record: &mut Record) {
        self.gateway.metrics.refused(rejection.code());
        record.status = Some(rejection.status());
        record.ending = Ending::Refused(rejection.code());
    }

    /// Gives back what was held for the first response, before more is held for it.
    async fn give_back(&self, reserve: Reserve) {
        let Reserve { call, id, unheld, .. } = reserve;
        let account = &self.caller.record.account;
        let ledger = &self.gateway.ledger;
        let given = !unheld && ledger.apply(account, id, Step::Release).await.is_ok();
        if given {
            call.was_refused();
        } else {
            call.resolve(Charge::Release);
        }
        self.gateway.metrics.hold_ended(HoldOutcome::Released);
    }

    /// Says that a response can't be paid for, and decides what becomes of the socket.
    fn refuse(&self, rejection: &Rejection, regards: Option<&str>, may_drop: bool) -> Verdict {
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

    fn look_for_the_end(&self) {
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_quiet(&self) -> bool {
        self.asked.is_empty() && self.open.iter().all(|turn| turn.ended.is_some())
    }

    /// Notes what an event of the client says of the session.
    fn note(&mut self, protocol: Protocol, event: &ClientEvent) {
        self.tokens = self.tokens.saturating_add(event.tokens);
        if protocol == Protocol::Responses {
            // Each response says all of this anew.
            (self.tokens, self.output_tokens_max) = (event.tokens, event.output_tokens_max);
            return;
        }
        self.output_tokens_max = event.output_tokens_max.or(self.output_tokens_max);
        if let Some(transcriber) = &event.transcriber {
            self.transcriber = Some(transcriber.clone());
        }
        for model in &event.models {
            if !self.models.contains(model) && self.models.len() < MODELS_MAX {
                self.models.push(model.clone());
            }
        }
    }

    /// The models of which a response may take one.
    fn models_of(&self, protocol: Protocol, event: &ClientEvent) -> Vec<String> {
        let says = protocol == Protocol::Responses && !event.models.is_empty();
        if says { event.models.clone() } else { self.models.clone() }
    }

    /// The place of the response that an event belongs to.
    fn place(&self, event: &ServerEvent) -> Option<usize> {
        let named = |turn: &Turn| turn.of == event.of && turn.id.is_some() && turn.id == event.id;
        let nameless =
            |turn: &Turn| turn.of == event.of && (event.id.is_none() || turn.id.is_none());
        let is_new = event.begins;
        let open = self.open.iter();
        open.clone().position(named).or_else(|| {
            let mut fits = open.clone();
            let awaits_usage = !event.output && event.ended.is_none();
            (!is_new)
                .then(|| {
                    fits.position(|turn| nameless(turn) && (turn.ended.is_none() || awaits_usage))
                })
                .flatten()
        })
    }

    fn find(&self, event: &ServerEvent) -> bool {
        self.place(event).is_some()
    }

    /// Lets an event's response take it; returns the response if that was its end.
    fn take(&mut self, protocol: Protocol, event: &ServerEvent) -> Option<Turn> {
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
    fn awaited(&mut self, protocol: Protocol) -> Vec<Turn> {
        if protocol != Protocol::Live {
            return Vec::new();
        }
        let (ended, open) =
            std::mem::take(&mut self.open).into_iter().partition(|turn| turn.ended.is_some());
        self.open = open;
        ended
    }

    /// The response that an error of the provider ended before it began.
    fn failed(&mut self, regards: Option<&str>) -> Option<Turn> {
        let at = match regards {
            Some(id) => self.asked.iter().position(|turn| turn.asked_by.as_deref() == Some(id))?,
            None => self.asked.iter().position(|turn| turn.asked_by.is_none())?,
        };
        self.asked.remove(at)
    }
}
