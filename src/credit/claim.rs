//! Calls that belong together, so that they are paid for once: the repetitions of one call (`Idempotency-Key`), and the
//! calls of one task (`x-credits-task`). See semantics.md sections 3 and 5.
//!
//! A claim is what an account remembers under such a name: the call that counts, and how many followed it. [`decide`]
//! says what a new call is, from the claims and from what became of the calls that they name. Pure: an engine looks up
//! both, and writes the outcome in the same step as the call's hold. A hold that is refused leaves the claims as they
//! were.

use std::fmt;
use std::str::FromStr;

use super::account::REMEMBERED_MILLIS;
use super::{Account, Id, Timestamp};

/// How often an answer that was paid for and did not arrive whole is sent again without a charge.
pub const SENT_AGAIN_MAX: u32 = 3;

/// The name of a claim within its account: a hash of all that makes it this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimName(pub [u8; 32]);

/// What a call belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// The call that it may repeat.
    pub key: Option<ClaimName>,
    /// The task that it is a part of.
    pub task: Option<Task>,
}

/// A task and its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    pub name: ClaimName,
    /// Calls that one payment is good for, the first among them.
    pub calls: u32,
    /// How long after its first call, in ms.
    pub millis: u64,
}

/// What is remembered under a name. As text: `call since count paid delivered ends`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Of a key: the latest attempt. Of a task: the call that pays.
    pub call: Id,
    /// When that call began.
    pub since: Timestamp,
    /// Of a key: how often an answer that was paid for was sent again. Of a task: its calls so far.
    pub count: u32,
    /// An attempt before this one was charged.
    pub paid: bool,
    /// The latest attempt reached the client whole.
    pub delivered: bool,
    /// When the claim is forgotten.
    pub ends: Timestamp,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its hold is open.
    Running,
    /// It was charged, if only 0.
    Charged,
    /// It was given back, or nobody knows of it.
    Nothing,
    /// Its hold ran out with nothing charged; a settlement may still come.
    RanOut,
}

/// Why a call is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeated {
    /// The call that it repeats is still running.
    Running,
    /// The call that it repeats was answered whole.
    Delivered,
    /// The answer was sent again as often as that is done.
    SentOften,
}

/// What a call is that may be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether another call has paid for it, or will.
    pub rides: bool,
    /// What is to be remembered under the key, and under the task. A claim that stays as it is, is not told.
    pub key: Option<Claim>,
    pub task: Option<Claim>,
    /// Calls in whose place this one comes: what ran out is given up, so that it is not charged as well.
    pub gives_up: [Option<Id>; 2],
}

/// What the call `id` is, which begins at `now`. `key` and `task`: what is known under the names in `claims`.
pub fn decide(
    claims: &Claims,
    key: Option<(Claim, Fate)>,
    task: Option<(Claim, Fate)>,
    id: Id,
    now: Timestamp,
) -> Result<Decision, Repeated> {
    let mut decision = Decision::default();
    let known = |claim: Option<(Claim, Fate)>| claim.filter(|(claim, _)| now < claim.ends);
    if claims.key.is_some() {
        let (claim, rides, gives_up) = repeat(known(key), id, now)?;
        (decision.key, decision.rides, decision.gives_up[0]) = (Some(claim), rides, gives_up);
    }
    // What is paid for needs no task.
    if let Some(asked) = claims.task.filter(|_| !decision.rides) {
        let (claim, rides, gives_up) = join(known(task), &asked, id, now);
        (decision.task, decision.rides, decision.gives_up[1]) = (Some(claim), rides, gives_up);
    }
    Ok(decision)
}

type Joined = (Claim, bool, Option<Id>);

fn repeat(known: Option<(Claim, Fate)>, id: Id, now: Timestamp) -> Result<Joined, Repeated> {
    let new = Claim {
        call: id,
        since: now,
        count: 0,
        paid: false,
        delivered: false,
        // As long as it is known what became of the call.
        ends: id.made_at().after_millis(REMEMBERED_MILLIS),
    };
    let Some((claim, fate)) = known else { return Ok((new, false, None)) };
    match fate {
        Fate::Running => Err(Repeated::Running),
        Fate::Charged if claim.delivered => Err(Repeated::Delivered),
        Fate::Charged if claim.count >= SENT_AGAIN_MAX => Err(Repeated::SentOften),
        Fate::Charged => Ok((Claim { count: claim.count + 1, paid: true, ..new }, true, None)),
        Fate::Nothing | Fate::RanOut => {
            let again = Claim { count: claim.count, paid: claim.paid, ..new };
            Ok((again, claim.paid, (fate == Fate::RanOut).then_some(claim.call)))
        }
    }
}

fn join(known: Option<(Claim, Fate)>, task: &Task, id: Id, now: Timestamp) -> Joined {
    let first = Claim {
        call: id,
        since: now,
        count: 1,
        paid: false,
        delivered: false,
        ends: now.after_millis(task.millis),
    };
    let Some((claim, fate)) = known else { return (first, false, None) };
    let is_within = claim.count < task.calls && now < claim.since.after_millis(task.millis);
    match fate {
        Fate::Running | Fate::Charged if is_within => {
            (Claim { count: claim.count + 1, ..claim }, true, None)
        }
        Fate::Running | Fate::Charged | Fate::Nothing => (first, false, None),
        Fate::RanOut => (first, false, Some(claim.call)),
    }
}

impl Account {
    /// What became of `call` at `now`; `was_charged`: whether an engine remembers its settlement.
    pub fn fate(&self, call: Id, was_charged: bool, now: Timestamp) -> Fate {
        let now = now.max(self.clock);
        let ran_out = |charged: bool| if charged { Fate::Charged } else { Fate::RanOut };
        if let Some(hold) = self.hold(call) {
            let is_open = now < hold.deadline;
            return if is_open { Fate::Running } else { ran_out(!hold.done.is_zero()) };
        }
        if was_charged {
            return Fate::Charged;
        }
        match self.expired.iter().find(|hold| hold.id == call && now < hold.settle_until) {
            Some(hold) => ran_out(!hold.charged.is_zero()),
            None => Fate::Nothing,
        }
    }
}

impl ClaimName {
    /// The name as lower-case hexadecimal digits.
    pub fn hex(&self) -> String {
        use std::fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// Why a text is not a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a claim is `call since count paid delivered ends`")]
pub struct BadClaim;

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, since, count, paid, delivered, ends } = self;
        let (since, ends) = (since.millis(), ends.millis());
        let (paid, delivered) = (u8::from(*paid), u8::from(*delivered));
        write!(f, "{:032x} {since} {count} {paid} {delivered} {ends}", call.as_u128())
    }
}

impl FromStr for Claim {
    type Err = BadClaim;

    fn from_str(text: &str) -> Result<Self, BadClaim> {
        let words: Vec<&str> = text.split(' ').collect();
        let [call, since, count, paid, delivered, ends] = words[..] else { return Err(BadClaim) };
        let instant = |text: &str| text.parse().map(Timestamp::from_millis).map_err(|_| BadClaim);
        let flag = |text: &str| match text {
            "0" => Ok(false),
            "1" => Ok(true),
            _ => Err(BadClaim),
        };
        Ok(Self {
            call: call.parse().map_err(|_| BadClaim)?,
            since: instant(since)?,
            count: count.parse().map_err(|_| BadClaim)?,
            paid: flag(paid)?,
            delivered: flag(delivered)?,
            ends: instant(ends)?,
        })
    }
}

#[cfg(test)]
mod tests;
