//! Accounts: creating and showing them, their plan, their gate, their balance.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use chrono_tz::Tz;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::input::{Asked, Body, Exhausted, Gate, Instant, Named, Page};
use super::keys::KeyShown;
use super::problem::{Kind, Problem};
use super::{Admin, fresh_id};
use crate::config::{Name, Plan, WhenExhausted};
use crate::credit::{AccountId, Credits};
use crate::directory::Record;
use crate::ledger::{Change, Changed};
use crate::statement::{Statement, rfc3339};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    account: AccountId,
    plan: String,
    /// When the months of the plan begin; now, if it isn't said.
    anchor: Option<Instant>,
    /// UTC, if it isn't said.
    time_zone: Option<String>,
    /// Open, if it isn't said.
    gate: Option<Gate>,
    /// As the plan says, if it isn't said.
    when_exhausted: Option<Exhausted>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewGate {
    until: Gate,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPlan {
    plan: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewExhausted {
    status: Exhausted,
}

/// An account's record, in words.
#[derive(Serialize)]
pub(super) struct RecordShown {
    account: AccountId,
    plan: String,
    anchor: Option<String>,
    time_zone: &'static str,
    created: Option<String>,
    /// 402 or 429; nothing, if it is as the plan says.
    when_exhausted: Option<u16>,
    version: u64,
}

/// An account as it stands.
#[derive(Serialize)]
pub(super) struct Shown {
    record: RecordShown,
    gate: Gate,
    statement: Statement,
}

#[derive(Serialize)]
pub(super) struct ShownWhole {
    record: RecordShown,
    gate: Gate,
    statement: Statement,
    keys: Vec<KeyShown>,
}

#[derive(Serialize)]
pub(super) struct Listed {
    accounts: Vec<RecordShown>,
    /// The `after` of the next page, if there may be one.
    next: Option<AccountId>,
}

impl From<&Record> for RecordShown {
    fn from(record: &Record) -> Self {
        Self {
            account: record.account.clone(),
            plan: record.plan.clone(),
            anchor: rfc3339(record.anchor),
            time_zone: record.zone.name(),
            created: rfc3339(record.created),
            when_exhausted: record.when_exhausted.map(WhenExhausted::status),
            version: record.version,
        }
    }
}

pub(super) async fn create(
    State(admin): State<Arc<Admin>>,
    Body(new): Body<New>,
) -> Result<(StatusCode, Json<Shown>), Problem> {
    admin.named_plan(&new.plan)?;
    let zone = new.time_zone.as_deref().unwrap_or("UTC");
    let zone: Tz = zone.parse().map_err(|_| {
        Problem::malformed(format!(
            "`{zone}` is no time zone: use a name such as `UTC` or `Europe/Berlin`"
        ))
    })?;
    let now = admin.this_second();
    let record = Record {
        account: new.account,
        version: 0,
        plan: new.plan,
        anchor: new.anchor.map_or(now, |Instant(anchor)| anchor),
        zone,
        created: now,
        when_exhausted: new.when_exhausted.and_then(|Exhausted(status)| status),
    };
    let gate_until = new.gate.unwrap_or(Gate::Open).until(admin.now());
    let account = record.account.clone();
    let shown = admin.change(&account, Change::Create { record, gate_until }).await?;
    Ok((StatusCode::CREATED, Json(shown)))
}

pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Asked(page): Asked<Page<String>>,
) -> Result<Json<Listed>, Problem> {
    let limit = page.limit()?;
    let records = admin.ledger.records(page.after.as_deref().unwrap_or_default(), limit).await?;
    let full = u32::try_from(records.len()).is_ok_and(|found| found == limit);
    let next = records.last().filter(|_| full).map(|record| record.account.clone());
    Ok(Json(Listed { accounts: records.iter().map(RecordShown::from).collect(), next }))
}

pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    Named(account): Named<AccountId>,
) -> Result<Json<ShownWhole>, Problem> {
    let record = admin.record(&account).await?;
    let Shown { record, gate, statement } = admin.shown(&record).await?;
    let keys = admin.ledger.keys(Some(&account)).await?;
    let now = admin.now();
    let keys = keys.into_iter().map(|key| KeyShown::new(key, now)).collect();
    Ok(Json(ShownWhole { record, gate, statement, keys }))
}

