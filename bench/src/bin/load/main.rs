//! Asks one or several gateways for answers, over so many connections, and prints as one line of JSON what came.
//!
//! Without `--rate` every connection asks again as soon as it has its answer. With it, requests fall due at a fixed rate,
//! and latency counts from that instant: a gateway that falls behind can't make the load smaller. At the end no request
//! is begun, and every answer is awaited, so that each call that was sent is counted.

mod connection;
mod report;
mod request;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use connection::{Connection, Progress};
use creditgate_bench::{Poll, now};
use report::Report;
use request::Requests;

/// Answers are awaited for so long after the end.
const PATIENCE: u64 = 30_000_000_000;

#[derive(Parser)]
struct Arguments {
    /// Whom to ask. Connections take turns among several.
    #[arg(long, required = true)]
    to: Vec<SocketAddr>,
    /// Connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// How long requests are begun, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    millis: u64,
    /// Answers that end before are not in the distributions and in `measured`, in milliseconds.
    #[arg(long, default_value_t = 0)]
    warm_millis: u64,
    /// Begin no more requests than this.
    #[arg(long)]
    requests: Option<u64>,
    /// Requests that fall due in a second.
    #[arg(long)]
    rate: Option<u64>,
    /// Connections begin one after the other over so long, in milliseconds.
    #[arg(long, default_value_t = 0)]
    ramp_millis: u64,
    #[command(flatten)]
    request: request::Kind,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let report = Load::new(&arguments)?.run()?;
    println!("{}", report.json());
    Ok(())
}

struct Load {
    poll: Poll,
    to: Vec<SocketAddr>,
    connections: Vec<Connection>,
    wanted: usize,
    requests: Requests,
    schedule: Schedule,
    /// Requests that may still be begun.
    left: u64,
    in_flight: usize,
    report: Report,
}

/// Nanoseconds of the clock, and what is due.
struct Schedule {
    start: u64,
    measured_from: u64,
    end: u64,
    /// Between two connections that begin.
    ramp: u64,
    /// Between two requests, and when the next is due; nothing without a rate.
    rate: Option<(u64, u64)>,
    /// Requests that are due and wait for a connection.
    due: VecDeque<u64>,
    idle: VecDeque<usize>,
}

impl Load {
    fn new(arguments: &Arguments) -> io::Result<Self> {
        let millis = |millis: u64| millis * 1_000_000;
        let start = now();
        let schedule = Schedule {
            start,
            measured_from: start + millis(arguments.warm_millis),
            end: start + millis(arguments.millis),
            ramp: millis(arguments.ramp_millis) / arguments.connections.max(1) as u64,
            rate: arguments.rate.map(|rate| (1_000_000_000 / rate.max(1), start)),
            due: VecDeque::new(),
            idle: VecDeque::new(),
        };
        Ok(Self {
            poll: Poll::new()?,
            to: arguments.to.clone(),
            connections: Vec::with_capacity(arguments.connections),
            wanted: arguments.connections,
            requests: Requests::new(&arguments.request),
            schedule,
            left: arguments.requests.unwrap_or(u64::MAX),
            in_flight: 0,
            report: Report::default(),
        })
    }

    fn run(mut self) -> io::Result<Report> {
        let mut piece = vec![0; 64 * 1024];
        loop {
            let time = now();
            let over = time >= self.schedule.end || self.left == 0;
            if over && self.in_flight == 0 {
                break;
            }
            if time >= self.schedule.end + PATIENCE {
                self.report.unanswered = self.in_flight as u64;
                break;
            }
            let wait = if over { 100_000_000 } else { self.begin(time)? };
            for ready in self.poll.wait(Some(Duration::from_nanos(wait)))? {
                let index = usize::try_from(ready.token).unwrap_or_default();
                self.progress(index, &mut piece)?;
            }
        }
        Ok(self.report)
    }

    /// Begins what is due, and says how long nothing else is.
    fn begin(&mut self, time: u64) -> io::Result<u64> {
        let mut wait = 100_000_000;
        while self.connections.len() < self.wanted {
            let index = self.connections.len();
            let due = self.schedule.start + index as u64 * self.schedule.ramp;
            if due > time {
                wait = wait.min(due - time);
                break;
            }
            let connection = Connection::open(self.to[index % self.to.len()])?;
            self.poll.add(connection.socket(), index as u64)?;
            self.connections.push(connection);
            if self.schedule.rate.is_some() {
                self.schedule.idle.push_back(index);
            } else {
                self.send(index, now());
            }
        }
        let Some((gap, next)) = &mut self.schedule.rate else { return Ok(wait) };
        while *next <= time {
            self.schedule.due.push_back(*next);
            *next += *gap;
        }
        let until = *next;
        while !self.schedule.due.is_empty()
            && let Some(index) = self.schedule.idle.pop_front()
        {
            let due = self.schedule.due.pop_front().unwrap_or(time);
            self.send(index, due);
        }
        Ok(wait.min(until.saturating_sub(now())))
    }

    fn send(&mut self, index: usize, since: u64) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        self.report.sent += 1;
        match self.connections[index].send(self.requests.next(index), since) {
            Ok(()) => self.in_flight += 1,
            Err(_) => self.report.broken += 1,
        }
    }

    /// Reads what has come on a connection, and goes on with it where its answer is whole.
    fn progress(&mut self, index: usize, piece: &mut [u8]) -> io::Result<()> {
        let connection = &mut self.connections[index];
        let was_waiting = connection.is_waiting();
        let progress = connection.read(piece, &mut self.report, self.schedule.measured_from);
        let time = now();
        match progress {
            Progress::Waiting => return Ok(()),
            Progress::Answered => {
                let latency = time.saturating_sub(connection.since());
                let is_measured = time >= self.schedule.measured_from && time < self.schedule.end;
                self.report.answered(connection.status(), is_measured.then_some(latency));
            }
            Progress::Closed => {
                if was_waiting {
                    self.report.broken += 1;
                }
                *connection = Connection::open(self.to[index % self.to.len()])?;
                self.poll.add(self.connections[index].socket(), index as u64)?;
            }
        }
        if was_waiting {
            self.in_flight -= 1;
        }
        if self.schedule.rate.is_some() {
            self.schedule.idle.push_back(index);
        } else if time < self.schedule.end {
            self.send(index, time);
        }
        Ok(())
    }
}
