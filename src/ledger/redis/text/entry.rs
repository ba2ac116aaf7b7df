//! Entries, as they stand in the log.

use super::{Unreadable, Words, id, kind, parsed, parts};
use crate::credit::{Entry, Fact, Feature, Id, Job, Part, Timestamp, Work};

/// One message of the log.
pub(in crate::ledger::redis) fn entry(text: &str) -> Result<Entry, Unreadable> {
    let mut words = Words::new(text, ' ');
    let (seq, at, op) = (words.number()?, words.instant()?, words.id()?);
    let balance = words.number()?;
    let fact = fact(&mut words, op)?;
    words.end()?;
    Ok(Entry { seq, at, op, fact, balance })
}

/// How words begin that describe a job, and say what a call is for.
const JOB: &str = "job=";
const FEATURE: &str = "feature=";

/// What a call was charged for, and the job that it began: words that may be missing.
fn charged_for(words: &mut Words<'_>) -> Result<(Option<Work>, Option<Job>), Unreadable> {
    let (mut work, mut job) = (None, None);
    while let Some(word) = words.rest() {
        match word.strip_prefix(JOB) {
            Some(named) => job = Some(parsed(named)?),
            None => work = Some(parsed(word)?),
        }
    }
    Ok((work, job))
}

fn fact(words: &mut Words<'_>, op: Id) -> Result<Fact, Unreadable> {
    let name = words.text()?;
    Ok(match name {
        "grant" => Fact::Grant {
            lot: words.number()?,
            lot_kind: words.kind()?,
            start: words.instant()?,
            end: words.instant()?,
            amount: words.credits()?,
            repaid: words.credits()?,
            source: words.rest().map(parsed).transpose()?,
        },
        "gate" => Fact::Gate { until: words.instant()?, version: words.number()? },
        "plan" => Fact::Plan {
            lot: words.number()?,
            allowance: words.credits()?,
            change: words.number()?,
        },
        "hold" => Fact::Hold {
            hold: words.hold(op)?,
            amount: words.credits()?,
            deadline: words.instant()?,
            parts: words.parts()?,
            feature: words.rest().map(parsed).transpose()?,
        },
        "extend" => Fact::Extend {
            hold: words.hold(op)?,
            added: words.parts()?,
            deadline: words.instant()?,
            done: words.credits()?,
        },
        "settle" | "settle_late" => {
            let (hold, charged) = (words.hold(op)?, words.credits()?);
            let (parts, owed) = (words.parts()?, words.credits()?);
            let (work, job) = charged_for(words)?;
            Fact::Settle { hold, charged, parts, owed, late: name == "settle_late", work, job }
        }
        "charge" => charge(words, op)?,
        "correct" => Fact::Correct {
            hold: words.hold(op)?,
            charged: words.credits()?,
            before: words.credits()?,
            back: words.parts()?,
            repaid: words.credits()?,
            lost: words.credits()?,
            parts: words.parts()?,
            owed: words.credits()?,
            work: words.rest().map(parsed).transpose()?,
        },
        "release" => Fact::Release { hold: words.hold(op)? },
        "hold_expired" => Fact::HoldExpired {
            hold: words.hold(op)?,
            done: words.credits()?,
            parts: words.parts()?,
            settle_until: words.instant()?,
        },
        "lot_expired" => Fact::LotExpired { lot: words.number()?, amount: words.credits()? },
        "repay" => Fact::Repay { parts: words.parts()? },
        "void" => Fact::Void {
            lot: words.number()?,
            total: words.credits()?,
            taken: words.credits()?,
            owed: words.credits()?,
            source: parsed(words.text()?)?,
        },
        _ => return words.unreadable(),
    })
}

fn charge(words: &mut Words<'_>, op: Id) -> Result<Fact, Unreadable> {
    let (hold, charged) = (words.hold(op)?, words.credits()?);
    let (parts, owed) = (words.parts()?, words.credits()?);
    let feature = words.rest_after(FEATURE).map(parsed).transpose()?;
    let (work, job) = charged_for(words)?;
    Ok(Fact::Charge { hold, charged, parts, owed, feature, work, job })
}

