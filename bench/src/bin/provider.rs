//! A provider that costs as little as can be: one loop, one thread, answers that are the same but for their timing.
//!
//! The request's `model` says how it answers:
//!
//! - `at-once`: JSON of 700 bytes
//! - `after-50ms`: the same, after so many milliseconds
//! - `stream-50x20ms`: server-sent events, so many and so far apart, then one with the usage, then `[DONE]`
//!
//! Whatever is asked with `GET` is answered at once: with how many calls have come since the start.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use clap::Parser;
use creditgate_bench::{Poll, header, marks, now, number};
use memchr::memmem;

/// The number of the listener; connections have others.
const LISTENER: u64 = 0;

#[derive(Parser)]
struct Arguments {
    /// Where it listens, on 127.0.0.1.
    port: u16,
}

/// What is left of an answer.
enum Script {
    Json,
    /// So many events, and the nanoseconds between two.
    Events {
        left: u64,
        gap: u64,
    },
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    awaits_room: bool,
    script: Option<Script>,
}

struct Provider {
    poll: Poll,
    listener: TcpListener,
    connections: HashMap<u64, Connection>,
    next: u64,
    /// When which connection goes on with its script.
    due: BinaryHeap<Reverse<(u64, u64)>>,
    calls: u64,
    json: Vec<u8>,
}

fn main() -> io::Result<()> {
    let port = Arguments::parse().port;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    let poll = Poll::new()?;
    poll.add(&listener, LISTENER)?;
    let (connections, due) = (HashMap::new(), BinaryHeap::new());
    let json = json();
    Provider { poll, listener, connections, next: LISTENER + 1, due, calls: 0, json }.run()
}

impl Provider {
    fn run(mut self) -> io::Result<()> {
        let mut piece = vec![0; 64 * 1024];
        loop {
            let wait = self.due.peek().map(|Reverse((at, _))| at.saturating_sub(now()));
            for ready in self.poll.wait(wait.map(Duration::from_nanos))? {
                if ready.token == LISTENER {
                    self.accept()?;
                } else if self.serve(ready.token, ready.read, &mut piece).is_err() {
                    self.connections.remove(&ready.token);
                }
            }
            self.go_on();
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            self.poll.add(&stream, self.next)?;
            let (input, output) = (Vec::new(), Vec::new());
            let connection = Connection { stream, input, output, awaits_room: false, script: None };
            self.connections.insert(self.next, connection);
            self.next += 1;
        }
    }

