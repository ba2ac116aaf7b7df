//! The texts of the scripts, read back: outcomes, funds, entries, books. Each form is described in books.lua.

use std::collections::HashMap;
use std::str::FromStr;

use crate::credit::{
    Account, Credits, Done, Entry, ExpiredHold, Fact, Funds, Hold, Id, Lot, LotKind, Part, Refusal,
    Source, SourceId, Timestamp,
};

/// A text that no script writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what Redis keeps can't be read: {0:?}")]
pub(super) struct Unreadable(pub(super) String);

/// An id as the scripts write it: 32 hexadecimal digits.
pub(super) fn id(id: Id) -> String {
    format!("{:032x}", id.as_u128())
}

pub(super) fn kind(kind: LotKind) -> &'static str {
    match kind {
        LotKind::Plan => "P",
        LotKind::Gift => "G",
        LotKind::Purchased => "B",
    }
}

/// What was done, or why not.
pub(super) fn outcome(text: &str) -> Result<Result<Done, Refusal>, Unreadable> {
    let mut words = Words::new(text, ' ');
    let outcome = match words.text()? {
        "granted" => Ok(Done::Granted { lot: words.number()?, repaid: words.credits()? }),
        "granted_before" => Ok(Done::GrantedBefore { lot: words.number()? }),
        "gated" => Ok(Done::Gated { ignored: words.number::<u8>()? == 1 }),
        "planned" => Ok(Done::Planned { change: words.number()? }),
        "held" => Ok(Done::Held),
        "extended" => Ok(Done::Extended),
        "settled" => Ok(Done::Settled { charged: words.credits()?, owed: words.credits()? }),
        "released" => Ok(Done::Released),
        "voided" => Ok(Done::Voided { taken: words.credits()?, owed: words.credits()? }),
        "!exhausted" => Err(Refusal::Exhausted),
        "!held" => Err(Refusal::Held),
        "!owed" => Err(Refusal::Owed),
        "!inactive" => Err(Refusal::Inactive),
        "!stale" => Err(Refusal::Stale { version: words.number()? }),
        "!too_many_holds" => Err(Refusal::TooManyHolds),
        "!already_resolved" => Err(Refusal::AlreadyResolved),
        "!conflict" => Err(Refusal::Conflict),
        "!too_old" => Err(Refusal::TooOld),
        "!unknown_source" => Err(Refusal::UnknownSource),
        "!ended" => Err(Refusal::Ended),
        "!too_much" => Err(Refusal::TooMuch),
        _ => return words.unreadable(),
    };
    words.end()?;
    Ok(outcome)
}

pub(super) fn funds(text: &str) -> Result<Funds, Unreadable> {
    let mut words = Words::new(text, ' ');
    let funds = Funds {
        active: words.number::<u8>()? == 1,
        plan: words.credits()?,
        gift: words.credits()?,
        purchased: words.credits()?,
        held: words.credits()?,
        debt: words.credits()?,
        plan_end: match words.text()? {
            "-" => None,
            end => Some(Timestamp::from_millis(parsed(end)?)),
        },
    };
    words.end()?;
    Ok(funds)
}

