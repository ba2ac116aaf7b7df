//! One socket: what its events mean, and the holds that its responses wait for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Method, StatusCode, request};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::auth::Caller;
use super::super::charging::Charging;
use super::super::hold::Held;
use super::super::record::{Ending, Record};
use super::super::rejection::Rejection;
use super::super::{Gateway, Target, claims};
use super::state::{MODELS_MAX, State};
use super::turn::{self, Turn};
use crate::config::Name;
use crate::credit::{Credits, Feature, Id, Operation as Step};
use crate::ledger::owned::Thing;
use crate::ledger::{Call, Charge};
use crate::metrics::HoldOutcome;
use crate::policy;
use crate::provider::socket::{ClientEvent, Of, Protocol, ServerEvent};
use crate::provider::{Operation, Route};

/// Responses of one socket that may be asked for or run at once, whatever the plan allows.
const TURNS_MAX: usize = 64;

/// Credits that are held before anything is asked for.
pub struct Reserve {
    pub call: Call,
    pub id: Id,
    pub held: Credits,
    pub unheld: bool,
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
    pub caller: Caller,
    /// What it is for, as its handshake says.
    feature: Option<Feature>,
    pub provider: Name,
    pub route: Route,
    path: String,
    pub socket: Id,
    pub born: Instant,
    state: Mutex<State>,
    /// There is something to say, or a new time to end.
    pub wake: Notify,
    pub timed: Notify,
}

impl Session {
    pub fn new(
        gateway: &Arc<Gateway>,
        (protocol, head, caller): (Protocol, request::Parts, Caller),
        target: &Target<'_>,
        (models, feature): (Vec<String>, Option<Feature>),
        reserve: Reserve,
        socket: Id,
    ) -> Self {
        let now = Instant::now();
        Self {
            gateway: Arc::clone(gateway),
            protocol,
            head,
            caller,
            feature,
            provider: target.place.provider.clone(),
            route: target.place.route,
            path: target.place.path.as_str().to_owned(),
            socket,
            born: now,
            state: Mutex::new(State::new(models, reserve, now)),
            wake: Notify::new(),
            timed: Notify::new(),
        }
    }

    /// A message of the client has come whole but for its last piece. `may_drop`: none of it has passed yet.
    /// `named`: the things that it names, or why they can't be told.
    pub async fn said(
        &self,
        event: ClientEvent,
        named: Result<Vec<Thing>, Rejection>,
        may_drop: bool,
    ) -> Verdict {
        if let Err(rejection) = self.may_name(named).await {
            self.gateway.metrics.refused(rejection.code());
            return self.refuse(&rejection, event.id.as_deref(), may_drop);
        }
        let models = {
            let mut state = self.state();
            if !state.note(self.protocol, &event) {
                drop(state);
                let rejection = Rejection::TooManyThings { limit: MODELS_MAX };
                return self.refuse(&rejection, event.id.as_deref(), may_drop);
            }
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
                // Errors of Responses don't say which event they regard.
                turn.asked_by = event.id.filter(|_| self.protocol == Protocol::Realtime);
                turn.lane = event.lane;
                self.state().asked.push_back(turn);
                Verdict::Passes
            }
            Err(rejection) => self.refuse(&rejection, event.id.as_deref(), may_drop),
        }
    }

    /// Refuses what names anything that is not the account's.
    async fn may_name(&self, named: Result<Vec<Thing>, Rejection>) -> Result<(), Rejection> {
        let things = named?;
        if things.is_empty() {
            return Ok(());
        }
        self.gateway.tenancy.check(&self.caller.record.account, &things).await
    }

    /// An event of the provider has come whole but for its last piece. An error is why it must not pass.
    pub async fn heard(&self, event: &ServerEvent) -> Result<(), Rejection> {
        if event.error.is_some() {
            let failed = self.state().failed(event);
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
                if fits { state.begun(event) } else { None }
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
            turn.lane.clone_from(&event.lane);
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
        let quoted = policy::dearest(
            &self.provider,
            operation,
            &gateway.config.prices,
            &named,
            self.priced_by(),
        );
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
                let (caller, alone) = (self.caller.clone(), (None, [].as_slice()));
                let held = gateway.hold(&self.head, caller, needed, alone, &mut record).await;
                let Held { call, .. } =
                    held.inspect_err(|rejection| self.note_refusal(rejection, &mut record))?;
                call
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
        record.feature.clone_from(&self.feature);
    }

    /// What it is for, where that decides what its responses cost.
    fn priced_by(&self) -> Option<&str> {
        self.feature.as_ref().filter(|_| claims::is_service(&self.caller)).map(Feature::as_str)
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

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
