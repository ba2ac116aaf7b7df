//! Accounts, balances and keys.

use serde::Deserialize;

use super::{Amount, Table, facts, or};

#[derive(Deserialize)]
struct Shown {
    record: Record,
    gate: String,
    statement: Statement,
    keys: Option<Vec<Key>>,
}

#[derive(Deserialize)]
struct Record {
    account: String,
    plan: String,
    anchor: Option<String>,
    time_zone: String,
    created: Option<String>,
    when_exhausted: Option<u16>,
}

#[derive(Deserialize)]
struct Listed {
    accounts: Vec<Record>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Statement {
    account: String,
    active: bool,
    remaining: Amount,
    held: Amount,
    owed: Amount,
    plan: Plan,
    lots: Vec<Lot>,
}

#[derive(Deserialize)]
struct Plan {
    name: String,
    monthly_credits: Amount,
    remaining: Amount,
    resets_at: Option<String>,
}

#[derive(Deserialize)]
struct Lot {
    number: u32,
    kind: String,
    source: Option<String>,
    granted: Amount,
    remaining: Amount,
    held: Amount,
    starts_at: Option<String>,
    ends_at: Option<String>,
    state: String,
}

#[derive(Deserialize)]
struct Key {
    id: String,
    name: String,
    prefix: String,
    state: String,
    created: Option<String>,
    ends: Option<String>,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Issued {
    key: Key,
    secret: String,
}

#[derive(Deserialize)]
struct Revoked {
    revoked: String,
}

/// An account as it stands.
pub(in super::super) fn account(json: &str) -> serde_json::Result<String> {
    let Shown { record, gate, statement, keys } = serde_json::from_str(json)?;
    let mut text = facts(&[
        ("account", record.account),
        ("plan", record.plan),
        ("gate", gate),
        ("months from", or(record.anchor, "")),
        ("time zone", record.time_zone),
        ("created", or(record.created, "")),
        (
            "without credits",
            record
                .when_exhausted
                .map_or("as the plan says".to_owned(), |status| status.to_string()),
        ),
    ]);
    text = text + "\n" + &statement.text();
    if let Some(keys) = keys {
        text = text + "\n" + &key_table(keys);
    }
    Ok(text)
}

/// Accounts by name.
pub(in super::super) fn accounts(json: &str) -> serde_json::Result<String> {
    let Listed { accounts, next } = serde_json::from_str(json)?;
    if accounts.is_empty() {
        return Ok("no accounts".to_owned());
    }
    let mut table = Table::new(&["ACCOUNT", "PLAN", "TIME ZONE", "CREATED"]);
    for record in accounts {
        table.row([record.account, record.plan, record.time_zone, or(record.created, "")]);
    }
    let more = next.map_or(String::new(), |next| format!("more: --after {next}\n"));
    Ok(table.text() + &more)
}

/// What an account has, and what ends when.
pub(in super::super) fn balance(json: &str) -> serde_json::Result<String> {
    let statement: Statement = serde_json::from_str(json)?;
    let account = facts(&[("account", statement.account.clone())]);
    Ok(account + &statement.text())
}

impl Statement {
    fn text(self) -> String {
        let hidden_if_zero =
            |amount: &Amount| if amount.is_zero() { String::new() } else { amount.text() };
        let mut table = Table::new(&[
            ">LOT", "KIND", ">LEFT", ">HELD", ">OF", "STATE", "STARTS", "ENDS", "SOURCE",
        ]);
        for lot in self.lots {
            table.row([
                lot.number.to_string(),
                lot.kind,
                lot.remaining.text(),
                lot.held.text(),
                lot.granted.text(),
                lot.state,
                or(lot.starts_at, ""),
                or(lot.ends_at, "never"),
                or(lot.source, ""),
            ]);
        }
        let plan = self.plan;
        let month = format!(
            "{}: {} of {} left, new credits {}",
            plan.name,
            plan.remaining.text(),
            plan.monthly_credits.text(),
            or(plan.resets_at, "never"),
        );
        let overview = facts(&[
            ("active", if self.active { "yes" } else { "no: AI calls are refused" }.to_owned()),
            ("credits", format!("{} for the next call", self.remaining.text())),
            ("held", hidden_if_zero(&self.held)),
            ("owed", hidden_if_zero(&self.owed)),
            ("month", month),
        ]);
        let lots = table.text();
        if lots.is_empty() { overview } else { overview + "\n" + &lots }
    }
}

/// Keys, oldest first.
pub(in super::super) fn keys(json: &str) -> serde_json::Result<String> {
    let Keys { keys } = serde_json::from_str(json)?;
    Ok(key_table(keys))
}

fn key_table(keys: Vec<Key>) -> String {
    if keys.is_empty() {
        return "no keys\n".to_owned();
    }
    let mut table = Table::new(&["KEY", "NAME", "BEGINS WITH", "STATE", "CREATED", "ENDS"]);
    for key in keys {
        let (created, ends) = (or(key.created, ""), or(key.ends, "never"));
        table.row([key.id, key.name, key.prefix + "…", key.state, created, ends]);
    }
    table.text()
}

/// A new key: its secret, this once.
pub(in super::super) fn issued(json: &str) -> serde_json::Result<String> {
    let Issued { key, secret } = serde_json::from_str(json)?;
    let text = facts(&[
        ("key", key.id),
        ("name", key.name),
        ("ends", or(key.ends, "never")),
        ("secret", secret),
    ]);
    Ok(text + "\nThe secret is shown this once and stored nowhere.\n")
}

/// A key that is refused from now on.
pub(in super::super) fn revoked(json: &str) -> serde_json::Result<String> {
    let Revoked { revoked } = serde_json::from_str(json)?;
    Ok(format!("{revoked} is revoked"))
}

/// A thing that an account owns from now on.
pub(in super::super) fn own(json: &str) -> serde_json::Result<String> {
    let Given { account, provider, id } = serde_json::from_str(json)?;
    Ok(format!("{id} at {provider} belongs to {account}"))
}

#[derive(Deserialize)]
struct Given {
    account: String,
    provider: String,
    id: String,
}
