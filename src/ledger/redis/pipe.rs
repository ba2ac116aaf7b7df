//! One connection that any number of steps share. What is asked while the connection's task waits for its turn goes out
//! in one piece, and replies come back in the order of the questions.
//!
//! The client crate packs commands and reads replies. The connection itself is ours because every metered call waits for
//! it twice, and because only the connection knows what a failure must be told as: a question that was never taken can't
//! have begun; one that was taken may have.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::redis::{
    Cmd, FromRedisValue, Pipeline, RedisError, RedisResult, Value, ValueCodec, from_redis_value,
};
use bytes::{Buf as _, BytesMut};
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::codec::Decoder;
use tokio_util::io::poll_read_buf;

/// Memory for what is read, kept between replies; a larger reply takes what it needs.
const READ_BYTES: usize = 4096;
/// Most texts of a reply that is read without the codec.
const WORDS_MAX: usize = 64;
/// A buffer that grew beyond this for one large piece is not kept.
const KEPT_BYTES: usize = 64 << 10;

/// A connection. It ends when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Pipe(Arc<Owner>);

struct Owner {
    shared: Arc<Shared>,
    /// How long a reply may take.
    patience: Duration,
}

struct Shared {
    state: Mutex<State>,
    /// Wakes the connection's task.
    task: AtomicWaker,
}

#[derive(Default)]
struct State {
    /// What is asked and not written yet.
    asked: Vec<u8>,
    /// Who waits, in the order of the questions.
    waiting: VecDeque<Waiting>,
    /// Nobody asks any more.
    is_left: bool,
    /// Why there will be no more replies.
    end: Option<RedisError>,
}

/// Somebody who waits for one reply or several.
struct Waiting {
    due: Instant,
    /// Replies that are still to come.
    missing: usize,
    replies: Vec<Value>,
    /// Nothing once its time is up: its replies are still to come, and are nobody's.
    to: Option<oneshot::Sender<RedisResult<Vec<Value>>>>,
}

impl Pipe {
    /// A connection over `stream`, whose task runs on the present runtime. `ended` is called when it breaks, also while
    /// nobody uses it.
    pub(super) fn start<S>(
        stream: S,
        patience: Duration,
        ended: impl FnOnce() + Send + 'static,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let shared = Arc::new(Shared { state: Mutex::default(), task: AtomicWaker::new() });
        let connection = Connection {
            stream,
            shared: Arc::clone(&shared),
            replies: Replies::default(),
            written: Vec::new(),
            done: 0,
            alarm: None,
        };
        tokio::spawn(async move {
            if connection.await == End::Broken {
                ended();
            }
        });
        Self(Arc::new(Owner { shared, patience }))
    }

    /// One command, and its reply.
    pub(super) async fn ask(&self, command: &Cmd) -> RedisResult<Value> {
        let mut replies = self.send(1, |asked| command.write_packed_command(asked)).await?;
        replies.pop().unwrap_or(Value::Nil).extract_error()
    }

    /// One command, and what its reply says.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        Ok(from_redis_value(self.ask(command).await?)?)
    }

    /// Several commands in one piece, and all their replies, errors among them.
    pub(super) async fn ask_all(&self, commands: &Pipeline) -> RedisResult<Vec<Value>> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let write = |asked: &mut Vec<u8>| asked.extend_from_slice(&commands.get_packed_pipeline());
        self.send(commands.len(), write).await
    }

    async fn send(
        &self,
        replies: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> RedisResult<Vec<Value>> {
        let Owner { shared, patience } = &*self.0;
        let reply = {
            let mut state = shared.state();
            if state.end.is_some() {
                // Nothing was taken. What ended the connection is no matter of this question.
                return Err(refused("the connection has ended"));
            }
            write(&mut state.asked);
            let (to, reply) = oneshot::channel();
            let due = Instant::now() + *patience;
            let (missing, replies) = (replies, Vec::with_capacity(replies));
            state.waiting.push_back(Waiting { due, missing, replies, to: Some(to) });
            reply
        };
        shared.task.wake();
        // The task is dropped with its runtime, when the program ends.
        reply.await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::BrokenPipe).into()))
    }
}