/// One message of the log.
pub(super) fn entry(text: &str) -> Result<Entry, Unreadable> {
    let mut words = Words::new(text, ' ');
    let (seq, at, op) = (words.number()?, words.instant()?, words.id()?);
    let balance = words.number()?;
    let fact = fact(&mut words, op)?;
    words.end()?;
    Ok(Entry { seq, at, op, fact, balance })
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
        },
        "extend" => Fact::Extend {
            hold: words.hold(op)?,
            added: words.parts()?,
            deadline: words.instant()?,
            done: words.credits()?,
        },
        "settle" | "settle_late" => Fact::Settle {
            hold: words.hold(op)?,
            charged: words.credits()?,
            parts: words.parts()?,
            owed: words.credits()?,
            late: name == "settle_late",
        },
        "charge" => Fact::Charge {
            hold: words.hold(op)?,
            charged: words.credits()?,
            parts: words.parts()?,
            owed: words.credits()?,
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

/// The books out of the fields of an account's hash; nothing where there are none.
pub(super) fn account(fields: &HashMap<String, String>) -> Result<Option<Account>, Unreadable> {
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
    let mut expired = Vec::new();
    for (field, value) in fields {
        let mut words = Words::new(value, ':');
        match field.split_at_checked(1) {
            Some(("L", no)) => {
                let source = fields.get(&format!("S{no}"));
                books.lots.push(lot(parsed(no)?, source, &mut words)?);
            }
            Some(("H", id)) => books.holds.push(hold(parsed(id)?, &mut words)?),
            Some(("E", id)) => expired.push(expired_hold(parsed(id)?, &mut words)?),
            _ => {}
        }
    }
    books.lots.sort_by_key(Lot::burn_order);
    books.holds.sort_by_key(|hold| hold.id);
    expired.sort_by_key(|(order, _)| *order);
    books.expired = expired.into_iter().map(|(_, hold)| hold).collect();
    Ok(Some(books))
}

/// What is remembered of a source.
pub(super) fn source(text: &str) -> Result<Source, Unreadable> {
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

pub(super) fn parsed<T: FromStr>(text: &str) -> Result<T, Unreadable> {
    text.parse().map_err(|_| Unreadable(text.to_owned()))
}

fn credits(text: &str) -> Result<Credits, Unreadable> {
    Credits::from_micros(parsed(text)?).ok_or_else(|| Unreadable(text.to_owned()))
}

/// A text, word by word.
pub(super) struct Words<'a> {
    whole: &'a str,
    words: std::str::Split<'a, char>,
}

impl<'a> Words<'a> {
    pub(super) fn new(whole: &'a str, separator: char) -> Self {
        Self { whole, words: whole.split(separator) }
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Unreadable> {
        self.words.next().ok_or_else(|| Unreadable(self.whole.to_owned()))
    }

    /// The next word, if there is one.
    fn rest(&mut self) -> Option<&'a str> {
        self.words.next()
    }

    fn number<T: FromStr>(&mut self) -> Result<T, Unreadable> {
        self.text().and_then(parsed)
    }

    fn credits(&mut self) -> Result<Credits, Unreadable> {
        self.text().and_then(credits)
    }

    pub(super) fn instant(&mut self) -> Result<Timestamp, Unreadable> {
        self.number().map(Timestamp::from_millis)
    }

    fn id(&mut self) -> Result<Id, Unreadable> {
        self.text().and_then(parsed)
    }

    fn hold(&mut self, op: Id) -> Result<Id, Unreadable> {
        match self.text()? {
            "=" => Ok(op),
            id => parsed(id),
        }
    }

    fn kind(&mut self) -> Result<LotKind, Unreadable> {
        match self.text()? {
            "P" => Ok(LotKind::Plan),
            "G" => Ok(LotKind::Gift),
            "B" => Ok(LotKind::Purchased),
            _ => self.unreadable(),
        }
    }

    fn parts(&mut self) -> Result<Vec<Part>, Unreadable> {
        let text = self.text()?;
        if text.is_empty() || text == "-" {
            return Ok(vec![]);
        }
        let part = |text: &str| {
            let (lot, amount) = text.split_once('=').ok_or(Unreadable(text.to_owned()))?;
            Ok(Part { lot: parsed(lot)?, amount: credits(amount)? })
        };
        text.split(',').map(part).collect()
    }

    fn end(mut self) -> Result<(), Unreadable> {
        if self.words.next().is_some() { self.unreadable() } else { Ok(()) }
    }

    fn unreadable<T>(&self) -> Result<T, Unreadable> {
        Err(Unreadable(self.whole.to_owned()))
    }
}