    /// Reads what came, and answers the requests that are whole. An error ends the connection.
    fn serve(&mut self, token: u64, read: bool, piece: &mut [u8]) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(&token) else { return Ok(()) };
        if read {
            match connection.stream.read(piece) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => connection.input.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        while connection.script.is_none()
            && let Some((body, end)) = whole(&connection.input)
        {
            let is_question = connection.input.starts_with(b"GET ");
            if is_question {
                let body = format!(r#"{{"object":"list","data":[],"calls":{}}}"#, self.calls);
                connection.output.extend_from_slice(head(body.len()).as_bytes());
                connection.output.extend_from_slice(body.as_bytes());
            } else {
                self.calls += 1;
                match Manner::of(&connection.input[body..end]) {
                    Manner::AtOnce => connection.output.extend_from_slice(&self.json),
                    Manner::After(delay) => {
                        connection.script = Some(Script::Json);
                        self.due.push(Reverse((now() + delay, token)));
                    }
                    Manner::Stream { events, gap } => {
                        connection.output.extend_from_slice(STREAM_HEAD);
                        connection.script = Some(Script::Events { left: events, gap });
                        self.due.push(Reverse((now(), token)));
                    }
                }
            }
            connection.input.drain(..end);
        }
        connection.flush(&self.poll, token)
    }

    /// Carries out what has become due.
    fn go_on(&mut self) {
        while let Some(Reverse((at, token))) = self.due.peek().copied()
            && at <= now()
        {
            self.due.pop();
            let Some(connection) = self.connections.get_mut(&token) else { continue };
            match &mut connection.script {
                Some(Script::Events { left, gap }) if *left > 1 => {
                    *left -= 1;
                    event(&mut connection.output, false);
                    self.due.push(Reverse((at + *gap, token)));
                }
                Some(Script::Events { .. }) => {
                    event(&mut connection.output, true);
                    end(&mut connection.output);
                    connection.script = None;
                }
                Some(Script::Json) => {
                    connection.output.extend_from_slice(&self.json);
                    connection.script = None;
                }
                None => {}
            }
            if connection.flush(&self.poll, token).is_err() {
                self.connections.remove(&token);
            }
        }
    }
}

impl Connection {
    fn flush(&mut self, poll: &Poll, token: u64) -> io::Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(sent) => drop(self.output.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if self.awaits_room == self.output.is_empty() {
            self.awaits_room = !self.awaits_room;
            poll.await_room(&self.stream, token, self.awaits_room)?;
        }
        Ok(())
    }
}

/// How a call is answered. Times in nanoseconds.
enum Manner {
    AtOnce,
    After(u64),
    Stream { events: u64, gap: u64 },
}

impl Manner {
    fn of(body: &[u8]) -> Self {
        let model = memmem::find(body, br#""model":""#).map_or(&body[..0], |at| &body[at + 9..]);
        if let Some(delay) = model.strip_prefix(b"after-") {
            return Self::After(number(delay) * 1_000_000);
        }
        let Some(times) = model.strip_prefix(b"stream-") else { return Self::AtOnce };
        let gap = memchr::memchr(b'x', times).map_or(0, |at| number(&times[at + 1..]));
        Self::Stream { events: number(times).max(1), gap: gap * 1_000_000 }
    }
}

/// Where the body of a whole request begins and ends.
fn whole(input: &[u8]) -> Option<(usize, usize)> {
    let body = memmem::find(input, b"\r\n\r\n")? + 4;
    let length = header(&input[..body], b"content-length:").map_or(0, number);
    let end = body + usize::try_from(length).ok()?;
    (input.len() >= end).then_some((body, end))
}

const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
    cache-control: no-cache\r\ntransfer-encoding: chunked\r\nx-request-id: req_0123456789abcdef\r\n\
    date: Sun, 22 Nov 2026 00:00:00 GMT\r\n\r\n";

fn head(length: usize) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         x-request-id: req_0123456789abcdef\r\nopenai-processing-ms: 1\r\n\
         date: Sun, 22 Nov 2026 00:00:00 GMT\r\n\r\n"
    )
}

/// An answer with its head, as a provider sends it: 100 tokens of output.
fn json() -> Vec<u8> {
    let content = "The quick brown fox jumps over the lazy dog. ".repeat(7);
    let body = format!(
        r#"{{"id":"chatcmpl-AbCdEf0123456789","object":"chat.completion","created":1760000000,"model":"bench","choices":[{{"index":0,"message":{{"role":"assistant","content":"{content}","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":212,"completion_tokens":100,"total_tokens":312,"prompt_tokens_details":{{"cached_tokens":0}}}},"service_tier":"default","system_fingerprint":"fp_44709d6fcb"}}"#
    );
    (head(body.len()) + &body).into_bytes()
}

fn event(output: &mut Vec<u8>, is_last: bool) {
    let reason = if is_last { r#""stop""# } else { "null" };
    let text = marks::mark();
    chunk(
        output,
        &format!(
            r#"data: {{"id":"chatcmpl-AbCdEf0123456789","object":"chat.completion.chunk","created":1760000000,"model":"bench","choices":[{{"index":0,"delta":{{"role":"assistant","content":"{text}"}},"logprobs":null,"finish_reason":{reason}}}]}}"#
        ),
    );
}

fn end(output: &mut Vec<u8>) {
    chunk(
        output,
        r#"data: {"id":"chatcmpl-AbCdEf0123456789","object":"chat.completion.chunk","created":1760000000,"model":"bench","choices":[],"usage":{"prompt_tokens":212,"completion_tokens":50,"total_tokens":262}}"#,
    );
    chunk(output, "data: [DONE]");
    output.extend_from_slice(b"0\r\n\r\n");
}

/// One event as one chunk of the body.
fn chunk(output: &mut Vec<u8>, event: &str) {
    output.extend_from_slice(format!("{:x}\r\n{event}\n\n\r\n", event.len() + 2).as_bytes());
}
