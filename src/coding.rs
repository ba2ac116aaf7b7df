//! Content codings (RFC 9110 section 8.4.1): what a compressed body says, read beside the bytes that pass.
//!
//! A [`Decoder`] takes the bytes in whatever pieces they come and tells the text as soon as the sender flushed it, in a
//! fixed amount of memory. It is strict: one coding, one stream, its checksum, and nothing after it. Two readers that
//! take a doubtful body differently are a hole, so what is doubtful has no text. Knows nothing of what the text means.

use std::fmt;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

/// A text may be so many times as long as its coded form, and [`GROWTH_FREE`] longer: far more than text that says
/// anything, far less than what is made to fill a machine (deflate's most is a thousand, the others have none).
pub const GROWTH_MAX: usize = 100;

/// Bytes by which any text may be longer, so that what is short may be monotonous.
pub const GROWTH_FREE: usize = 1 << 20;

/// Base-two logarithm of the largest window of zstd (RFC 9659 section 3): 8 MiB. Brotli's are at most 16 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Bytes of text that are told at once.
const ROOM: usize = 16 << 10;

/// A coding that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `gzip`, also `x-gzip` (RFC 1952).
    Gzip,
    /// `deflate`, which is zlib's format (RFC 1950), not the bare stream that some send under this name.
    Deflate,
    /// `br` (RFC 7932).
    Brotli,
    /// `zstd` (RFC 8878).
    Zstd,
}

/// A coding of another name, or several: what the header says, cut off after 64 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported(pub String);

/// Why there is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// The bytes are not what the coding says, or a checksum or a length is wrong.
    #[error("its bytes are not what its content-encoding says")]
    Corrupt,
    /// The stream has not come to its end.
    #[error("it is cut short")]
    Cut,
    /// Something follows the stream.
    #[error("something follows the end of its stream")]
    Trailing,
    /// The text grows beyond [`GROWTH_MAX`].
    #[error("it grows more than {GROWTH_MAX} times as large")]
    Bomb,
}

impl Coding {
    /// The codings that can be read, as `accept-encoding` lists them.
    pub const ALL: &'static str = "gzip, deflate, br, zstd";

    /// The coding of a body; nothing for a plain one.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, Unsupported> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let Some(first) = values.next() else { return Ok(None) };
        let text = String::from_utf8_lossy(first.as_bytes());
        let coding = match text.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(None),
            "gzip" | "x-gzip" => Some(Some(Self::Gzip)),
            "deflate" => Some(Some(Self::Deflate)),
            "br" => Some(Some(Self::Brotli)),
            "zstd" => Some(Some(Self::Zstd)),
            _ => None,
        };
        coding.filter(|_| values.next().is_none()).ok_or_else(|| {
            let all = headers.get_all(CONTENT_ENCODING).iter();
            let all: Vec<_> = all.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
            Unsupported(all.join(", ").chars().take(64).collect())
        })
    }
}

/// Reads one body.
pub struct Decoder {
    stream: Stream,
    room: Box<[u8]>,
    taken: usize,
    told: usize,
    is_whole: bool,
}

enum Stream {
    /// gzip's and zlib's format.
    Deflated(Decompress),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    Zstd(DCtx<'static>),
}

/// How far one step came.
struct Step {
    read: usize,
    written: usize,
    is_last: bool,
}

impl Decoder {
    /// A decoder of a body in `coding`.
    pub fn new(coding: Coding) -> Self {
        let alloc = StandardAlloc::default;
        let stream = match coding {
            Coding::Gzip => Stream::Deflated(Decompress::new_gzip(15)),
            Coding::Deflate => Stream::Deflated(Decompress::new(true)),
            // Strict: no windows of a gigabyte.
            Coding::Brotli => {
                Stream::Brotli(Box::new(BrotliState::new_strict(alloc(), alloc(), alloc())))
            }
            Coding::Zstd => {
                let mut context = DCtx::create();
                // The value is one that the library knows.
                let _ = context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX));
                Stream::Zstd(context)
            }
        };
        let room = vec![0; ROOM].into_boxed_slice();
        Self { stream, room, taken: 0, told: 0, is_whole: false }
    }

    /// Takes the next piece of the body and tells the text that it completes. After an error there is no more.
    pub fn feed<E: From<Undecodable>>(
        &mut self,
        piece: &[u8],
        mut on_text: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.taken = self.taken.saturating_add(piece.len());
        let mut rest = piece;
        let mut is_full = false;
        while !rest.is_empty() || is_full {
            if self.is_whole {
                return Err(Undecodable::Trailing.into());
            }
            let step = self.stream.step(rest, &mut self.room).ok_or(Undecodable::Corrupt)?;
            if step.read == 0 && step.written == 0 && !step.is_last {
                // What was full may have been all; bytes that are not taken never will be.
                return if rest.is_empty() { Ok(()) } else { Err(Undecodable::Corrupt.into()) };
            }
            rest = &rest[step.read..];
            self.is_whole = step.is_last;
            is_full = step.written == self.room.len() && !step.is_last;
            self.told = self.told.saturating_add(step.written);
            if self.told > GROWTH_FREE.saturating_add(self.taken.saturating_mul(GROWTH_MAX)) {
                return Err(Undecodable::Bomb.into());
            }
            if step.written > 0 {
                on_text(&self.room[..step.written])?;
            }
        }
        Ok(())
    }

    /// Whether the text is whole, when no more bytes will come.
    pub fn finish(&self) -> Result<(), Undecodable> {
        if self.is_whole { Ok(()) } else { Err(Undecodable::Cut) }
    }
}

impl Stream {
    /// Reads some of `input` and writes some text into `room`; nothing if the bytes can't be read.
    fn step(&mut self, input: &[u8], room: &mut [u8]) -> Option<Step> {
        match self {
            Self::Deflated(stream) => {
                let (read, written) = (stream.total_in(), stream.total_out());
                let status = stream.decompress(input, room, FlushDecompress::None).ok()?;
                Some(Step {
                    read: usize::try_from(stream.total_in() - read).ok()?,
                    written: usize::try_from(stream.total_out() - written).ok()?,
                    is_last: status == Status::StreamEnd,
                })
            }
            Self::Brotli(state) => {
                let (mut left, mut read) = (input.len(), 0);
                let (mut space, mut written, mut total) = (room.len(), 0, 0);
                let result = BrotliDecompressStream(
                    &mut left,
                    &mut read,
                    input,
                    &mut space,
                    &mut written,
                    room,
                    &mut total,
                    state,
                );
                let is_last = match result {
                    BrotliResult::ResultSuccess => true,
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => false,
                    BrotliResult::ResultFailure => return None,
                };
                Some(Step { read, written, is_last })
            }
            Self::Zstd(context) => {
                let mut from = InBuffer::around(input);
                let mut into = OutBuffer::around(room);
                let hint = context.decompress_stream(&mut into, &mut from).ok()?;
                Some(Step { read: from.pos(), written: into.pos(), is_last: hint == 0 })
            }
        }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("told", &self.told).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