pub(super) async fn balance(
    State(admin): State<Arc<Admin>>,
    Named(account): Named<AccountId>,
) -> Result<Json<Statement>, Problem> {
    let record = admin.record(&account).await?;
    Ok(Json(admin.shown(&record).await?.statement))
}

pub(super) async fn gate(
    State(admin): State<Arc<Admin>>,
    Named(account): Named<AccountId>,
    Body(new): Body<NewGate>,
) -> Result<Json<Shown>, Problem> {
    let until = new.until.until(admin.now());
    let change = Change::Gate { account: account.clone(), until };
    admin.change(&account, change).await.map(Json)
}

pub(super) async fn plan(
    State(admin): State<Arc<Admin>>,
    Named(account): Named<AccountId>,
    Body(new): Body<NewPlan>,
) -> Result<Json<Shown>, Problem> {
    let allowance = admin.named_plan(&new.plan)?.monthly_credits;
    let change = Change::Plan { account: account.clone(), plan: new.plan, allowance };
    admin.change(&account, change).await.map(Json)
}

pub(super) async fn when_exhausted(
    State(admin): State<Arc<Admin>>,
    Named(account): Named<AccountId>,
    Body(new): Body<NewExhausted>,
) -> Result<Json<Shown>, Problem> {
    let NewExhausted { status: Exhausted(status) } = new;
    let change = Change::WhenExhausted { account: account.clone(), status };
    admin.change(&account, change).await.map(Json)
}

impl Admin {
    /// The record of `account`, which must exist.
    pub(super) async fn record(&self, account: &AccountId) -> Result<Record, Problem> {
        let record = self.ledger.record(account).await?;
        record.ok_or_else(|| Problem::no_such_account(account))
    }

    /// Carries out a change of `account` and shows what it is then.
    async fn change(&self, account: &AccountId, change: Change) -> Result<Shown, Problem> {
        let changed = self.ledger.change(fresh_id(), change).await?;
        let record = self.changed(account, changed)?;
        self.shown(&record).await
    }

    /// What came of a change that concerns `account`. The gateway in this process forgets what it knew before.
    pub(super) fn changed(&self, account: &AccountId, changed: Changed) -> Result<Record, Problem> {
        match changed {
            Changed::Done { record, key } => {
                self.directory.forget(Some(account), key);
                record.ok_or_else(|| Problem::internal(&"a change of an account left no record"))
            }
            Changed::AccountExists => Err(Problem::new(
                Kind::AccountExists,
                format!("there is an account `{account}` already; nothing was changed"),
            )),
            Changed::NoSuchAccount => Err(Problem::no_such_account(account)),
            Changed::NoSuchKey => Err(Problem::internal(&"no key was named")),
            Changed::Refused(refusal) => Err(Problem::of_refusal(&refusal)),
        }
    }

    async fn shown(&self, record: &Record) -> Result<Shown, Problem> {
        let now = self.now();
        // A plan that has left the configuration grants nothing any more; the gateway refuses its calls.
        let plan = self.config.plans.get(record.plan.as_str());
        let period = plan.and_then(|plan| record.period(plan.monthly_credits, now));
        let allowance = plan.map_or(Credits::ZERO, |plan| plan.monthly_credits);
        let books = self.ledger.read(&record.account, period).await?.unwrap_or_default();
        let statement = Statement::new(record, &books, allowance, period, now);
        Ok(Shown { record: record.into(), gate: Gate::seen(books.gate_until, now), statement })
    }

    /// The plan of this name in the configuration.
    fn named_plan(&self, name: &str) -> Result<&Plan, Problem> {
        let plans = &self.config.plans;
        plans.get(name).ok_or_else(|| {
            let known: Vec<_> = plans.keys().map(Name::as_str).collect();
            let known = known.join(", ");
            Problem::malformed(format!("there is no plan `{name}`: the configuration has {known}"))
        })
    }
}
