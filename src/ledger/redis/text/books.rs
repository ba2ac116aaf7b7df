//! An account's books and its sources, as fields of their hashes.

use std::collections::HashMap;

use super::packed::{Packed, Packer};
use super::{Unreadable, id, parsed};
use crate::credit::{Account, ExpiredHold, Hold, Id, Lot, OpenJob, Source, SourceId, Timestamp};

/// The format of the fields, which books/stored.lua checks.
const FORMAT: &str = "2";

/// What stands in the field `f`: the scalars of the books, and how much there must be of the rest.
struct Head {
    books: Account,
    /// How many holds, expired ones and open jobs.
    kept: [u64; 3],
    lots: u32,
}

/// The books out of the fields of an account's hash; nothing where there are none.
pub(in crate::ledger::redis) fn account(
    fields: &HashMap<String, Vec<u8>>,
) -> Result<Option<Account>, Unreadable> {
    if fields.is_empty() {
        return Ok(None);
    }
    let field = |name: &str| fields.get(name).map_or(&[][..], Vec::as_slice);
    let Head { mut books, kept, lots } = head(field("f"))?;
    for place in 1..=lots {
        books.lots.push(lot(field(&format!("L{place}")))?);
    }
    let (mut expired, mut jobs) = (Vec::new(), Vec::new());
    for (field, value) in fields {
        match field.split_at_checked(1) {
            Some(("H", id)) => books.holds.push(hold(parsed(id)?, value)?),
            Some(("J", id)) => jobs.push(open_job(parsed(id)?, value)?),
            Some(("E", id)) => expired.push(expired_hold(parsed(id)?, value)?),
            _ => {}
        }
    }
    let stored = fields.keys().filter(|field| field.starts_with('L')).count();
    if lots as usize != stored
        || kept != [books.holds.len(), expired.len(), jobs.len()].map(|count| count as u64)
    {
        return Err(Packed::new(field("f")).unreadable());
    }
    books.lots.sort_by_key(Lot::burn_order);
    books.holds.sort_by_key(|hold| hold.id);
    expired.sort_by_key(|(order, _)| *order);
    books.expired = expired.into_iter().map(|(_, hold)| hold).collect();
    jobs.sort_by_key(|(order, _)| *order);
    books.jobs = jobs.into_iter().map(|(_, job)| job).collect();
    Ok(Some(books))
}

/// The number of the last entry of an account, out of the field `f` of its hash.
pub(in crate::ledger::redis) fn seq(field: &[u8]) -> Result<u64, Unreadable> {
    Ok(head(field)?.books.seq)
}

fn head(field: &[u8]) -> Result<Head, Unreadable> {
    let numbers = field.strip_prefix(FORMAT.as_bytes());
    let numbers = numbers.ok_or_else(|| Packed::new(field).unreadable())?;
    let mut packed = Packed::new(numbers);
    let books = Account {
        seq: packed.number(8)?,
        clock: packed.instant()?,
        gate_until: packed.instant()?,
        version: packed.number(8)?,
        debt: packed.credits()?,
        plan_start: packed.instant()?,
        lots_opened: packed.count(4)?,
        ..Account::default()
    };
    packed.instant()?;
    let kept = [packed.number(2)?, packed.number(2)?, packed.number(2)?];
    let head = Head { books, kept, lots: packed.count(4)? };
    packed.end()?;
    Ok(head)
}

/// What is remembered of a source.
pub(in crate::ledger::redis) fn source(value: &[u8]) -> Result<Source, Unreadable> {
    let mut packed = Packed::new(value);
    let (lot, kind) = packed.lot()?;
    let source = Source {
        lot,
        kind,
        start: packed.instant()?,
        end: packed.instant()?,
        granted: packed.credits()?,
        expired: packed.credits()?,
        voided: packed.credits()?,
        reclaimed: packed.credits()?,
    };
    packed.end()?;
    Ok(source)
}

fn lot(value: &[u8]) -> Result<Lot, Unreadable> {
    let mut packed = Packed::new(value);
    let (no, kind) = packed.lot()?;
    let (start, end) = (packed.instant()?, packed.instant()?);
    let (granted, remaining, held) = (packed.credits()?, packed.credits()?, packed.credits()?);
    let source = match packed.last_text()? {
        "" => None,
        source => Some(parsed::<SourceId>(source)?),
    };
    Ok(Lot { no, kind, source, start, end, granted, remaining, held })
}

