//! How one call is charged: its price, or the work that it turns out to have been (semantics.md sections 3 and 4).
//!
//! Per call nothing is read but the first sign of output. Per unit the request is counted before it is sent, which is
//! what is held, and the answer is read as it passes; what the provider reports decides. Knows no ledger: bytes in, a
//! [`Bill`] out.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::head::text;
use super::meter::End;
use super::peek::Malformed;
use crate::coding::{Coding, Decoder, Undecodable};
use crate::credit::{Basis, Credits, Job, Price, Rates, Unit, Usage, Work};
use crate::provider::include_usage::{self, Asked, GivenTwice};
use crate::provider::job;
use crate::provider::{Demand, Dialect, Evidence, Operation, Report, UsageReader};

/// What a call is charged by.
#[derive(Clone, Debug)]
pub enum Charging {
    /// The same, whatever comes of it.
    PerCall(Credits),
    /// Its order.
    PerUnit(Box<Order>),
}

/// The work that a call asks for.
#[derive(Clone, Debug)]
pub struct Order {
    rates: Arc<Rates>,
    dialect: Dialect,
    operation: Operation,
    demand: Demand,
    /// What is held for.
    estimate: Usage,
}

/// Reads an answer as it passes.
#[derive(Debug)]
pub struct Meter {
    /// Of a compressed answer.
    decoder: Option<Decoder>,
    evidence: Evidence,
    by: By,
}

#[derive(Debug)]
enum By {
    Call(Credits),
    Units(Box<Counting>),
}

#[derive(Debug)]
struct Counting {
    order: Order,
    reader: UsageReader,
}

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bill {
    /// Nothing is charged where no work was done for the caller; otherwise the amount, which may be 0.
    pub due: Option<Credits>,
    /// What for, where the work decided the amount.
    pub work: Option<Work>,
}

impl Charging {
    /// How a call at `price` is charged whose body is `body`.
    pub fn of(
        price: &Price,
        dialect: Dialect,
        operation: Operation,
        is_form: bool,
        body: &[u8],
    ) -> Self {
        match price {
            Price::PerCall(price) => Self::PerCall(*price),
            Price::PerUnit(rates) => {
                let demand = Demand::of(operation, is_form, body);
                Self::by_work(rates, dialect, operation, demand)
            }
        }
    }

    /// How work at `price` is charged that asks for `demand`.
    pub fn of_demand(
        price: &Price,
        dialect: Dialect,
        operation: Operation,
        demand: Demand,
    ) -> Self {
        match price {
            Price::PerCall(price) => Self::PerCall(*price),
            Price::PerUnit(rates) => Self::by_work(rates, dialect, operation, demand),
        }
    }

    fn by_work(rates: &Arc<Rates>, dialect: Dialect, operation: Operation, demand: Demand) -> Self {
        let estimate = estimate(rates, operation, &demand);
        let rates = Arc::clone(rates);
        Self::PerUnit(Box::new(Order { rates, dialect, operation, demand, estimate }))
    }

    /// What is due for work of which so much is known.
    pub fn due(&self, report: &Report) -> Bill {
        match self {
            Self::PerCall(price) => Bill { due: Some(*price), work: None },
            Self::PerUnit(order) => {
                let work = order.so_far(report);
                Bill { due: Some(order.rates.price(&work.usage)), work: Some(work) }
            }
        }
    }

    /// What is held for the call.
    pub fn held(&self) -> Credits {
        match self {
            Self::PerCall(price) => *price,
            Self::PerUnit(order) => order.rates.price(&order.estimate),
        }
    }

