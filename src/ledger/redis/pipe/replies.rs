//! What a server has answered, out of the bytes that came. Most of it are lists of texts, as scripts answer; those are read
//! here, and everything else by the client crate.

use ::redis::{RedisResult, Value, ValueCodec};
use bytes::{Buf as _, BytesMut};
use tokio_util::codec::Decoder as _;

/// Most texts of a reply that is read without the codec.
const WORDS_MAX: usize = 64;

/// What was read and not delivered yet.
#[derive(Default)]
pub(super) struct Replies {
    pub(super) read: BytesMut,
    codec: ValueCodec,
    /// Whether the codec has a part of a reply.
    is_within: bool,
}

impl Replies {
    /// The next reply, if all of it has come.
    pub(super) fn next(&mut self) -> RedisResult<Option<Value>> {
        if self.read.is_empty() {
            return Ok(None);
        }
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
    use super::*;

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
}
