//! How a request tells the simulated provider to misbehave.

use std::time::Duration;

use http::StatusCode;

use super::coded;
use crate::coding::Coding;
use crate::provider::credentials::percent_decoded;

const CHUNKS_MAX: usize = 100_000;
const WAIT_MAX: Duration = Duration::from_mins(10);

/// A place in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// Nothing has been sent.
    BeforeHeaders,
    /// The head alone has been sent.
    AfterHeaders,
    /// So many events have been sent, or the first half of any other body.
    After(usize),
}

/// What is asked for beside a normal answer. The meaning of each is in [`super::HELP`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Switches {
    pub(super) delay: Duration,
    pub(super) status: Option<StatusCode>,
    pub(super) break_at: Option<Point>,
    pub(super) hold_at: Option<Point>,
    pub(super) error_event: Option<usize>,
    pub(super) silent: bool,
    pub(super) chunks: usize,
    pub(super) gap: Duration,
    pub(super) split: Option<u64>,
    pub(super) coding: Option<Coding>,
    pub(super) body: Option<String>,
    pub(super) tool: bool,
    pub(super) input_tokens: Option<u64>,
    pub(super) output_tokens: Option<u64>,
    pub(super) cached_tokens: u64,
    pub(super) reasoning_tokens: u64,
    pub(super) seconds: Option<u64>,
    pub(super) no_usage: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "The switch `{switch}` is not understood. The known ones are delay=MS, status=N, \
     break=before-headers|after-headers|after:N, error-event=N, silent, chunks=N, gap=MS, split=SEED, coding=NAME, \
     hold=before-headers|after-headers|after:N, body=TEXT, tool, input-tokens=N, output-tokens=N, \
     cached-tokens=N, reasoning-tokens=N, seconds=N, no-usage."
)]
pub(super) struct UnknownSwitch {
    switch: String,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            status: None,
            break_at: None,
            hold_at: None,
            error_event: None,
            silent: false,
            chunks: 4,
            gap: Duration::ZERO,
            split: None,
            coding: None,
            body: None,
            tool: false,
            input_tokens: None,
            output_tokens: None,
            cached_tokens: 0,
            reasoning_tokens: 0,
            seconds: None,
            no_usage: false,
        }
    }
}

impl Switches {
    /// Adds the switches of a list to those that are set already.
    pub(super) fn apply(&mut self, list: &str) -> Result<(), UnknownSwitch> {
        for switch in list.split(',').map(str::trim).filter(|switch| !switch.is_empty()) {
            let (name, value) = switch.split_once('=').unwrap_or((switch, ""));
            let known = percent_decoded(value).and_then(|value| self.set(name, &value));
            known.ok_or_else(|| UnknownSwitch { switch: switch.to_owned() })?;
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "delay" => self.delay = wait(value)?,
            "status" => {
                let status = StatusCode::from_bytes(value.as_bytes()).ok()?;
                let error = status.is_client_error() || status.is_server_error();
                self.status = Some(error.then_some(status)?);
            }
            "break" => self.break_at = Some(point(value)?),
            "hold" => self.hold_at = Some(point(value)?),
            "error-event" => self.error_event = Some(value.parse().ok()?),
            "silent" => self.silent = value.is_empty().then_some(true)?,
            "chunks" => self.chunks = value.parse().ok().filter(|chunks| *chunks <= CHUNKS_MAX)?,
            "gap" => self.gap = wait(value)?,
            "split" => self.split = Some(value.parse().ok()?),
            "coding" => self.coding = Some(coded::coding(value)?),
            "body" => self.body = Some(value.to_owned()),
            "tool" => self.tool = value.is_empty().then_some(true)?,
            "input-tokens" => self.input_tokens = Some(value.parse().ok()?),
            "output-tokens" => self.output_tokens = Some(value.parse().ok()?),
            "cached-tokens" => self.cached_tokens = value.parse().ok()?,
            "reasoning-tokens" => self.reasoning_tokens = value.parse().ok()?,
            "seconds" => self.seconds = Some(value.parse().ok()?),
            "no-usage" => self.no_usage = value.is_empty().then_some(true)?,
            _ => return None,
        }
        Some(())
    }
}

fn wait(value: &str) -> Option<Duration> {
    let wait = if let Some(millis) = value.strip_suffix("ms") {
        Duration::from_millis(millis.parse().ok()?)
    } else if let Some(seconds) = value.strip_suffix('s') {
        Duration::from_secs(seconds.parse().ok()?)
    } else {
        Duration::from_millis(value.parse().ok()?)
    };
    (wait <= WAIT_MAX).then_some(wait)
}

fn point(value: &str) -> Option<Point> {
    match value {
        "before-headers" => Some(Point::BeforeHeaders),
        "after-headers" => Some(Point::AfterHeaders),
        _ => value.strip_prefix("after:")?.parse().ok().map(Point::After),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_sets_each_switch() {
        let mut switches = Switches::default();
        switches.apply("delay=50ms, status=500,break=after:3,hold=before-headers,silent").unwrap();
        switches.apply("gap=2s,chunks=7,split=9,coding=br,body=a%2Cb,error-event=2,tool").unwrap();
        switches.apply("input-tokens=10,output-tokens=3,cached-tokens=4").unwrap();
        switches.apply("reasoning-tokens=2,seconds=12,no-usage").unwrap();
        let expected = Switches {
            delay: Duration::from_millis(50),
            status: Some(StatusCode::INTERNAL_SERVER_ERROR),
            break_at: Some(Point::After(3)),
            hold_at: Some(Point::BeforeHeaders),
            error_event: Some(2),
            silent: true,
            chunks: 7,
            gap: Duration::from_secs(2),
            split: Some(9),
            coding: Some(Coding::Brotli),
            body: Some("a,b".to_owned()),
            tool: true,
            input_tokens: Some(10),
            output_tokens: Some(3),
            cached_tokens: 4,
            reasoning_tokens: 2,
            seconds: Some(12),
            no_usage: true,
        };
        assert_eq!(switches, expected);
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for list in [
            "explode",
            "delay=soon",
            "status=200",
            "break=later",
            "silent=1",
            "coding=rot13",
            "gap=11m",
            "gap=601s",
        ] {
            let error = Switches::default().apply(list).unwrap_err().to_string();
            assert!(error.contains(&format!("`{list}`")) && error.contains("error-event=N"));
        }
    }
}
