//! Holds whose calls may belong to others.
//!
//! A function may touch only keys that it is given, and what became of an earlier call stands in a key that is named after
//! that call's hour. So the first question takes it that nothing is claimed, which is so for most; a script that finds
//! otherwise says which calls are meant, and is asked again.

use super::functions::Asked;
use super::{Store, hexadecimal, text, unreadable};
use crate::credit::{AccountId, ClaimName, Claims, Id, Operation, Repeated};
use crate::ledger::fingerprint::fingerprint;
use crate::ledger::{Claimed, LedgerError};

/// How often the claims may have changed between two questions.
const LOOKS: u32 = 32;

impl Store {
    pub(in crate::ledger) async fn hold(
        &self,
        account: &AccountId,
        id: Id,
        hold: Operation,
        claims: Claims,
    ) -> Result<Claimed, LedgerError> {
        let fingerprints = [fingerprint(account, &hold), fingerprint(account, &Operation::Release)];
        let fingerprints = fingerprints.map(hexadecimal);
        let mut asked = Asked { hold: &hold, claims: &claims, fingerprints, known: [None, None] };
        for _ in 0..LOOKS {
            let now = self.now_for_scripts();
            let step = self.functions.claim((account, id), &asked, now);
            let answer = self.step(account, false, &step).await?;
            let words: Vec<&str> = answer.iter().map(String::as_str).collect();
            match words[..] {
                ["look", key, task] => asked.known = [named(key)?, named(task)?],
                ["repeated", why] => return Ok(Claimed::Repeated(repeated(why)?)),
                [outcome, funds, rides] => {
                    let outcome = text::outcome(outcome).map_err(|error| unreadable(&error))?;
                    let funds = text::funds(funds).map_err(|error| unreadable(&error))?;
                    let reply = crate::credit::Reply { outcome, funds };
                    return Ok(Claimed::Answered { reply, rides: rides == "1" });
                }
                _ => return Err(LedgerError::Unknown(format!("{words:?}"))),
            }
        }
        Err(LedgerError::Unavailable("its claims change too fast".to_owned()))
    }

    pub(in crate::ledger) async fn delivered(
        &self,
        account: &AccountId,
        key: ClaimName,
        id: Id,
    ) -> Result<(), LedgerError> {
        self.step(account, false, &self.functions.delivered(account, key, id)).await.map(|_| ())
    }
}

fn named(call: &str) -> Result<Option<Id>, LedgerError> {
    let known = |call: &str| text::parsed(call).map_err(|error| unreadable(&error));
    (call != "-").then(|| known(call)).transpose()
}

fn repeated(why: &str) -> Result<Repeated, LedgerError> {
    match why {
        "running" => Ok(Repeated::Running),
        "delivered" => Ok(Repeated::Delivered),
        "sent_often" => Ok(Repeated::SentOften),
        _ => Err(LedgerError::Unknown(format!("{why:?}"))),
    }
}