    /// Whether what is held is what will be charged.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::PerCall(_))
    }

    /// The request as it must be sent instead of `body`: a stream is asked for its usage where that decides the charge and
    /// the client did not ask for it. The answer is then to be sifted.
    pub fn asked(&self, stream: bool, body: &Bytes) -> Result<Option<Bytes>, Malformed> {
        let Self::PerUnit(order) = self else { return Ok(None) };
        if !stream {
            return Ok(None);
        }
        match include_usage::ask(order.dialect, order.operation, body) {
            Ok(Asked::Already) => Ok(None),
            Ok(Asked::Added(changed)) => Ok(Some(changed)),
            Err(GivenTwice(field)) => Err(Malformed::DuplicateField { field }),
        }
    }

    /// Reads the answer whose head has `headers`, in which `evidence` looks for output. A compressed one is decoded beside
    /// its bytes, as far as anything is looked for in it.
    pub fn meter(self, evidence: Evidence, headers: &HeaderMap) -> Meter {
        let by = match self {
            Self::PerCall(price) => By::Call(price),
            Self::PerUnit(order) => {
                let kind = text(headers, CONTENT_TYPE);
                let reader = UsageReader::for_response(order.dialect, order.operation, kind);
                By::Units(Box::new(Counting { order: *order, reader }))
            }
        };
        let coding = Coding::of(headers);
        let is_read = evidence.reads_events() || matches!(by, By::Units(_));
        let known = coding.as_ref().ok().copied().flatten();
        let decoder = known.filter(|_| is_read).map(Decoder::new);
        let mut meter = Meter { decoder, evidence, by };
        if coding.is_err() {
            meter.lose();
        }
        meter
    }
}

/// What a call will come to at most, as far as can be said before it.
fn estimate(rates: &Rates, operation: Operation, demand: &Demand) -> Usage {
    let words = rates.output_held(demand.output_tokens_max).saturating_mul(demand.answers);
    let unit = match operation {
        // Whether it will speak is not known.
        Operation::Realtime
            if rates.rate(Unit::AudioOutput) > rates.rate(rates.dearer_output()) =>
        {
            Unit::AudioOutput
        }
        _ => rates.dearer_output(),
    };
    demand.given.plus(&demand.made).with(unit, words)
}

impl Meter {
    /// Takes the next bytes of the answer. Returns what it has come to so far, once that may have grown.
    pub fn see(&mut self, bytes: &[u8]) -> Option<Credits> {
        if matches!(self.by, By::Call(_)) && self.evidence.saw_output() {
            return None;
        }
        self.read(bytes);
        self.evidence.saw_output().then(|| match &self.by {
            By::Call(price) => *price,
            By::Units(counting) => counting.order.rates.price(&counting.so_far().usage),
        })
    }

    fn read(&mut self, bytes: &[u8]) {
        let (evidence, by) = (&mut self.evidence, &mut self.by);
        let mut read = |text: &[u8]| {
            evidence.feed(text);
            if let By::Units(counting) = by {
                counting.reader.feed(text);
            }
        };
        let Some(decoder) = &mut self.decoder else { return read(bytes) };
        let readable = decoder.feed::<Undecodable>(bytes, |text| {
            read(text);
            Ok(())
        });
        if !bytes.is_empty() {
            self.evidence.came();
        }
        if readable.is_err() {
            self.lose();
        }
    }

    /// What follows can't be read, and nothing is known of what came.
    fn lose(&mut self) {
        self.decoder = None;
        self.evidence.lose();
        if let By::Units(counting) = &mut self.by {
            counting.reader.lose();
        }
    }

    /// Whether the end of the answer tells more than its price, so that it is worth reading on without the client.
    pub fn gains_by_reading_on(&self) -> bool {
        matches!(self.by, By::Units(_))
    }

    /// The job in which the work goes on, if the answer, which has ended, began one that can be asked for.
    pub fn job(&self) -> Option<Job> {
        let By::Units(counting) = &self.by else { return None };
        let id = counting.began_job().then(|| counting.reader.job_id()).flatten()?;
        let Order { dialect, operation, .. } = counting.order;
        let name = job::name(dialect, operation, id)?;
        // A name that is no word is not remembered: its charge stands.
        Job::new(&name, &counting.order.rates.to_string()).ok()
    }

