//! Parses the arguments and runs the command.

use std::process::ExitCode;

fn main() -> ExitCode {
    let code = creditgate::cli::run();
    creditgate::telemetry::flush();
    code
}
