//! Grants, the ledger, single calls, audits and routes.

use serde::Deserialize;

use super::{Amount, Table, facts, or};

#[derive(Deserialize)]
struct Granted {
    account: String,
    source: String,
    kind: String,
    credits: Amount,
    lot: u32,
    repaid: Option<Amount>,
    ends_at: Option<String>,
    repeated: bool,
}

#[derive(Deserialize)]
struct Voided {
    account: String,
    source: String,
    taken: Amount,
    owed: Amount,
}

#[derive(Deserialize)]
struct Ledger {
    entries: Vec<Entry>,
    next: Option<u64>,
}

#[derive(Deserialize)]
struct Entry {
    seq: u64,
    at: Option<String>,
    kind: String,
    request: Option<String>,
    change: Amount,
    balance: Amount,
    details: String,
}

#[derive(Deserialize)]
struct Used {
    from: Option<String>,
    until: Option<String>,
    calls: u64,
    credits: Amount,
    features: Vec<UsedBy>,
}

#[derive(Deserialize)]
struct UsedBy {
    feature: Option<String>,
    calls: u64,
    credits: Amount,
}

#[derive(Deserialize)]
struct Explained {
    request: String,
    account: String,
    state: String,
    feature: Option<String>,
    explanation: String,
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Verified {
    clean: bool,
    accounts: u64,
    entries: u64,
    open_holds: u64,
    broken: Vec<Finding>,
    unsettled: Vec<Unsettled>,
}

#[derive(Deserialize)]
struct Finding {
    account: String,
    seq: u64,
    what: String,
}

#[derive(Deserialize)]
struct Unsettled {
    account: String,
    request: String,
    held: Amount,
    charged: Amount,
    expired_at: Option<String>,
}

#[derive(Deserialize)]
struct Routed {
    provider: Option<String>,
    class: Option<String>,
    operation: Option<String>,
    pattern: Option<String>,
    path: Option<String>,
    explanation: String,
}

/// A grant, or its repetition.
pub(in super::super) fn granted(json: &str) -> serde_json::Result<String> {
    let granted: Granted = serde_json::from_str(json)?;
    let Granted { account, source, kind, credits, lot, .. } = granted;
    let credits = credits.text();
    let end = or(granted.ends_at, "never");
    let sentence = if granted.repeated {
        format!(
            "{account} has had {credits} {kind} credits from {source} before; nothing was done now"
        )
    } else {
        format!("{account} has {credits} more {kind} credits from {source}")
    };
    let repaid = granted.repaid.filter(|repaid| !repaid.is_zero());
    let repaid =
        repaid.map_or(String::new(), |repaid| format!("; {} repaid the debt", repaid.text()));
    Ok(format!("{sentence} (lot {lot}, ends {end}{repaid})"))
}

/// A refund.
pub(in super::super) fn voided(json: &str) -> serde_json::Result<String> {
    let Voided { account, source, taken, owed } = serde_json::from_str(json)?;
    let (taken, owed) = (taken.text(), owed.text());
    Ok(format!(
        "{taken} credits of {source} taken back from {account}, {owed} owed because they were used"
    ))
}

/// Entries, oldest first.
pub(in super::super) fn ledger(json: &str) -> serde_json::Result<String> {
    let Ledger { entries, next } = serde_json::from_str(json)?;
    if entries.is_empty() {
        return Ok("no entries".to_owned());
    }
    let mut table = Table::new(&[">NO", "AT", "KIND", ">CHANGE", ">BALANCE", "DETAILS"]);
    for entry in entries {
        let request = entry.request.map_or(String::new(), |request| format!(" ({request})"));
        table.row([
            entry.seq.to_string(),
            or(entry.at, ""),
            entry.kind,
            entry.change.signed(),
            entry.balance.text(),
            entry.details + &request,
        ]);
    }
    let more = next.map_or(String::new(), |next| format!("more: --after {next}\n"));
    Ok(table.text() + &more)
}

/// What credits were used for.
pub(in super::super) fn usage(json: &str) -> serde_json::Result<String> {
    let Used { from, until, calls, credits, features } = serde_json::from_str(json)?;
    let (from, until) = (or(from, "the beginning"), or(until, "now"));
    let mut table = Table::new(&["FEATURE", ">CALLS", ">CREDITS"]);
    for UsedBy { feature, calls, credits } in features {
        table.row([or(feature, "(none)"), calls.to_string(), credits.text()]);
    }
    let sum = format!("{} credits for {calls} calls from {from} until {until}\n", credits.text());
    let table = table.text();
    Ok(if table.is_empty() { sum } else { sum + "\n" + &table })
}

/// One call.
pub(in super::super) fn explain(json: &str) -> serde_json::Result<String> {
    let Explained { request, account, state, feature, explanation, entries } =
        serde_json::from_str(json)?;
    let mut table = Table::new(&[">NO", "AT", "KIND", ">CHANGE", "DETAILS"]);
    for entry in entries {
        let at = or(entry.at, "");
        table.row([entry.seq.to_string(), at, entry.kind, entry.change.signed(), entry.details]);
    }
    let mut call = vec![("request", request), ("account", account), ("state", state)];
    call.extend(feature.map(|feature| ("feature", feature)));
    let call = facts(&call);
    Ok(format!("{explanation}\n\n{call}\n{}", table.text()))
}

/// Whether the books are clean, and what is wrong.
pub(in super::super) fn verify(json: &str) -> serde_json::Result<String> {
    let Verified { clean, accounts, entries, open_holds, broken, unsettled } =
        serde_json::from_str(json)?;
    let verdict = if clean { "clean" } else { "NOT CLEAN: these books break a rule" };
    let mut table = Table::new(&["ACCOUNT", ">ENTRY", "WHAT"]);
    for Finding { account, seq, what } in broken {
        table.row([account, seq.to_string(), what]);
    }
    let unsettled = match unsettled.len() {
        0 => "0".to_owned(),
        some => format!("{some} (`creditgate verify --unsettled` lists them)"),
    };
    let counts = facts(&[
        ("books", verdict.to_owned()),
        ("accounts", accounts.to_string()),
        ("entries", entries.to_string()),
        ("open holds", open_holds.to_string()),
        ("unsettled calls", unsettled),
    ]);
    let broken = table.text();
    Ok(if broken.is_empty() { counts } else { counts + "\n" + &broken })
}

/// The calls that may have been served unpaid.
pub(in super::super) fn unsettled(json: &str) -> serde_json::Result<String> {
    let Verified { clean, unsettled, .. } = serde_json::from_str(json)?;
    let mut table = Table::new(&["REQUEST", "ACCOUNT", ">HELD", ">CHARGED", "EXPIRED"]);
    for call in unsettled {
        let (held, charged) = (call.held.text(), call.charged.text());
        table.row([call.request, call.account, held, charged, or(call.expired_at, "")]);
    }
    let calls = table.text();
    let calls = if calls.is_empty() { "every call was settled\n".to_owned() } else { calls };
    let warning = "\nThe books break a rule: `creditgate verify` says which.\n";
    Ok(if clean { calls } else { calls + warning })
}

/// Whether an audit's answer says that no rule is broken.
pub(in super::super) fn is_clean(json: &str) -> bool {
    serde_json::from_str::<Verified>(json).is_ok_and(|verified| verified.clean)
}

/// What would become of a request.
pub(in super::super) fn route(json: &str) -> serde_json::Result<String> {
    let routed: Routed = serde_json::from_str(json)?;
    let place = facts(&[
        ("provider", or(routed.provider, "")),
        ("path", or(routed.path, "")),
        ("route", or(routed.pattern, "")),
        ("class", or(routed.class, "")),
        ("operation", or(routed.operation, "")),
    ]);
    Ok(format!("{}\n\n{place}", routed.explanation))
}
