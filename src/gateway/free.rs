//! A call without a price: passed on as it comes, and back as it comes.
//!
//! Where accounts share a provider's key, what it names is checked before; and of its answer a list is cut down to the
//! caller's own things, and what it makes is written down before the answer is let go (semantics.md, "Whose things are
//! whose").

use std::collections::HashSet;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderMap, Request, Response, Uri, request};
use hyper::body::Incoming;

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
use crate::provider::ids::List;

/// Longest answer that is read whole.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Parts of a list that are asked for until one has something of the caller's: client libraries take an empty part for
/// the end.
const PARTS_MAX: usize = 50;

impl Gateway {
    /// Passes on a request that costs nothing.
    pub(super) async fn pass_free(
        &self,
        target: &Target<'_>,
        mut head: request::Parts,
        body: Unread,
        account: &AccountId,
        record: &mut Record,
    ) -> Result<Outcome, Rejection> {
        let place = &target.place;
        let Some(provider) = self.tenancy_at(place) else {
            let body = self.through(body)?;
            let job = self.jobs.asked_for(account, &head.method, place);
            let response = self.send(target, head, body, job.is_some(), record).await?;
            return Ok(self.watched(response, job, place));
        };
        let body = if may_name_things(&head, place) {
            Ok(self.read(&head, body).await?)
        } else {
            Err(self.through(body)?)
        };
        let (route, none) = (place.route, Bytes::new());
        let text = body.as_ref().map_or(&none, Whole::text);
        let things = self.things_named(&head, place, text)?;
        let deleted = route.deletes(&head.method, &place.path);
        let made = route.made(&head.method, &place.path, text);
        self.tenancy.check(account, &things).await?;

        let body =
            body.map_or_else(|through| through, |read| read.outgoing(None, &mut head.headers));
        if provider.tenancy == Tenancy::Strict && route.lists(&head.method, &place.path) {
            return self.list(target, head, body, (provider, account), record).await;
        }
        let job = self.jobs.asked_for(account, &head.method, place);
        let is_read = made.is_some() || job.is_some();
        let response = self.send(target, head, body, is_read, record).await?;
        if !response.status().is_success() {
            return Ok(Outcome::Passed(response, Passing::default()));
        }
        if let Some(id) = deleted {
            self.tenancy.forget(account, Thing::of(place.provider.as_str(), &id));
        }
        let Some(mut made) = made.filter(|_| is_plain_json(response.headers())) else {
            return Ok(self.watched(response, job, place));
        };
        let watch = job.and_then(|job| self.jobs.watch(job, route, response.headers()));
        let (answer, share) = self.whole(response, record).await?;
        if let Some(mut watch) = watch {
            watch.see(answer.body());
            watch.end();
        }
        made.feed(answer.body());
        let made = self.tenancy.things(place.provider, route, made.news());
        self.tenancy.own(account, made).await;
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

    /// A provider's answer, read whole, and its share of the memory for bodies.
    async fn whole(
        &self,
        response: Response<Incoming>,
        record: &Record,
    ) -> Result<(Response<Bytes>, Budgeted), Rejection> {
        let (mut head, body) = response.into_parts();
        if Coding::of(&head.headers) != Ok(None) {
            tracing::warn!("a provider has compressed an answer that it was asked not to compress");
            return Err(Rejection::UpstreamAway);
        }
        let body = Unread::new(body);
        let read = read_whole(body, ANSWER_BYTES_MAX, record.pause, &self.bodies).await;
        let whole = read.map_err(|error| match error {
            Rejection::BodiesTooLarge => error,
            _ => Rejection::UpstreamAway,
        })?;
        head.headers.remove(CONTENT_LENGTH);
        let (body, share) = whole.into_parts();
        Ok((Response::from_parts(head, body), share))
    }
}

/// Whether the body of a request may name things: not that of an upload, which is somebody's data.
fn may_name_things(head: &request::Parts, place: &Place<'_>) -> bool {
    let is_form = has_token(&head.headers, &CONTENT_TYPE, "multipart/form-data");
    let is_upload = is_form || place.route.pattern.starts_with("/upload/");
    matches!(head.method.as_str(), "POST" | "PUT" | "PATCH") && !is_upload
}

fn is_plain_json(headers: &HeaderMap) -> bool {
    Coding::of(headers) == Ok(None) && has_token(headers, &CONTENT_TYPE, "application/json")
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
