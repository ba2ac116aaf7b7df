//! An account's books and its sources, as fields of their hashes.

use std::collections::HashMap;

use super::{Unreadable, Words, credits, id, kind, parsed, parts};
use crate::credit::{
    Account, Credits, ExpiredHold, Hold, Id, Lot, OpenJob, Source, SourceId, Timestamp,
};

/// The format of the fields, which books.lua checks.
const FORMAT: u64 = 1;

/// The books out of the fields of an account's hash; nothing where there are none.
pub(in crate::ledger::redis) fn account(
    fields: &HashMap<String, String>,
) -> Result<Option<Account>, Unreadable> {
    if fields.is_empty() {
        return Ok(None);
    }
    let number = |name: &str| fields.get(name).map_or(Ok(0), |text| parsed::<u64>(text));
    let instant = |name: &str| {
        fields.get(name).map_or(Ok(Timestamp::MIN), |text| parsed(text).map(Timestamp::from_millis))
    };
    let mut books = Account {
        seq: number("q")?,
        clock: instant("t")?,
        gate_until: instant("g")?,
        version: number("v")?,
        debt: fields.get("d").map_or(Ok(Credits::ZERO), |text| credits(text))?,
        plan_start: instant("p")?,
        lots_opened: fields.get("n").map_or(Ok(0), |text| parsed(text))?,
        ..Account::default()
    };
    let (mut expired, mut jobs) = (Vec::new(), Vec::new());
    for (field, value) in fields {
        let mut words = Words::new(value, ':');
        match field.split_at_checked(1) {
            Some(("L", no)) => {
                let source = fields.get(&format!("S{no}"));
                books.lots.push(lot(parsed(no)?, source, &mut words)?);
            }
            Some(("H", id)) => books.holds.push(hold(parsed(id)?, &mut words)?),
            Some(("J", id)) => jobs.push(open_job(parsed(id)?, value)?),
            Some(("E", id)) => expired.push(expired_hold(parsed(id)?, &mut words)?),
            _ => {}
        }
    }
    books.lots.sort_by_key(Lot::burn_order);
    books.holds.sort_by_key(|hold| hold.id);
    expired.sort_by_key(|(order, _)| *order);
    books.expired = expired.into_iter().map(|(_, hold)| hold).collect();
    jobs.sort_by_key(|(order, _)| *order);
    books.jobs = jobs.into_iter().map(|(_, job)| job).collect();
    Ok(Some(books))
}

/// What is remembered of a source.
pub(in crate::ledger::redis) fn source(text: &str) -> Result<Source, Unreadable> {
    let mut words = Words::new(text, ':');
    let source = Source {
        lot: words.number()?,
        kind: words.kind()?,
        start: words.instant()?,
        end: words.instant()?,
        granted: words.credits()?,
        expired: words.credits()?,
        voided: words.credits()?,
        reclaimed: words.credits()?,
    };
    words.end()?;
    Ok(source)
}

fn lot(no: u32, source: Option<&String>, words: &mut Words<'_>) -> Result<Lot, Unreadable> {
    Ok(Lot {
        no,
        source: source.map(|source| parsed::<SourceId>(source)).transpose()?,
        kind: words.kind()?,
        start: words.instant()?,
        end: words.instant()?,
        granted: words.credits()?,
        remaining: words.credits()?,
        held: words.credits()?,
    })
}

fn hold(id: Id, words: &mut Words<'_>) -> Result<Hold, Unreadable> {
    let (deadline, done, parts) = (words.instant()?, words.credits()?, words.parts()?);
    Ok(Hold { id, deadline, done, parts })
}

fn expired_hold(id: Id, words: &mut Words<'_>) -> Result<(u64, ExpiredHold), Unreadable> {
    let order = words.number()?;
    Ok((order, ExpiredHold { id, charged: words.credits()?, settle_until: words.instant()? }))
}

fn open_job(call: Id, value: &str) -> Result<(u64, OpenJob), Unreadable> {
    // What describes the job may have colons of its own.
    let unreadable = || Unreadable(value.to_owned());
    let (numbers, job) = value.split_once(' ').ok_or_else(unreadable)?;
    let mut words = Words::new(numbers, ':');
    let order = words.number()?;
    let (correct_until, charged) = (words.instant()?, words.credits()?);
    let (owed, parts) = (words.credits()?, words.parts()?);
    words.end()?;
    Ok((order, OpenJob { call, correct_until, charged, owed, parts, job: parsed(job)? }))
}

/// The books as fields of an account's hash. `order` tells of a hold that expired, or of a job that may be corrected, the
/// number of the entry which says so: what is remembered of them must stay in that order.
pub(in crate::ledger::redis) fn account_fields(
    books: &Account,
    order: impl Fn(Id) -> u64,
) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = [
        ("f", FORMAT),
        ("q", books.seq),
        ("t", books.clock.millis().unsigned_abs()),
        ("g", books.gate_until.millis().unsigned_abs()),
        ("v", books.version),
        ("d", books.debt.micros()),
        ("p", books.plan_start.millis().unsigned_abs()),
        ("n", books.lots_opened.into()),
    ]
    .map(|(field, number)| (field.to_owned(), number.to_string()))
    .into();
    for lot in &books.lots {
        fields.push((format!("L{}", lot.no), lot_text(lot)));
        if let Some(source) = &lot.source {
            fields.push((format!("S{}", lot.no), source.to_string()));
        }
    }
    for hold in &books.holds {
        let (deadline, done) = (hold.deadline.millis(), hold.done.micros());
        let text = format!("{deadline}:{done}:{}", parts(&hold.parts));
        fields.push((format!("H{}", id(hold.id)), text));
    }
    for hold in &books.expired {
        let (charged, until) = (hold.charged.micros(), hold.settle_until.millis());
        fields.push((format!("E{}", id(hold.id)), format!("{}:{charged}:{until}", order(hold.id))));
    }
    for job in &books.jobs {
        let (until, charged, owed) =
            (job.correct_until.millis(), job.charged.micros(), job.owed.micros());
        let (order, parts) = (order(job.call), parts(&job.parts));
        let text = format!("{order}:{until}:{charged}:{owed}:{parts} {}", job.job);
        fields.push((format!("J{}", id(job.call)), text));
    }
    fields
}

/// What is remembered of a source, as it stands beside its name.
pub(in crate::ledger::redis) fn source_text(source: &Source) -> String {
    let Source { lot, kind: of, start, end, granted, expired, voided, reclaimed } = source;
    let (start, end) = (start.millis(), end.millis());
    let sums = [granted, expired, voided, reclaimed].map(|sum| sum.micros().to_string());
    format!("{lot}:{}:{start}:{end}:{}", kind(*of), sums.join(":"))
}

fn lot_text(lot: &Lot) -> String {
    let (start, end) = (lot.start.millis(), lot.end.millis());
    let sums = [lot.granted, lot.remaining, lot.held].map(|sum| sum.micros().to_string());
    format!("{}:{start}:{end}:{}", kind(lot.kind), sums.join(":"))
}
