//! The command line: what can be asked, and who carries it out.
//!
//! `serve`, `demo`, `check`, `migrate` and `sim` run here, in `app`. The operating commands speak to the admin listener of a
//! gateway that runs somewhere: see `operate`. Results go to standard output, everything else to standard error.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

mod call;
mod migrate;
mod operate;
mod remote;
mod show;
mod table;

use crate::{app, sim};
use migrate::MigrateOptions;
use operate::Operate;

/// The exit code of a command line that can't be understood, as clap has it.
const USAGE: u8 = 2;

/// Meters AI work in credits, between an assistant and its LLM providers.
#[derive(Parser)]
#[command(version, max_term_width = 100, after_help = "Start with `creditgate demo`.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway.
    Serve(ConfigFile),
    /// Run everything on this machine, with a simulated provider and accounts to try.
    Demo(DemoOptions),
    /// Show the configuration in force, or where a mistake is.
    Check(ConfigFile),
    /// Move the ledger from its file to Redis, with everything that is in it.
    Migrate(MigrateOptions),
    /// Run the simulated provider alone.
    #[command(after_help = sim::HELP)]
    Sim {
        /// Where it listens.
        #[arg(long, default_value = "127.0.0.1:9090")]
        listen: SocketAddr,
    },
    #[command(flatten)]
    Operate(Operate),
}

#[derive(Args)]
struct ConfigFile {
    /// The configuration file; without one, the default that is built in.
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
}

/// What can be said of a demo.
#[derive(Args)]
pub struct DemoOptions {
    /// Where assistants connect.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Where the admin API is served.
    #[arg(long, default_value = "127.0.0.1:8081")]
    pub admin_listen: SocketAddr,
    /// A directory for the data, which is kept; without one, a temporary directory.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Print addresses, token and keys as one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command of this process. 0: done; 1: refused or failed; 2: the command line can't be understood.
pub fn run() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => {
            // Nobody may be listening; the exit code tells all the same.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let done = match command {
        Command::Serve(ConfigFile { config }) => app::serve(config.as_deref()),
        Command::Demo(options) => app::demo(&options),
        Command::Check(ConfigFile { config }) => {
            app::check(config.as_deref()).and_then(|text| print(&text))
        }
        Command::Sim { listen } => app::sim(listen),
        Command::Migrate(options) => return options.run(),
        Command::Operate(operate) => return operate.run(),
    };
    done.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
}

/// Prints a result, with a line break at its end. Whoever closed the pipe has seen enough: that is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    tell(&format!("{error:#}"));
    ExitCode::FAILURE
}

/// Tells a person what is no result.
fn tell(words: &str) {
    // There is nowhere left to say that standard error is closed.
    let _ = writeln!(std::io::stderr().lock(), "creditgate: {words}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_grammar_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_wrong_is_found_before_anything_is_sent() {
        for wrong in [
            "creditgate grant acme 1e3 --kind gift",
            "creditgate grant acme 1 --kind plan",
            "creditgate balance no/account",
            "creditgate explain req_1",
            "creditgate ledger acme --limit 0",
            "creditgate key issue --name x",
            "creditgate key issue acme --service --name x",
            "creditgate verify --admin ftp://host",
        ] {
            assert!(Cli::try_parse_from(wrong.split(' ')).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_token_is_shown_by_no_help() {
        let mut command = Cli::command();
        let help = command.find_subcommand_mut("verify").unwrap().render_long_help().to_string();
        assert!(
            help.contains("CREDITGATE_ADMIN_TOKEN") && !help.contains("CREDITGATE_ADMIN_TOKEN=")
        );
    }
}