    /// What the call comes to.
    pub fn bill(&self, end: End) -> Bill {
        let nothing = Bill { due: None, work: None };
        match &self.by {
            _ if !is_due(end, &self.evidence) => nothing,
            By::Call(price) => Bill { due: Some(*price), ..nothing },
            By::Units(counting) => {
                let work = counting.whole();
                Bill { due: Some(counting.order.rates.price(&work.usage)), work: Some(work) }
            }
        }
    }
}

impl Counting {
    fn began_job(&self) -> bool {
        self.reader.report().is_job || starts_job(self.order.operation)
    }

    /// The work of an answer that has ended.
    fn whole(&self) -> Work {
        if self.began_job() {
            return Work { basis: Basis::Estimated, usage: self.order.estimate };
        }
        self.so_far()
    }

    fn so_far(&self) -> Work {
        self.order.so_far(&self.reader.report())
    }
}

impl Order {
    /// The work up to now: as the provider has told it, and what it has not told and is priced, as it was counted here.
    fn so_far(&self, report: &Report) -> Work {
        let Self { rates, demand, estimate, .. } = self;
        let no_tokens = rates.price_tokens() && !report.tells_tokens;
        let no_seconds = rates.own(Unit::AudioSecond).is_some() && !report.tells_seconds;
        let is_ordered = |unit: &Unit| rates.own(*unit).is_some() && demand.given[*unit] > 0;
        let no_pieces = !report.tells_pieces && BY_THE_PIECE.iter().any(is_ordered);
        let mut usage = with_request(report.usage, &demand.given);
        if no_seconds {
            usage[Unit::AudioSecond] = demand.given[Unit::AudioSecond];
        }
        if no_pieces {
            for unit in BY_THE_PIECE {
                usage[unit] = demand.given[unit];
            }
        }
        match report.words {
            _ if !no_tokens => {}
            None => usage = *estimate,
            Some(words) => usage = with_counts(usage, report, words, demand),
        }
        let is_guess = no_tokens || no_seconds || no_pieces;
        let basis = if is_guess { Basis::Estimated } else { Basis::Reported };
        Work { basis, usage }
    }
}

/// What is reported by itself where a request orders it: searches and pages.
const BY_THE_PIECE: [Unit; 2] = [Unit::Search, Unit::Page];

/// Whether the work begins when the answer ends.
fn starts_job(operation: Operation) -> bool {
    use Operation as O;
    matches!(operation, O::Batch | O::FineTuning | O::Eval | O::Video | O::Agent)
}

/// Adds what no answer tells: the characters that were read out, and the pictures where the answer names none.
fn with_request(mut usage: Usage, given: &Usage) -> Usage {
    usage[Unit::Characters] = given[Unit::Characters];
    if usage[Unit::Image] == 0 {
        usage[Unit::Image] = given[Unit::Image];
    }
    usage
}

/// Adds what was counted here of all that the provider has not told.
fn with_counts(mut usage: Usage, report: &Report, words: u64, demand: &Demand) -> Usage {
    if !report.knows_input {
        for unit in [Unit::Input, Unit::AudioInput, Unit::ImageInput] {
            usage[unit] = demand.given[unit];
        }
    }
    if demand.answers > 0 { usage.with(Unit::Output, words) } else { usage.plus(&demand.made) }
}

/// Whether work was done for the caller (semantics.md section 4).
fn is_due(end: End, seen: &Evidence) -> bool {
    let readable = seen.is_readable();
    let whole_but_empty = seen.saw_done() && !seen.saw_error();
    seen.saw_output()
        || match end {
            // A body without events is whole when it ends. A stream is whole if it says so; one that only carried an
            // error, or ended without a word, did no work.
            End::Complete => !seen.awaits_output() || whole_but_empty,
            // A JSON answer that breaks off is of no use to anybody.
            End::Failed => false,
            // The work was done before the first byte came; who has seen some of it may have seen all but the last.
            End::Cancelled => whole_but_empty || (!readable && seen.saw_bytes()),
        }
}

#[cfg(test)]
mod tests;
