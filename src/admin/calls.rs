//! One call's money, from its hold to its end: what was held, what was charged, and why.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::Admin;
use super::entries::{EntryShown, instant};
use super::input::Named;
use super::problem::{Kind, Problem};
use crate::credit::{AccountId, Basis, Credits, Entry, Fact, Feature, Id, Timestamp, Work};
use crate::statement::{Decimal, rfc3339};

#[derive(Serialize)]
pub(super) struct Explained {
    request: Id,
    account: AccountId,
    state: CallState,
    /// What it was for, as its caller said.
    feature: Option<Feature>,
    held: Decimal,
    charged: Decimal,
    /// What of the charge was more than was left, and became debt.
    owed: Decimal,
    held_at: Option<String>,
    /// When it was charged, given back, or ran out.
    ended_at: Option<String>,
    heartbeats: u32,
    /// How the charge came about, once there is one: `per_call`, `reported` or `estimated`.
    charged_by: Option<&'static str>,
    /// The work that it was charged for, by unit; seconds of sound in milliseconds.
    usage: Option<BTreeMap<&'static str, u64>>,
    /// One sentence for a person.
    explanation: String,
    entries: Vec<EntryShown>,
}

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum CallState {
    Running,
    Charged,
    Released,
    /// Nothing was heard of it: it may have been served unpaid.
    Expired,
}

pub(super) async fn explain(
    State(admin): State<Arc<Admin>>,
    Named(request): Named<Id>,
) -> Result<Json<Explained>, Problem> {
    let entries = admin.ledger.explain(request).await?;
    let Some((account, _)) = entries.first() else {
        return Err(Problem::new(
            Kind::NoSuchCall,
            format!(
                "the ledger knows nothing of `{request}`: the request was free, or was refused before credits were held; \
                 the gateway's log tells which"
            ),
        ));
    };
    let account = account.clone();
    let entries: Vec<Entry> = entries.into_iter().map(|(_, entry)| entry).collect();
    let story = Story::of(&entries);
    Ok(Json(Explained {
        request,
        account,
        state: story.state(admin.now()),
        feature: entries.iter().find_map(|entry| entry.fact.feature().cloned()),
        held: Decimal(story.held),
        charged: Decimal(story.charged()),
        owed: Decimal(story.owed),
        held_at: story.held_at.and_then(rfc3339),
        ended_at: story.ended_at().and_then(rfc3339),
        heartbeats: story.beats,
        charged_by: story.charged_by(),
        usage: story.work.map(|work| {
            work.usage.amounts().map(|(unit, amount)| (unit.as_str(), amount)).collect()
        }),
        explanation: story.explanation(admin.now()),
        entries: entries.iter().map(EntryShown::from).collect(),
    }))
}

/// What the entries about one call come to.
#[derive(Default)]
struct Story {
    held: Credits,
    /// Nothing for a call that was let through without a hold.
    held_at: Option<Timestamp>,
    deadline: Timestamp,
    beats: u32,
    confirmed: Credits,
    owed: Credits,
    /// What it was charged for, where that decided the amount.
    work: Option<Work>,
    /// What the job that it began had been charged, before that was corrected.
    corrected: Option<(Timestamp, Credits)>,
    ending: Ending,
}

#[derive(Default)]
enum Ending {
    #[default]
    None,
    Charged {
        at: Timestamp,
        charged: Credits,
    },
    Released {
        at: Timestamp,
    },
    Expired {
        at: Timestamp,
        charged: Credits,
    },
    /// After it had expired; `charged` is all that was charged.
    ChargedLate {
        at: Timestamp,
        charged: Credits,
    },
    /// It ran while the ledger was away, and was charged afterwards.
    LetThrough {
        at: Timestamp,
        charged: Credits,
    },
}

impl Story {
    fn of(entries: &[Entry]) -> Self {
        let mut story = Self::default();
        for entry in entries {
            story.add(entry);
        }
        story
    }

    fn add(&mut self, entry: &Entry) {
        let at = entry.at;
        match &entry.fact {
            Fact::Hold { amount, deadline, .. } => {
                (self.held, self.held_at, self.deadline) = (*amount, Some(at), *deadline);
            }
            Fact::Extend { added, deadline, done, .. } => {
                let added = added.iter().map(|part| part.amount);
                self.held = added.fold(self.held, Credits::saturating_add);
                (self.deadline, self.confirmed) = (*deadline, *done);
                self.beats += 1;
            }
            Fact::Settle { charged, owed, work, .. } => {
                let charged = self.charged().saturating_add(*charged);
                (self.owed, self.work) = (*owed, *work);
                self.ending = match self.ending {
                    Ending::None
                    | Ending::Charged { .. }
                    | Ending::Released { .. }
                    | Ending::LetThrough { .. } => Ending::Charged { at, charged },
                    Ending::Expired { .. } | Ending::ChargedLate { .. } => {
                        Ending::ChargedLate { at, charged }
                    }
                };
            }
            Fact::Charge { charged, owed, work, .. } => {
                let charged = self.charged().saturating_add(*charged);
                (self.owed, self.work) = (*owed, *work);
                self.ending = Ending::LetThrough { at, charged };
            }
            Fact::Release { .. } => self.ending = Ending::Released { at },
            Fact::HoldExpired { done, .. } => self.ending = Ending::Expired { at, charged: *done },
            Fact::Correct { charged: total, before, repaid, owed, work, .. } => {
                self.owed = self.owed.saturating_sub(*repaid).saturating_add(*owed);
                (self.work, self.corrected) = (*work, Some((at, *before)));
                match &mut self.ending {
                    Ending::None | Ending::Released { .. } => {}
                    Ending::Charged { charged, .. }
                    | Ending::Expired { charged, .. }
                    | Ending::ChargedLate { charged, .. }
                    | Ending::LetThrough { charged, .. } => *charged = *total,
                }
            }
            // None of them is about a call.
            Fact::Grant { .. }
            | Fact::Gate { .. }
            | Fact::Plan { .. }
            | Fact::LotExpired { .. }
            | Fact::Repay { .. }
            | Fact::Void { .. } => {}
        }
    }