fn hold(id: Id, value: &[u8]) -> Result<Hold, Unreadable> {
    let mut packed = Packed::new(value);
    let (deadline, done) = (packed.instant()?, packed.credits()?);
    Ok(Hold { id, deadline, done, parts: packed.last_parts()? })
}

fn expired_hold(id: Id, value: &[u8]) -> Result<(u64, ExpiredHold), Unreadable> {
    let mut packed = Packed::new(value);
    let (order, charged, settle_until) = (packed.number(8)?, packed.credits()?, packed.instant()?);
    packed.end()?;
    Ok((order, ExpiredHold { id, charged, settle_until }))
}

fn open_job(call: Id, value: &[u8]) -> Result<(u64, OpenJob), Unreadable> {
    let mut packed = Packed::new(value);
    let (order, correct_until) = (packed.number(8)?, packed.instant()?);
    let (charged, owed) = (packed.credits()?, packed.credits()?);
    let count = packed.count(4)? as usize;
    let parts = packed.parts(count)?;
    let job = parsed(packed.last_text()?)?;
    Ok((order, OpenJob { call, correct_until, charged, owed, parts, job }))
}

/// The books as fields of an account's hash. `order` tells of a hold that expired, or of a job that may be corrected, the
/// number of the entry which says so: what is remembered of them must stay in that order.
pub(in crate::ledger::redis) fn account_fields(
    books: &Account,
    order: impl Fn(Id) -> u64,
) -> Vec<(String, Vec<u8>)> {
    let mut fields = vec![("f".to_owned(), head_text(books))];
    for (place, lot) in (1..).zip(&books.lots) {
        fields.push((format!("L{place}"), lot_text(lot)));
    }
    for hold in &books.holds {
        let packer = Packer::default().instant(hold.deadline).credits(hold.done);
        fields.push((format!("H{}", id(hold.id)), packer.parts(&hold.parts).finish()));
    }
    for hold in &books.expired {
        let packer = Packer::default().number(order(hold.id), 8).credits(hold.charged);
        fields.push((format!("E{}", id(hold.id)), packer.instant(hold.settle_until).finish()));
    }
    for job in &books.jobs {
        let packer = Packer::default().number(order(job.call), 8).instant(job.correct_until);
        let packer = packer.credits(job.charged).credits(job.owed);
        let packer = packer.number(job.parts.len() as u64, 4).parts(&job.parts);
        fields.push((format!("J{}", id(job.call)), packer.text(&job.job.to_string()).finish()));
    }
    fields
}

fn head_text(books: &Account) -> Vec<u8> {
    let holds = books.holds.iter().map(|hold| hold.deadline);
    let expired = books.expired.iter().map(|hold| hold.settle_until);
    let jobs = books.jobs.iter().map(|job| job.correct_until);
    let due = holds.chain(expired).chain(jobs).min().unwrap_or(Timestamp::MAX);
    let packer = Packer::default().text(FORMAT).number(books.seq, 8).instant(books.clock);
    let packer = packer.instant(books.gate_until).number(books.version, 8).credits(books.debt);
    let packer = packer.instant(books.plan_start).number(books.lots_opened, 4).instant(due);
    let kept = [books.holds.len(), books.expired.len(), books.jobs.len()];
    let packer = kept.iter().fold(packer, |packer, count| packer.number(*count as u64, 2));
    packer.number(books.lots.len() as u64, 4).finish()
}

/// What is remembered of a source, as it stands beside its name.
pub(in crate::ledger::redis) fn source_text(source: &Source) -> Vec<u8> {
    let Source { lot, kind, start, end, granted, expired, voided, reclaimed } = source;
    let packer = Packer::default().lot(*lot, *kind).instant(*start).instant(*end);
    let sums = [granted, expired, voided, reclaimed];
    sums.iter().fold(packer, |packer, sum| packer.credits(**sum)).finish()
}

fn lot_text(lot: &Lot) -> Vec<u8> {
    let packer = Packer::default().lot(lot.no, lot.kind).instant(lot.start).instant(lot.end);
    let packer = packer.credits(lot.granted).credits(lot.remaining).credits(lot.held);
    packer.text(lot.source.as_ref().map_or("", SourceId::as_str)).finish()
}
