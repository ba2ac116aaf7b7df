//! The operating commands: each becomes one request to the admin API, whose answer is shown.

use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat};
use clap::{Args, Subcommand, ValueEnum};
use http::Method;

use super::call::Call;
use super::remote::{Remote, RemoteError};
use super::{failed, print, show, tell};
use crate::credit::{AccountId, Credits, Id, SourceId};
use crate::provider::Dialect;

#[derive(Subcommand)]
pub(super) enum Operate {
    /// Create, show and change accounts.
    Account {
        #[command(subcommand)]
        action: AccountAction,
        #[command(flatten)]
        remote: Remote,
    },
    /// Issue, list and revoke keys.
    Key {
        #[command(subcommand)]
        action: KeyAction,
        #[command(flatten)]
        remote: Remote,
    },
    /// Give an account credits.
    Grant {
        #[command(flatten)]
        grant: Grant,
        #[command(flatten)]
        remote: Remote,
    },
    /// Take back what a source has granted: a refund, a chargeback.
    Void {
        #[command(flatten)]
        void: Void,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show what an account has, and what ends when.
    Balance {
        account: AccountId,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show an account's ledger, oldest entry first.
    Ledger {
        account: AccountId,
        #[command(flatten)]
        page: Page,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show what an account's credits were used for, by feature.
    Usage {
        account: AccountId,
        #[command(flatten)]
        span: Span,
        #[command(flatten)]
        remote: Remote,
    },
    /// Tell what one call cost, and why.
    Explain {
        /// The `x-credits-request-id` of its answer.
        request: Id,
        #[command(flatten)]
        remote: Remote,
    },
    /// Check every account's books against its ledger. Exits with 1 if a rule is broken.
    Verify {
        /// List the calls that may have been served unpaid.
        #[arg(long)]
        unsettled: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Give an account what was made for it at a provider before, or in the provider's console.
    Own {
        account: AccountId,
        /// The provider's name in the gateway's configuration.
        provider: String,
        /// What the provider calls it, such as `file-abc`; at Google with its collection, `files/abc`.
        id: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Tell what the gateway does with a request, and what it costs. Nothing is sent to a provider.
    Route {
        #[command(flatten)]
        route: Route,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Subcommand)]
pub(super) enum AccountAction {
    /// Create an account.
    Create(NewAccount),
    /// Show an account: its record, balance and keys.
    Show { account: AccountId },
    /// List accounts by name.
    List {
        /// Begin after this name.
        #[arg(long, value_name = "ACCOUNT")]
        after: Option<AccountId>,
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
    },
    /// Say until when an account may spend: `open`, `closed`, or an instant.
    Gate { account: AccountId, until: String },
    /// Move an account to another plan.
    Plan { account: AccountId, plan: String },
    /// Say with which status the account's calls are refused when credits are gone: 402, 429, or `plan` for what the
    /// plan says.
    Exhausted {
        account: AccountId,
        #[arg(value_parser = ["402", "429", "plan"])]
        status: String,
    },
}

/// In UTC, so that it needs no escapes in a query.
fn instant(text: &str) -> Result<String, String> {
    let at = DateTime::parse_from_rfc3339(text)
        .map_err(|_| "an instant is written as RFC 3339, such as 2027-01-31T00:00:00Z")?;
    Ok(at.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[derive(Args)]
pub(super) struct Span {
    /// Since this instant; 30 days before its end where nothing is said.
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    from: Option<String>,
    /// Before this instant; until now where nothing is said.
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    until: Option<String>,
}

#[derive(Args)]
pub(super) struct NewAccount {
    pub account: AccountId,
    /// A plan of the gateway's configuration.
    #[arg(long)]
    pub plan: String,
    /// When the months of the plan begin, such as `2027-01-31T00:00:00Z`; now, if it isn't said.
    #[arg(long, value_name = "INSTANT")]
    pub anchor: Option<String>,
    /// The time zone in which months are counted.
    #[arg(long, default_value = "UTC", value_name = "ZONE")]
    pub time_zone: String,
    /// `open`, `closed`, or the instant at which it closes.
    #[arg(long, default_value = "open")]
    pub gate: String,
    /// The status of calls without credits: 402, 429, or `plan` for what the plan says.
    #[arg(long, default_value = "plan", value_name = "STATUS", value_parser = ["402", "429", "plan"])]
    pub when_exhausted: String,
}

#[derive(Subcommand)]
pub(super) enum KeyAction {
    /// Issue a key, and show its secret this once.
    Issue {
        #[arg(required_unless_present = "service")]
        account: Option<AccountId>,
        /// A key of the SaaS itself, which names the account in each request.
        #[arg(long, conflicts_with = "account")]
        service: bool,
        /// What people call it.
        #[arg(long)]
        name: String,
        /// When it ends, such as `2027-01-31T00:00:00Z`; never, if it isn't said.
        #[arg(long, value_name = "INSTANT")]
        ends: Option<String>,
    },
    /// List the keys of an account.
    List {
        #[arg(required_unless_present = "service")]
        account: Option<AccountId>,
        /// The keys of the SaaS itself.
        #[arg(long, conflicts_with = "account")]
        service: bool,
    },
    /// Refuse a key from now on.
    Revoke {
        /// Its public name: `key_…`.
        #[arg(value_parser = key_id)]
        key: String,
    },
}

#[derive(Args)]
#[group(skip)]
pub(super) struct Grant {
    pub account: AccountId,
    pub credits: Credits,
    #[arg(long)]
    pub kind: GrantKind,
    /// Where it comes from, such as an invoice's number: a source grants once. A fresh one, if it isn't said.
    #[arg(long)]
    pub source: Option<SourceId>,
    /// First instant of use; now, if it isn't said.
    #[arg(long, value_name = "INSTANT")]
    pub starts: Option<String>,
    /// First instant after use. For a purchase the end of the day, 6 months later, for a gift never, if it isn't said.
    #[arg(long, value_name = "INSTANT")]
    pub ends: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum GrantKind {
    Gift,
    Purchased,
}

#[derive(Args)]
#[group(skip)]
pub(super) struct Void {
    pub account: AccountId,
    /// Credits taken back from this source in all, counting earlier refunds.
    pub credits: Credits,
    /// The source of the grant.
    #[arg(long)]
    pub source: SourceId,
}

#[derive(Args)]
pub(super) struct Page {
    /// Begin after the entry of this number.
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub after: u64,
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub limit: u32,
}

#[derive(Args)]
#[group(skip)]
pub(super) struct Route {
    #[arg(value_parser = method)]
    pub method: Method,
    /// As a client sends it, such as `/v1/chat/completions`.
    pub path: String,
    /// The model that the call names.
    #[arg(long)]
    pub model: Option<String>,
    /// What a service key says that the call is for.
    #[arg(long)]
    pub feature: Option<String>,
    /// The request asks for a WebSocket.
    #[arg(long)]
    pub upgrade: bool,
    /// The dialect that its headers show, such as `anthropic`, where several know the path.
    #[arg(long)]
    pub dialect: Option<Dialect>,
}

impl Operate {
    /// Carries the command out.
    pub(super) fn run(self) -> ExitCode {
        let is_verify = matches!(self, Self::Verify { .. });
        let (call, remote) = self.call();
        if let Some(notice) = &call.notice {
            tell(notice);
        }
        match ask(&call, &remote) {
            Ok(answer) => {
                let shown = if remote.json { Ok(answer.clone()) } else { (call.show)(&answer) };
                let printed = shown
                    .map_err(|_| {
                        anyhow::anyhow!(
                            "the gateway's answer can't be read: is it of this version?"
                        )
                    })
                    .and_then(|text| print(&text));
                match printed {
                    Err(error) => failed(&error),
                    Ok(()) if is_verify && !show::is_clean(&answer) => ExitCode::FAILURE,
                    Ok(()) => ExitCode::SUCCESS,
                }
            }
            Err(error) => {
                tell(&error.to_string());
                ExitCode::FAILURE
            }
        }
    }

    fn call(self) -> (Call, Remote) {
        match self {
            Self::Account { action, remote } => (action.call(), remote),
            Self::Key { action, remote } => (action.call(), remote),
            Self::Grant { grant, remote } => (grant.call(), remote),
            Self::Void { void, remote } => (void.call(), remote),
            Self::Balance { account, remote } => {
                (Call::get(format!("/accounts/{account}/balance"), show::balance), remote)
            }
            Self::Ledger { account, page: Page { after, limit }, remote } => {
                let path = format!("/accounts/{account}/ledger?after={after}&limit={limit}");
                (Call::get(path, show::ledger), remote)
            }
            Self::Usage { account, span: Span { from, until }, remote } => {
                let named = [("from", from), ("until", until)];
                let named = named.into_iter().filter_map(|(name, at)| Some((name, at?)));
                let query: Vec<_> = named.map(|(name, at)| format!("{name}={at}")).collect();
                let path = format!("/accounts/{account}/usage?{}", query.join("&"));
                (Call::get(path, show::usage), remote)
            }
            Self::Explain { request, remote } => {
                (Call::get(format!("/explain/{request}"), show::explain), remote)
            }
            Self::Verify { unsettled, remote } => {
                let show = if unsettled { show::unsettled } else { show::verify };
                (Call::get("/verify".to_owned(), show), remote)
            }
            Self::Own { account, provider, id, remote } => {
                let body = serde_json::json!({ "provider": provider, "id": id });
                (Call::post(format!("/accounts/{account}/things"), body, show::own), remote)
            }
            Self::Route { route, remote } => (route.call(), remote),
        }
    }
}

fn ask(call: &Call, remote: &Remote) -> Result<String, RemoteError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        RemoteError::Refused(format!("this machine can't start the command: {error}"))
    })?;
    runtime.block_on(remote.ask(call.method.clone(), &call.path, call.body()))
}

/// Any method is asked about, in whatever case it is typed.
fn method(text: &str) -> Result<Method, &'static str> {
    text.to_ascii_uppercase().parse().map_err(|_| "expected a method, such as GET or POST")
}

fn key_id(text: &str) -> Result<String, &'static str> {
    let digits = text.strip_prefix("key_").unwrap_or_default();
    let well_formed = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if well_formed {
        Ok(text.to_owned())
    } else {
        Err(
            "expected a key's public name, `key_` and 16 hexadecimal digits, not its secret; `creditgate key list` shows it",
        )
    }
}
