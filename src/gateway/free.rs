//! A call without a price: passed on as it comes, and back as it comes, but for addresses that would lead past the gateway.
//!
//! Where accounts share a provider's key, what it names is checked before; and of its answer a list is cut down to the
//! caller's own things, and what it makes is written down before the answer is let go (semantics.md, "Whose things are
//! whose").

use std::collections::HashSet;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderMap, Request, Response, Uri, request};
use hyper::body::Incoming;

use super::auth::Caller;
use super::body::{Budgeted, Outgoing, Unread, Whole, read_whole};
use super::head::has_token;
use super::paced::Paced;
use super::record::Record;
use super::rejection::Rejection;
use super::{Gateway, Outcome, Passing, Target, jobs};
use crate::coding::Coding;
use crate::config::{Provider, Tenancy};
use crate::credit::AccountId;
use crate::ledger::owned::Thing;
use crate::policy::Place;
use crate::provider::addresses::Addresses;
use crate::provider::ids::List;

/// Longest answer that is read whole.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Parts of a list that are asked for until one has something of the caller's: client libraries take an empty part for
/// the end.
const PARTS_MAX: usize = 50;

/// A request's body.
enum Taken {
    /// Read, since it may name things.
    Read(Whole),
    Through(Outgoing),
}

impl Taken {
    /// What it says, as far as that was read.
    fn text(&self) -> &Bytes {
        static UNREAD: Bytes = Bytes::new();
        match self {
            Self::Read(body) => body.text(),
            Self::Through(_) => &UNREAD,
        }
    }

    fn outgoing(self, headers: &mut HeaderMap) -> Outgoing {
        match self {
            Self::Read(body) => body.outgoing(None, headers),
            Self::Through(body) => body,
        }
    }
}

impl Gateway {
    /// Passes on a request that costs nothing; of its answer, addresses lead back here.
    pub(super) async fn pass_free(
        &self,
        target: &Target<'_>,
        head: request::Parts,
        body: Unread,
        caller: &Caller,
        record: &mut Record,
    ) -> Result<Outcome, Rejection> {
        let way = self.way_back(&target.place, &head);
        let has_addresses =
            way.as_ref().is_some_and(|way| matches!(way.addresses, Addresses::Member(_)));
        let account = &caller.record.account;
        let outcome = self.pass_own(target, head, body, (account, has_addresses), record).await?;
        Ok(match way {
            Some(way) => self.led_back(outcome, &way, caller),
            None => outcome,
        })
    }

    /// Passes it on if all that it names is the account's. `has_addresses`: an answer of JSON is to be read whole.
    async fn pass_own(
        &self,
        target: &Target<'_>,
        mut head: request::Parts,
        body: Unread,
        (account, has_addresses): (&AccountId, bool),
        record: &mut Record,
    ) -> Result<Outcome, Rejection> {
        let place = &target.place;
        let provider = self.tenancy_at(place);
        let body = if provider.is_some() && may_name_things(&head, place) {
            Taken::Read(self.read(&head, body).await?)
        } else {
            Taken::Through(self.through(body)?)
        };
        let (route, text) = (place.route, body.text());
        let things = self.things_named(&head, place, text)?;
        let deleted = provider.and_then(|_| route.deletes(&head.method, &place.path));
        let made = provider.and_then(|_| route.made(&head.method, &place.path, text));
        self.tenancy.check(account, &things).await?;

        let kept_apart = provider.filter(|provider| provider.tenancy == Tenancy::Strict);
        let body = body.outgoing(&mut head.headers);
        if let Some(provider) = kept_apart.filter(|_| route.lists(&head.method, &place.path)) {
            // Rare and large.
            let listed = self.list(target, head, body, (provider, account), record);
            return Box::pin(listed).await;
        }
        let job = self.jobs.asked_for(account, &head.method, place);
        let is_read_whole = made.is_some() || has_addresses;
        let is_read = is_read_whole || job.is_some();
        let response = self.send(target, head, body, is_read, record).await?;
        if !response.status().is_success() {
            return Ok(Outcome::Passed(response, Passing::default()));
        }
        if let Some(id) = deleted {
            self.tenancy.forget(account, Thing::of(place.provider.as_str(), &id));
        }
        if !is_read_whole || !is_json(response.headers()) {
            return Ok(self.watched(response, job, place));
        }
        let (answer, share) = self.whole(response, record).await?;
        let watch = job.and_then(|job| self.jobs.watch(job, route, answer.headers()));
        if let Some(mut watch) = watch {
            watch.see(answer.body());
            watch.end();
        }
        if let Some(mut made) = made {
            made.feed(answer.body());
            let made = self.tenancy.things(place.provider, route, made.news());
            self.tenancy.own(account, made).await;
        }
        Ok(Outcome::Own(answer.map(|body| share.keep(body))))
    }

    /// An answer that may tell how `job` ended.
    fn watched(
        &self,
        response: Response<Incoming>,
        job: Option<jobs::Asked>,
        place: &Place<'_>,
    ) -> Outcome {
        let job = job.filter(|_| response.status().is_success());
        let watch = job.and_then(|job| self.jobs.watch(job, place.route, response.headers()));
        Outcome::Passed(response, Passing { watch, ..Passing::default() })
    }

