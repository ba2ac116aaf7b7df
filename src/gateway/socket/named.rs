//! What the events of a socket name and make: things of the provider's, which are their account's alone
//! (semantics.md, "Whose things are whose").

use super::super::body::Gathered;
use super::super::rejection::Rejection;
use super::super::tenancy::Making;
use super::session::Session;
use crate::ledger::owned::Thing;
use crate::provider::ids::MadeReader;
use crate::provider::socket::{ClientEvent, Protocol};

/// Looks for what each event of a client names.
pub struct Named<'s> {
    session: &'s Session,
    /// The events are looked into as bodies are, and accounts are kept apart.
    looks: bool,
    text: Gathered,
    /// Why the event that is coming can't be looked into.
    lost: Option<Rejection>,
}

impl Session {
    /// Looks into the events of the client.
    pub fn named(&self) -> Named<'_> {
        // Most of what Realtime's events name lives in their session; its reader tells the rest.
        let looks = self.protocol != Protocol::Realtime && self.gateway.is_strict(&self.provider);
        Named { session: self, looks, text: Gathered::default(), lost: None }
    }

    /// Reads the events of the provider for what it stores.
    pub fn making(&self) -> Option<Making> {
        let reader = match self.protocol {
            Protocol::Realtime => return None,
            Protocol::Responses => MadeReader::of_responses(),
            Protocol::Live => MadeReader::of_sessions(),
        };
        self.gateway.made_on_socket(&self.provider, self.route, &self.caller, reader)
    }
}

impl Named<'_> {
    /// Takes the next bytes of the event.
    pub fn feed(&mut self, piece: &[u8]) {
        if self.looks && self.lost.is_none() {
            let gateway = &self.session.gateway;
            let (limit, budget) = (gateway.config.limits.metered_body, &gateway.bodies);
            self.lost = self.text.feed(piece, limit, budget).err();
        }
    }

    /// The things that `event` names, which has ended, and that are not shared. What follows is another one.
    ///
    /// # Errors
    /// It is too large to be looked into, or can't be read.
    pub fn things(&mut self, event: &ClientEvent) -> Result<Vec<Thing>, Rejection> {
        let text = std::mem::take(&mut self.text);
        if let Some(rejection) = self.lost.take() {
            return Err(rejection);
        }
        let Session { gateway, provider, protocol, .. } = self.session;
        if !event.things.is_empty() {
            return Ok(gateway.things_called(provider, event.things.iter().cloned()));
        }
        if text.bytes().is_empty() {
            return Ok(Vec::new());
        }
        gateway.things_said(provider, text.bytes(), *protocol == Protocol::Responses)
    }
}
