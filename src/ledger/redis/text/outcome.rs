//! What a step came to, and what could be spent after it.

use super::{Unreadable, Words, parsed};
use crate::credit::{Done, Funds, Refusal, Timestamp};

/// What was done, or why not.
pub(in crate::ledger::redis) fn outcome(text: &str) -> Result<Result<Done, Refusal>, Unreadable> {
    let mut words = Words::new(text, ' ');
    let outcome = match words.text()? {
        "granted" => Ok(Done::Granted { lot: words.number()?, repaid: words.credits()? }),
        "granted_before" => Ok(Done::GrantedBefore { lot: words.number()? }),
        "gated" => Ok(Done::Gated { ignored: words.number::<u8>()? == 1 }),
        "planned" => Ok(Done::Planned { change: words.number()? }),
        "held" => Ok(Done::Held),
        "extended" => Ok(Done::Extended),
        "settled" => Ok(Done::Settled { charged: words.credits()?, owed: words.credits()? }),
        "corrected" => Ok(Done::Corrected {
            before: words.credits()?,
            charged: words.credits()?,
            owed: words.credits()?,
        }),
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

pub(in crate::ledger::redis) fn funds(text: &str) -> Result<Funds, Unreadable> {
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

/// The outcome as the scripts remember it.
pub(in crate::ledger::redis) fn outcome_text(outcome: &Result<Done, Refusal>) -> String {
    match outcome {
        Ok(done) => done_text(done),
        Err(refusal) => refusal_text(refusal),
    }
}

fn done_text(done: &Done) -> String {
    match done {
        Done::Granted { lot, repaid } => format!("granted {lot} {}", repaid.micros()),
        Done::GrantedBefore { lot } => format!("granted_before {lot}"),
        Done::Gated { ignored } => format!("gated {}", u8::from(*ignored)),
        Done::Planned { change } => format!("planned {change}"),
        Done::Held => "held".to_owned(),
        Done::Extended => "extended".to_owned(),
        Done::Settled { charged, owed } => {
            format!("settled {} {}", charged.micros(), owed.micros())
        }
        Done::Corrected { before, charged, owed } => {
            format!("corrected {} {} {}", before.micros(), charged.micros(), owed.micros())
        }
        Done::Released => "released".to_owned(),
        Done::Voided { taken, owed } => format!("voided {} {}", taken.micros(), owed.micros()),
    }
}

fn refusal_text(refusal: &Refusal) -> String {
    let text = match refusal {
        Refusal::Exhausted => "!exhausted",
        Refusal::Held => "!held",
        Refusal::Owed => "!owed",
        Refusal::Inactive => "!inactive",
        Refusal::Stale { version } => return format!("!stale {version}"),
        Refusal::TooManyHolds => "!too_many_holds",
        Refusal::AlreadyResolved => "!already_resolved",
        Refusal::Conflict => "!conflict",
        Refusal::TooOld => "!too_old",
        Refusal::UnknownSource => "!unknown_source",
        Refusal::Ended => "!ended",
        Refusal::TooMuch => "!too_much",
    };
    text.to_owned()
}
