//! `creditgate migrate`: what can be said of it, and what it says.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::table::facts;
use super::{USAGE, failed, print, tell};
use crate::app::{self, Migrate};
use crate::config::LedgerUrl;
use crate::credit::Credits;
use crate::ledger::migration::Summary;

const AFTER: &str = "No gateway may run on the file meanwhile. The file is only read until everything is in Redis and \
                     checked; then it is marked, so that no gateway serves from it again. If it breaks off, run it \
                     again.";

#[derive(Args)]
#[command(after_help = AFTER)]
pub(super) struct MigrateOptions {
    /// The ledger's file, such as `sqlite:///var/lib/creditgate/creditgate.db`.
    #[arg(long, value_name = "ADDRESS")]
    from: String,
    /// An empty Redis, such as `redis://localhost:6379`; the configuration's `ledger`, if it isn't said. Others can
    /// see a command line: an address with a password is better set in `CREDITGATE_LEDGER`.
    #[arg(long, value_name = "ADDRESS")]
    to: Option<String>,
    /// The configuration file that says where to, without `--to`.
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
}

impl MigrateOptions {
    /// Carries the command out.
    pub(super) fn run(self) -> ExitCode {
        // Not clap's own way: it would repeat the address, and the password in it.
        let Some(from) = LedgerUrl::parse(&self.from) else { return unreadable("--from") };
        let to = match self.to.as_deref().map(LedgerUrl::parse) {
            Some(None) => return unreadable("--to"),
            Some(to) => to,
            None => None,
        };
        let asked = Migrate { from, to, config: self.config.as_deref() };
        let moved = app::migrate(asked, &tell);
        let printed = moved.and_then(|(summary, to)| print(&shown(summary, &to)));
        printed.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
    }
}

fn unreadable(option: &str) -> ExitCode {
    tell(&format!("{option}: expected {}", LedgerUrl::EXPECTED));
    ExitCode::from(USAGE)
}

fn shown(summary: Summary, to: &LedgerUrl) -> String {
    let Summary { accounts, lots, entries, open_holds, balance } = summary;
    let moved = facts(&[
        ("moved to", to.to_string()),
        ("accounts", accounts.to_string()),
        ("lots", lots.to_string()),
        ("entries", entries.to_string()),
        ("open holds", open_holds.to_string()),
        ("credits", credits(balance)),
    ]);
    format!(
        "{moved}\nEverything was checked. Set `ledger`, or CREDITGATE_LEDGER, to the new address on every gateway, and \
         start them.\nThe file is kept; no gateway serves from it again. `creditgate verify` checks the books any time."
    )
}

/// A sum of credits, which may be more than one account can have.
fn credits(micros: i128) -> String {
    let (sign, micros) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
    let decimals = u64::try_from(micros % 1_000_000).ok().and_then(Credits::from_micros);
    let decimals = decimals.map(|decimals| decimals.to_string()).unwrap_or_default();
    format!("{sign}{}{}", micros / 1_000_000, decimals.trim_start_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_plain_decimals() {
        for (micros, shown) in [
            (0, "0"),
            (7_000_000, "7"),
            (2_500_000, "2.5"),
            (-1, "-0.000001"),
            (9_000_000_000_000_100_000, "9000000000000.1"),
        ] {
            assert_eq!(credits(micros), shown);
        }
    }
}