    /// Passes on a question for a list, and back what of it is the caller's.
    async fn list(
        &self,
        target: &Target<'_>,
        mut head: request::Parts,
        body: Outgoing,
        (provider, account): (&Provider, &AccountId),
        record: &mut Record,
    ) -> Result<Outcome, Rejection> {
        let route = target.place.route;
        let mut body = Some(body);
        for part in 1..=PARTS_MAX {
            let query = head.uri.query().unwrap_or_default().to_owned();
            let next = copy(&head);
            let body = body.take().unwrap_or_else(|| Outgoing::whole(Bytes::new()));
            let response = self.send(target, head, body, true, record).await?;
            if !response.status().is_success() {
                return Ok(Outcome::Passed(response, Passing::default()));
            }
            let (mut answer, share) = self.whole(response, record).await?;
            let unlisted = |error| {
                tracing::warn!(pattern = route.pattern, %error, "the answer is kept back");
                Rejection::UpstreamAway
            };
            let list = List::read(route, &query, answer.body()).map_err(unlisted)?;
            let called = |id: &str| route.thing_called(id).into_owned();
            let thing = |id: &str| Thing::of(target.place.provider.as_str(), &called(id));
            let things: Vec<Thing> = list.ids().map(thing).collect();
            let owned = self.tenancy.owned(account, &things).await?;
            let own = things.into_iter().zip(owned).filter(|(_, owned)| *owned);
            let own: HashSet<Thing> = own.map(|(thing, _)| thing).collect();
            let is_shown = |id: &str| {
                route.lists_for_all(id)
                    || provider.shared_ids.have(&called(id))
                    || own.contains(&thing(id))
            };
            let more = list.next(&query).filter(|_| part < PARTS_MAX && !list.shows(is_shown));
            if let Some(query) = more {
                head = with_query(next, &query)?;
                continue;
            }
            *answer.body_mut() = share.keep(list.of(is_shown).into());
            answer.headers_mut().remove(ETAG);
            return Ok(Outcome::Own(answer));
        }
        Err(Rejection::Internal)
    }

    fn through(&self, mut body: Unread) -> Result<Outgoing, Rejection> {
        let body = body.take().ok_or(Rejection::Internal)?;
        Ok(Outgoing::Through(Paced::new(body, self.config.limits.body_idle_timeout)))
    }

    async fn read(&self, head: &request::Parts, body: Unread) -> Result<Whole, Rejection> {
        let (limits, budget) = (&self.config.limits, &self.bodies);
        let body = read_whole(body, limits.metered_body, limits.body_idle_timeout, budget).await?;
        body.decoded(&head.headers, limits.metered_body, budget)
    }

    /// A provider's answer, read whole, without its coding if it has one that it was asked not to have; and its share of
    /// the memory for bodies.
    async fn whole(
        &self,
        response: Response<Incoming>,
        record: &Record,
    ) -> Result<(Response<Bytes>, Budgeted), Rejection> {
        let (mut head, body) = response.into_parts();
        let (body, budget) = (Unread::new(body), &self.bodies);
        let read = async {
            let body = read_whole(body, ANSWER_BYTES_MAX, record.pause, budget).await?;
            body.decoded(&head.headers, ANSWER_BYTES_MAX, budget)
        };
        let whole = read.await.map_err(|error| {
            if matches!(error, Rejection::BodiesTooLarge) {
                return error;
            }
            tracing::warn!("a provider's answer can't be read whole, and is kept back");
            Rejection::UpstreamAway
        })?;
        head.headers.remove(CONTENT_LENGTH);
        if head.headers.remove(CONTENT_ENCODING).is_some() {
            head.headers.remove(ETAG);
        }
        let (text, share) = whole.into_text();
        Ok((Response::from_parts(head, text), share))
    }
}

/// Whether the body of a request may name things: not that of an upload, which is somebody's data.
fn may_name_things(head: &request::Parts, place: &Place<'_>) -> bool {
    let is_form = has_token(&head.headers, &CONTENT_TYPE, "multipart/form-data");
    let is_upload = is_form || place.route.pattern.starts_with("/upload/");
    matches!(head.method.as_str(), "POST" | "PUT" | "PATCH") && !is_upload
}

/// Whether it is JSON in a coding that can be read.
fn is_json(headers: &HeaderMap) -> bool {
    Coding::of(headers).is_ok() && has_token(headers, &CONTENT_TYPE, "application/json")
}

/// The same head once more.
fn copy(head: &request::Parts) -> request::Parts {
    let (mut copy, ()) = Request::new(()).into_parts();
    copy.method = head.method.clone();
    copy.uri = head.uri.clone();
    copy.headers = head.headers.clone();
    copy.headers.remove(CONTENT_LENGTH);
    copy
}

fn with_query(mut head: request::Parts, query: &str) -> Result<request::Parts, Rejection> {
    let asked = format!("{}?{query}", head.uri.path());
    head.uri = asked.parse::<Uri>().map_err(|_| Rejection::Internal)?;
    Ok(head)
}