fn refused(why: &'static str) -> RedisError {
    io::Error::new(io::ErrorKind::ConnectionRefused, why).into()
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.state().is_left = true;
        self.shared.task.wake();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Gives a reply to whoever waits for it; whether somebody does.
    fn deliver(&mut self, reply: Value) -> bool {
        let Some(first) = self.waiting.front_mut() else { return false };
        first.replies.push(reply);
        first.missing -= 1;
        if first.missing == 0
            && let Some(Waiting { replies, to: Some(to), .. }) = self.waiting.pop_front()
        {
            // Who does not wait any more has been told what to make of it.
            let _ = to.send(Ok(replies));
        }
        true
    }

    /// Tells those whose time is up, and says when the next one's is.
    fn give_up(&mut self, now: Instant) -> Option<Instant> {
        for waiting in &mut self.waiting {
            if waiting.due > now && waiting.to.is_some() {
                return Some(waiting.due);
            }
            if let Some(to) = waiting.to.take() {
                let _ = to.send(Err(io::Error::from(io::ErrorKind::TimedOut).into()));
            }
        }
        None
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nobody asks any more.
    Left,
    Broken,
}

/// The task of a connection.
struct Connection<S> {
    stream: S,
    shared: Arc<Shared>,
    replies: Replies,
    /// What is being written, and how far.
    written: Vec<u8>,
    done: usize,
    /// Rings when the first of those who waited, when it was set, must have had a reply.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Connection<S> {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let connection = self.get_mut();
        // Before anything is looked at, so that what comes meanwhile wakes it again.
        connection.shared.task.register(cx.waker());
        let error = match connection.poll_all(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) => return Poll::Ready(End::Left),
            Poll::Ready(Err(error)) => error,
        };
        let mut state = connection.shared.state();
        for Waiting { to, .. } in state.waiting.drain(..) {
            to.map(|to| to.send(Err(error.clone())));
        }
        state.end = Some(error);
        Poll::Ready(End::Broken)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Ends well when nobody asks any more.
    fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<RedisResult<()>> {
        if let Poll::Ready(error) = self.poll_read(cx) {
            return Poll::Ready(Err(error));
        }
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            return Poll::Ready(Err(error.into()));
        }
        self.poll_alarm(cx);
        let state = self.shared.state();
        if state.is_left && state.waiting.is_empty() {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    /// Reads what is there. Ready when no more will come.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<RedisError> {
        loop {
            if self.replies.read.capacity() > KEPT_BYTES && self.replies.read.is_empty() {
                self.replies.read = BytesMut::new();
            }
            self.replies.read.reserve(READ_BYTES);
            match ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.replies.read)) {
                Ok(0) => return Poll::Ready(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(_) => {}
                Err(error) => return Poll::Ready(error.into()),
            }
            let mut state = self.shared.state();
            loop {
                match self.replies.next() {
                    Ok(Some(reply)) => {
                        if !state.deliver(reply) {
                            let why = "a reply that nobody asked for";
                            return Poll::Ready(io::Error::other(why).into());
                        }
                    }
                    Ok(None) => break,
                    Err(error) => return Poll::Ready(error),
                }
            }
        }
    }

    /// Writes all that is asked.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while self.done < self.written.len() {
                let rest = &self.written[self.done..];
                match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    taken => self.done += taken,
                }
            }
            self.done = 0;
            self.written.clear();
            self.written.shrink_to(KEPT_BYTES);
            std::mem::swap(&mut self.written, &mut self.shared.state().asked);
            if self.written.is_empty() {
                // TLS keeps what it has not sent yet.
                return Pin::new(&mut self.stream).poll_flush(cx);
            }
        }
    }

    /// Gives up those whose time is up. The alarm is set anew only when it has rung: who has got a reply in the meantime
    /// is not worth a change.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) {
        loop {
            let alarm = match &mut self.alarm {
                Some(alarm) => alarm,
                None => match self.shared.state().give_up(Instant::now()) {
                    Some(due) => self.alarm.insert(Box::pin(sleep_until(due))),
                    None => return,
                },
            };
            if alarm.as_mut().poll(cx).is_pending() {
                return;
            }
            self.alarm = None;
        }
    }
}

/// What was read and not delivered yet.
#[derive(Default)]
struct Replies {
    read: BytesMut,
    codec: ValueCodec,
    /// Whether the codec has a part of a reply.
    is_within: bool,
}

impl Replies {
    /// The next reply, if all of it has come.
    fn next(&mut self) -> RedisResult<Option<Value>> {
        if !self.is_within
            && let Some((reply, length)) = words(&self.read)
        {
            self.read.advance(length);
            return Ok(Some(reply));
        }
        let reply = self.codec.decode(&mut self.read)?;
        // What it has of a reply that it could not finish is its own.
        self.is_within = reply.is_none();
        Ok(reply)
    }
}

/// A list of texts at the start of `bytes`, and its length; nothing if there is something else, or not all of it. This is
/// what scripts answer, and reading it so takes a tenth of what the codec takes.
fn words(bytes: &[u8]) -> Option<(Value, usize)> {
    let mut rest = bytes;
    let count = number(&mut rest, b'*').filter(|count| *count <= WORDS_MAX)?;
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let length = number(&mut rest, b'$')?;
        let (word, after) = rest.split_at_checked(length)?;
        words.push(Value::BulkString(word.to_vec()));
        rest = after.strip_prefix(b"\r\n")?;
    }
    Some((Value::Array(words), bytes.len() - rest.len()))
}

