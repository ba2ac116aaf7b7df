//! What the provider and the load generator share: a clock that two processes read alike, and readiness of sockets.
//!
//! Both are single loops over `epoll`, so that they cost as little as can be beside what is measured.

pub mod marks;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::time::{ClockId, clock_gettime};

/// Events that are taken at once.
const BATCH: usize = 1024;

/// Nanoseconds of the machine's monotonic clock, the same in every process.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// Waits for sockets. Level-triggered: what was not read is told again.
pub struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

/// A socket's number, and what it is ready for. One that has ended is ready to be read.
#[derive(Clone, Copy)]
pub struct Ready {
    pub token: u64,
    pub read: bool,
    pub write: bool,
}

impl Poll {
    /// # Errors
    /// If the process has too many files open.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(BATCH) })
    }

    /// Tells from now on when `socket` can be read. It is forgotten when it is closed.
    ///
    /// # Errors
    /// If the system has no room for one more.
    pub fn add(&self, socket: impl AsFd, token: u64) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::add(&self.epoll, socket, data, epoll::EventFlags::IN)?)
    }

    /// Tells also when `socket` can be written, or no longer.
    ///
    /// # Errors
    /// If the socket was not added.
    pub fn await_room(&self, socket: impl AsFd, token: u64, wanted: bool) -> io::Result<()> {
        let room = if wanted { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::modify(&self.epoll, socket, data, epoll::EventFlags::IN | room)?)
    }

    /// What is ready, at the latest after `timeout`: to the nanosecond, which a schedule of requests needs.
    ///
    /// # Errors
    /// None but the system's own; a signal counts as nothing ready.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Vec<Ready>> {
        self.events.clear();
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().cast_signed(),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        });
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.events.iter().map(ready).collect())
    }
}

fn ready(event: &epoll::Event) -> Ready {
    let flags = event.flags;
    Ready {
        token: event.data.u64(),
        read: flags != epoll::EventFlags::OUT,
        write: flags.contains(epoll::EventFlags::OUT),
    }
}

/// The value of a header in a head that ends with a line break, by its name in lower case with the colon.
pub fn header<'h>(head: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (before, value) = line.split_at_checked(name.len())?;
        before.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
    })
}

/// A decimal number at the beginning of `text`; 0 if there is none.
pub fn number(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}
