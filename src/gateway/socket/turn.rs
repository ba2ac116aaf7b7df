//! One response of a socket: its hold, what was seen of it, and its one end.

use super::super::charging::{Bill, Charging};
use super::super::limits::Running;
use super::super::record::{Ending, Record};
use crate::credit::{Unit, Usage};
use crate::ledger::{Call, Charge};
use crate::metrics::{HoldOutcome, Metrics};
use crate::provider::socket::{Finish, Of, ServerEvent};
use crate::provider::{Demand, Report};

/// A response that was asked for or has begun.
pub struct Turn {
    pub of: Of,
    /// The provider's name for it, once it has said one.
    pub id: Option<String>,
    /// The client's name for the event that asked for it.
    pub asked_by: Option<String>,
    /// Its part of the socket, where several responses may run beside each other.
    pub lane: Option<String>,
    /// It has ended, but its usage is still to come.
    pub ended: Option<Finish>,
    call: Call,
    _running: Running,
    charging: Charging,
    record: Record,
    report: Report,
    output: bool,
}

impl Turn {
    pub fn new(of: Of, call: Call, running: Running, charging: Charging, record: Record) -> Self {
        let report = Report {
            usage: Usage::NOTHING,
            knows_input: false,
            tells_tokens: false,
            tells_seconds: false,
            tells_pieces: false,
            is_job: false,
            words: Some(0),
        };
        Self {
            of,
            id: None,
            asked_by: None,
            lane: None,
            ended: None,
            call,
            _running: running,
            charging,
            record,
            report,
            output: false,
        }
    }

    /// Takes one of its events.
    pub fn see(&mut self, event: &ServerEvent) {
        self.report = self.report.then(event.report);
        self.output |= event.output;
        if self.output {
            self.call.confirm(self.charging.due(&self.report).due.unwrap_or_default());
        }
    }

    /// Whether its work decides what it costs.
    pub fn is_by_work(&self) -> bool {
        !self.charging.is_final()
    }

    /// Whether the provider has said what its work was.
    pub fn is_told(&self) -> bool {
        self.report.tells_tokens || self.report.tells_seconds
    }

    /// What it read and said: what the next response of the conversation will read again.
    pub fn context(&self) -> Option<Usage> {
        let usage = self.report.usage;
        let words = [Unit::Input, Unit::CachedInput, Unit::CacheWrites, Unit::Output];
        let sum =
            |units: &[Unit]| units.iter().map(|unit| usage[*unit]).fold(0, u64::saturating_add);
        let context = Usage::NOTHING
            .with(Unit::Input, sum(&words))
            .with(Unit::AudioInput, sum(&[Unit::AudioInput, Unit::AudioOutput]))
            .with(Unit::ImageInput, sum(&[Unit::ImageInput, Unit::ImageOutput]));
        self.report.tells_tokens.then_some(context)
    }

    /// Charges it or gives its credits back: work that ended whole is due, and work that did not if any of it came.
    pub fn end(self, ending: Ending, metrics: &Metrics) {
        let Self { call, charging, mut record, report, output, ended, .. } = self;
        let is_due = output || ended == Some(Finish::Whole);
        let bill = if is_due { charging.due(&report) } else { Bill { due: None, work: None } };
        let (charge, outcome) = match bill.due {
            Some(amount) => (Charge::Settle(amount, bill.work, None), HoldOutcome::Settled),
            None => (Charge::Release, HoldOutcome::Released),
        };
        call.resolve(charge);
        metrics.hold_ended(outcome);
        record.bill = Some(bill);
        record.ending = ending;
    }
}

/// What a response asks for whose conversation has so many `tokens`.
pub fn demand(tokens: u64, output_tokens_max: Option<u64>) -> Demand {
    let given = Usage::NOTHING.with(Unit::Input, tokens);
    Demand { given, made: Usage::NOTHING, answers: 1, output_tokens_max }
}