/// The entry as the scripts write it into the log.
pub(in crate::ledger::redis) fn entry_text(entry: &Entry) -> String {
    let Entry { seq, at, op, fact, balance } = entry;
    format!("{seq} {} {} {balance} {}", at.millis(), id(*op), fact_text(fact, *op))
}

fn fact_text(fact: &Fact, op: Id) -> String {
    let short = |hold: &Id| if *hold == op { "=".to_owned() } else { id(*hold) };
    let millis = |at: &Timestamp| at.millis();
    match fact {
        Fact::Grant { source, lot, lot_kind, start, end, amount, repaid } => {
            let source = source.as_ref().map_or_else(String::new, |source| format!(" {source}"));
            let (kind, start, end) = (kind(*lot_kind), millis(start), millis(end));
            let (amount, repaid) = (amount.micros(), repaid.micros());
            format!("grant {lot} {kind} {start} {end} {amount} {repaid}{source}")
        }
        Fact::Gate { until, version } => format!("gate {} {version}", millis(until)),
        Fact::Plan { lot, allowance, change } => {
            format!("plan {lot} {} {change}", allowance.micros())
        }
        Fact::Hold { hold, amount, deadline, parts, feature } => {
            let (amount, deadline) = (amount.micros(), millis(deadline));
            let feature = is_for(" ", feature.as_ref());
            format!("hold {} {amount} {deadline} {}{feature}", short(hold), some(parts))
        }
        Fact::Extend { hold, added, deadline, done } => {
            let (deadline, done) = (millis(deadline), done.micros());
            format!("extend {} {} {deadline} {done}", short(hold), some(added))
        }
        Fact::Settle { hold, charged, parts, owed, late, work, job } => {
            let name = if *late { "settle_late" } else { "settle" };
            let (charged, owed) = (charged.micros(), owed.micros());
            format!(
                "{name} {} {charged} {} {owed}{}{}",
                short(hold),
                some(parts),
                told(work.as_ref()),
                begun(job.as_ref())
            )
        }
        Fact::Charge { hold, charged, parts, owed, feature, work, job } => {
            let (charged, owed) = (charged.micros(), owed.micros());
            format!(
                "charge {} {charged} {} {owed}{}{}{}",
                short(hold),
                some(parts),
                is_for(" feature=", feature.as_ref()),
                told(work.as_ref()),
                begun(job.as_ref())
            )
        }
        Fact::Correct { hold, charged, before, back, repaid, lost, parts, owed, work } => {
            let (charged, before) = (charged.micros(), before.micros());
            let (repaid, lost, owed) = (repaid.micros(), lost.micros(), owed.micros());
            format!(
                "correct {} {charged} {before} {} {repaid} {lost} {} {owed}{}",
                short(hold),
                some(back),
                some(parts),
                told(work.as_ref())
            )
        }
        Fact::Release { hold } => format!("release {}", short(hold)),
        Fact::HoldExpired { hold, done, parts, settle_until } => {
            let (done, until) = (done.micros(), millis(settle_until));
            format!("hold_expired {} {done} {} {until}", short(hold), some(parts))
        }
        Fact::LotExpired { lot, amount } => format!("lot_expired {lot} {}", amount.micros()),
        Fact::Repay { parts } => format!("repay {}", some(parts)),
        Fact::Void { source, lot, total, taken, owed } => {
            let (total, taken, owed) = (total.micros(), taken.micros(), owed.micros());
            format!("void {lot} {total} {taken} {owed} {source}")
        }
    }
}

/// Work at the end of an entry, if there is any.
fn told(work: Option<&Work>) -> String {
    work.map_or_else(String::new, |work| format!(" {work}"))
}

/// What a call is for, after `before`, if its caller said it.
fn is_for(before: &str, feature: Option<&Feature>) -> String {
    feature.map_or_else(String::new, |feature| format!("{before}{}", feature.as_str()))
}

/// The job that a call began, if it did.
fn begun(job: Option<&Job>) -> String {
    job.map_or_else(String::new, |job| format!(" {JOB}{job}"))
}

/// Parts in an entry, where an empty word would be none.
fn some(taken: &[Part]) -> String {
    if taken.is_empty() { "-".to_owned() } else { parts(taken) }
}