    fn charged(&self) -> Credits {
        match self.ending {
            Ending::None | Ending::Released { .. } => Credits::ZERO,
            Ending::Charged { charged, .. }
            | Ending::Expired { charged, .. }
            | Ending::ChargedLate { charged, .. }
            | Ending::LetThrough { charged, .. } => charged,
        }
    }

    fn charged_by(&self) -> Option<&'static str> {
        match self.ending {
            Ending::None | Ending::Released { .. } | Ending::Expired { .. } => None,
            Ending::Charged { .. } | Ending::ChargedLate { .. } | Ending::LetThrough { .. } => {
                Some(self.work.map_or("per_call", |work| work.basis.as_str()))
            }
        }
    }

    fn ended_at(&self) -> Option<Timestamp> {
        match self.ending {
            Ending::None => None,
            Ending::Charged { at, .. }
            | Ending::Released { at }
            | Ending::Expired { at, .. }
            | Ending::ChargedLate { at, .. }
            | Ending::LetThrough { at, .. } => Some(at),
        }
    }

    fn state(&self, now: Timestamp) -> CallState {
        match self.ending {
            Ending::None if now < self.deadline => CallState::Running,
            Ending::None | Ending::Expired { .. } => CallState::Expired,
            Ending::Charged { .. } | Ending::ChargedLate { .. } | Ending::LetThrough { .. } => {
                CallState::Charged
            }
            Ending::Released { .. } => CallState::Released,
        }
    }

    fn explanation(&self, now: Timestamp) -> String {
        let held = self.held_at.map_or_else(
            || "Nothing was held".to_owned(),
            |at| format!("{} held at {}", were(self.held), instant(at)),
        );
        let owed = if self.owed.is_zero() {
            String::new()
        } else {
            let why = match self.ending {
                // What was left may have been frozen.
                Ending::LetThrough { .. } => "not there to be taken",
                Ending::None
                | Ending::Charged { .. }
                | Ending::Released { .. }
                | Ending::Expired { .. }
                | Ending::ChargedLate { .. } => "more than was left",
            };
            format!(" {} {why}, and owed since.", were(self.owed))
        };
        match self.ending {
            Ending::None if now < self.deadline => {
                format!(
                    "{held}; the call still runs, as far as is known, and its hold lasts until {}.",
                    instant(self.deadline)
                )
            }
            Ending::None => format!(
                "{held}; nothing was heard of the call before its hold ran out at {}, so {} charged, as confirmed by \
                 then, and the rest is free again.",
                instant(self.deadline),
                were(self.confirmed),
            ),
            Ending::Charged { at, charged } => format!(
                "{held}, and {} charged at {}, {}.{owed}",
                were(charged),
                instant(at),
                self.why(),
            ),
            Ending::Released { at } => format!(
                "{held}, and given back at {}, because the provider refused, failed, or did no work that reached the \
                 caller: nothing was charged.",
                instant(at),
            ),
            Ending::Expired { at, charged } => format!(
                "{held}; at {} the hold ran out before the call was settled, because the gateway ended in the middle of \
                 it or lost the ledger: {} charged, as its last heartbeat had confirmed, and the rest given back.",
                instant(at),
                were(charged),
            ),
            Ending::ChargedLate { at, charged } => format!(
                "{held}; the hold ran out, but the call was settled at {} after all: {} charged in all, {}.{owed}",
                instant(at),
                were(charged),
                self.why(),
            ),
            Ending::LetThrough { at, charged } => format!(
                "{held}; the call was let through while the ledger was away, and {} charged at {}, once the ledger was \
                 back{}.{owed}",
                were(charged),
                instant(at),
                self.work.map_or_else(String::new, |work| format!(", {}", what_for(&work))),
            ),
        }
    }

    fn why(&self) -> String {
        if let Some((at, before)) = self.corrected {
            let work = self
                .work
                .as_ref()
                .map_or_else(|| "because the job did no work".to_owned(), what_for);
            return format!("{work} (corrected from {before} at {})", instant(at));
        }
        let work = self.work.as_ref();
        work.map_or_else(|| "because the provider did the work".to_owned(), what_for)
    }
}

fn what_for(Work { basis, usage }: &Work) -> String {
    match basis {
        Basis::Reported => format!("for the work that the provider reported: {usage}"),
        Basis::Estimated => {
            format!("for work that was counted here, since the provider reported none: {usage}")
        }
    }
}

/// `1 credit was`, `2.5 credits were`.
fn were(amount: Credits) -> String {
    if amount == Credits::whole(1) {
        "1 credit was".to_owned()
    } else {
        format!("{amount} credits were")
    }
}
