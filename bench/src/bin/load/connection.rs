//! One connection to a gateway, with at most one request in flight.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use creditgate_bench::{header, marks, now, number};
use memchr::memmem;

use crate::report::Report;

/// The last bytes of a body in chunks.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

pub struct Connection {
    stream: TcpStream,
    since: u64,
    state: State,
    status: u16,
}

enum State {
    Idle,
    Head(Vec<u8>),
    /// So many bytes are still to come.
    Sized(u64),
    Chunked {
        marks: marks::Finder,
        has_piece: bool,
        tail: Vec<u8>,
    },
}

pub enum Progress {
    Waiting,
    Answered,
    Closed,
}

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, since: 0, state: State::Idle, status: 0 })
    }

    pub fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// When the request in flight was due.
    pub fn since(&self) -> u64 {
        self.since
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    pub fn is_waiting(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    /// Sends a request, which fits into the socket's buffer since nothing else is under way.
    pub fn send(&mut self, request: &[u8], since: u64) -> io::Result<()> {
        self.since = since;
        self.stream.write_all(request)?;
        self.state = State::Head(Vec::new());
        Ok(())
    }

    /// Takes what has come. Delays of marked pieces that come after `measured_from` go into the report.
    pub fn read(&mut self, piece: &mut [u8], report: &mut Report, measured_from: u64) -> Progress {
        let length = match self.stream.read(piece) {
            Ok(0) => return Progress::Closed,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Progress::Waiting,
            Err(_) => return Progress::Closed,
        };
        let piece = &piece[..length];
        if let State::Head(head) = &mut self.state {
            head.extend_from_slice(piece);
            let Some(end) = memmem::find(head, b"\r\n\r\n") else { return Progress::Waiting };
            let head = std::mem::take(head);
            let (head, body) = head.split_at(end + 4);
            self.status = u16::try_from(number(&head[9..])).unwrap_or_default();
            if self.status >= 400 && report.first_refusal.is_none() {
                let told = [head, body].concat();
                report.first_refusal = Some(String::from_utf8_lossy(&told).into_owned());
            }
            self.state = match header(head, b"content-length:") {
                Some(length) => State::Sized(number(length)),
                None => State::Chunked {
                    marks: marks::Finder::default(),
                    has_piece: false,
                    tail: Vec::new(),
                },
            };
            return self.body(body, report, measured_from);
        }
        self.body(piece, report, measured_from)
    }

    fn body(&mut self, piece: &[u8], report: &mut Report, measured_from: u64) -> Progress {
        let is_whole = match &mut self.state {
            // Nothing was asked.
            State::Idle | State::Head(_) => return Progress::Closed,
            State::Sized(left) => {
                *left = left.saturating_sub(piece.len() as u64);
                *left == 0
            }
            State::Chunked { marks, has_piece, tail } => {
                let time = now();
                let is_measured = time >= measured_from;
                marks.feed(piece, |sent| {
                    let first = (!*has_piece).then(|| time.saturating_sub(self.since));
                    *has_piece = true;
                    let delay = time.saturating_sub(sent);
                    report.piece(is_measured.then_some(delay), first.filter(|_| is_measured));
                });
                tail.extend_from_slice(&piece[piece.len().saturating_sub(LAST_CHUNK.len())..]);
                tail.drain(..tail.len().saturating_sub(LAST_CHUNK.len()));
                tail == LAST_CHUNK
            }
        };
        if !is_whole {
            return Progress::Waiting;
        }
        self.state = State::Idle;
        Progress::Answered
    }
}