/// A line of `kind` and a number that is not negative.
fn number(rest: &mut &[u8], kind: u8) -> Option<usize> {
    let line = rest.strip_prefix(&[kind])?;
    // A server writes at most twenty digits.
    let digits = line.iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
    *rest = line[digits..].strip_prefix(b"\r\n")?;
    std::str::from_utf8(&line[..digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use ::redis::cmd;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    fn pipe(patience: Duration) -> (Pipe, DuplexStream, oneshot::Receiver<()>) {
        let (ours, theirs) = duplex(1 << 16);
        let (told, ended) = oneshot::channel();
        (Pipe::start(ours, patience, || assert_eq!(told.send(()), Ok(()))), theirs, ended)
    }

    async fn heard(server: &mut DuplexStream, commands: usize) {
        let mut bytes = [0; 64];
        let packed = cmd("PING").get_packed_command();
        for _ in 0..commands {
            server.read_exact(&mut bytes[..packed.len()]).await.unwrap();
            assert_eq!(bytes[..packed.len()], packed);
        }
    }

    #[tokio::test]
    async fn replies_go_to_those_who_asked_in_whatever_pieces_they_come() {
        let (pipe, mut server, _) = pipe(LONG);
        let ping = cmd("PING");
        let serve = async {
            heard(&mut server, 3).await;
            for byte in b"*2\r\n$2\r\nhi\r\n$0\r\n\r\n$2\r\nhi\r\n-ERR no\r\n" {
                server.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let (one, two, three, ()) =
            tokio::join!(pipe.ask(&ping), pipe.ask(&ping), pipe.ask(&ping), serve);
        let text = |text: &str| Value::BulkString(text.into());
        assert_eq!(one.unwrap(), Value::Array(vec![text("hi"), text("")]));
        assert_eq!(two.unwrap(), text("hi"));
        assert_eq!(three.unwrap_err().code(), Some("ERR"));
    }

    #[test]
    fn lists_of_texts_are_read_as_the_codec_reads_them() {
        for reply in ["*0\r\n", "*1\r\n$0\r\n\r\n", "*2\r\n$4\r\na\r\nb\r\n$3\r\nabc\r\n"] {
            let whole = ::redis::parse_redis_value(reply.as_bytes()).unwrap();
            assert_eq!(words(format!("{reply}:1\r\n").as_bytes()), Some((whole, reply.len())));
            for cut in 0..reply.len() {
                assert_eq!(words(&reply.as_bytes()[..cut]), None, "{cut} bytes of {reply:?}");
            }
        }
        for other in [
            ":1\r\n",
            "*1\r\n:1\r\n",
            "*-1\r\n",
            "*1\r\n$-1\r\n",
            "$2\r\nhi\r\n",
            "*99999999999999999999\r\n",
        ] {
            assert_eq!(words(other.as_bytes()), None, "{other:?}");
        }
    }

    #[tokio::test]
    async fn a_reply_that_comes_too_late_is_nobody_elses() {
        let (pipe, mut server, _) = pipe(Duration::from_millis(20));
        assert!(pipe.ask(&cmd("PING")).await.unwrap_err().is_timeout());
        heard(&mut server, 1).await;
        let late = async {
            server.write_all(b":1\r\n").await.unwrap();
            heard(&mut server, 1).await;
            server.write_all(b":2\r\n").await.unwrap();
        };
        let ping = cmd("PING");
        let (reply, ()) = tokio::join!(pipe.ask(&ping), late);
        assert_eq!(reply.unwrap(), Value::Int(2));
    }

    #[tokio::test]
    async fn what_was_taken_may_have_begun_and_what_was_not_taken_has_not() {
        let (pipe, mut server, ended) = pipe(LONG);
        let ping = cmd("PING");
        let (reply, ()) = tokio::join!(pipe.ask(&ping), async {
            heard(&mut server, 1).await;
            drop(server);
        });
        assert!(!reply.unwrap_err().is_connection_refusal());
        ended.await.unwrap();
        assert!(pipe.ask(&ping).await.unwrap_err().is_connection_refusal());
    }

    #[tokio::test]
    async fn a_connection_that_nobody_uses_any_more_is_closed_and_not_called_broken() {
        let (pipe, mut server, ended) = pipe(LONG);
        drop(pipe);
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
        assert!(ended.await.is_err(), "nothing was told");
    }
}
