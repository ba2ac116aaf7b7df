//! Sends the program's log to standard error.
//!
//! Knows how a line looks and which lines are shown, and nothing of what they say.

use std::io::IsTerminal;
use std::sync::OnceLock;

use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

mod line;
mod lines;

use line::Line;
use lines::Lines;

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people; in colours on a terminal.
    Text,
    /// One object for each line.
    Json,
}

/// The least important lines that are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something is broken.
    Error,
    /// Something may break.
    Warn,
    /// What the gateway does: one line for each request.
    Info,
    /// Why it does so.
    Debug,
    /// Everything.
    Trace,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `RUST_LOG` can't be read.
    #[error(
        "RUST_LOG is not a log filter: {0}; write for instance `info` or `warn,creditgate=debug`, or unset it"
    )]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The thread that writes it.
    #[error("no thread for the log could be started: {0}")]
    Thread(#[from] std::io::Error),
    /// The process has a log already.
    #[error("the log was started twice in one process: {0}")]
    Started(#[from] TryInitError),
}

/// The lines of this process, once its log has started.
static LINES: OnceLock<Lines> = OnceLock::new();

/// Starts the log of this process. `rust_log` is the variable `RUST_LOG`, which replaces `level` when it is set.
pub fn start(format: Format, level: Level, rust_log: Option<&str>) -> Result<(), TelemetryError> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(level, rust_log)?)
        // It would complain of a log that can't be written to where it can't write, and panic.
        .log_internal_errors(false);
    if format == Format::Text && std::io::stderr().is_terminal() {
        // Somebody looks on: in colours, and at once.
        return Ok(log.with_writer(std::io::stderr).finish().try_init()?);
    }
    let lines = Lines::start()?;
    log.event_format(Line(format)).with_writer(lines.clone()).finish().try_init()?;
    LINES.get_or_init(|| lines);
    Ok(())
}

/// Writes what was logged and is not written yet: before the process ends.
pub fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush();
    }
}

fn filter(level: Level, rust_log: Option<&str>) -> Result<EnvFilter, TelemetryError> {
    match rust_log.filter(|directives| !directives.is_empty()) {
        Some(directives) => Ok(EnvFilter::builder().parse(directives)?),
        // The libraries below narrate each connection at `debug`: only their warnings are the operator's business.
        None => Ok(EnvFilter::builder().parse(format!("warn,creditgate={}", level.as_str()))?),
    }
}

impl Format {
    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl Level {
    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_the_gateways_own() {
        let filter = filter(Level::Debug, None).unwrap().to_string();
        assert!(filter.contains("creditgate=debug") && filter.contains("warn"), "{filter}");
    }

    #[test]
    fn rust_log_replaces_the_level() {
        assert_eq!(filter(Level::Debug, Some("hyper=trace")).unwrap().to_string(), "hyper=trace");
        let unset = filter(Level::Info, Some("")).unwrap().to_string();
        assert!(unset.contains("creditgate=info"), "{unset}");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_said_so() {
        let error = filter(Level::Info, Some("creditgate=loud")).unwrap_err().to_string();
        assert!(error.starts_with("RUST_LOG is not a log filter"), "{error}");
    }
}
