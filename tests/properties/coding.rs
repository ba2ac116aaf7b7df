//! Compressed bodies: what is read does not depend on the pieces, stays within the limit, and is what other readers read.

use std::io::Read as _;

use creditgate::coding::{Coding, Decoder, GROWTH_FREE, GROWTH_MAX, Undecodable};
use flate2::bufread::GzDecoder;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{self, DecompressorOxide};

use super::{pieces, split_once};

/// More than what any body of the length that is fuzzed may say.
const REFERENCE_MAX: usize = 64 << 20;

/// `bytes` are a line that starts with the name of a coding, and a body in it. Of the line's rest only the length matters.
/// After `raw` a bare deflate stream follows, which gets the head and the tail that make it a gzip body: no search by
/// chance comes upon a right checksum.
pub fn check(bytes: &[u8]) {
    let (head, body) = split_once(bytes, b"\n");
    let seed = u8::try_from(head.len() % 251).unwrap_or_default() | 1;
    match head.split(' ').next() {
        Some("gzip") => check_coded(Coding::Gzip, body, seed),
        Some("deflate") => check_coded(Coding::Deflate, body, seed),
        Some("br") => check_coded(Coding::Brotli, body, seed),
        Some("zstd") => check_coded(Coding::Zstd, body, seed),
        Some("raw") => check_wrapped(body, seed),
        _ => {}
    }
}

/// What was told, and how it ended.
type Told = (Vec<u8>, Result<(), Undecodable>);

fn decode(coding: Coding, pieces: Vec<&[u8]>) -> Told {
    let (mut decoder, mut text, mut taken) = (Decoder::new(coding), Vec::new(), 0);
    for piece in pieces {
        taken += piece.len();
        let fed = decoder.feed(piece, |more| {
            text.extend_from_slice(more);
            assert!(!more.is_empty());
            assert!(
                text.len() <= GROWTH_FREE + taken * GROWTH_MAX,
                "{coding:?}: it grew too large"
            );
            Ok(())
        });
        if fed.is_err() {
            return (text, fed);
        }
    }
    (text, decoder.finish())
}

fn check_coded(coding: Coding, body: &[u8], seed: u8) {
    let (text, end) = decode(coding, vec![body]);
    for seed in [0, seed] {
        let (part, same) = decode(coding, pieces(body, seed));
        if same == Err(Undecodable::Bomb) && end != same {
            // In pieces, the limit is by what has come so far; at once, wrong bytes may be found before it.
            let is_corrupt_too = end.is_err() && part.starts_with(&text);
            assert!(text.starts_with(&part) || is_corrupt_too, "{coding:?} in pieces of {seed}");
        } else if same.is_ok() || end.is_ok() || end == Err(Undecodable::Cut) {
            assert_eq!(same, end, "{coding:?} in pieces of {seed}");
            assert!(part == text, "{coding:?} in pieces of {seed}");
        } else {
            // Where a library finds bytes wrong, it may keep the text before them.
            assert!(part.starts_with(&text) || text.starts_with(&part), "{coding:?} of {seed}");
        }
    }
    if end.is_ok() {
        assert!(
            reference(coding, body, text.len()) == Some(text),
            "{coding:?}: others read it differently"
        );
    }
}

/// The text of `length` bytes by another reader, of all of the body.
fn reference(coding: Coding, body: &[u8], length: usize) -> Option<Vec<u8>> {
    match coding {
        Coding::Gzip => {
            let (mut reader, mut text) = (GzDecoder::new(body), Vec::new());
            reader.read_to_end(&mut text).ok()?;
            reader.into_inner().is_empty().then_some(text)
        }
        Coding::Deflate => {
            miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(body, REFERENCE_MAX).ok()
        }
        Coding::Brotli => {
            let mut text = Vec::new();
            brotli_decompressor::Decompressor::new(body, 4096).read_to_end(&mut text).ok()?;
            Some(text)
        }
        Coding::Zstd => {
            // In one go: room for no more than what was read is enough, if it is read alike.
            let mut text = Vec::with_capacity(length);
            zstd_safe::decompress(&mut text, body).ok()?;
            Some(text)
        }
    }
}

/// A stream that is whole for another reader is read, and as the same.
fn check_wrapped(bytes: &[u8], seed: u8) {
    let read = miniz_oxide::inflate::decompress_to_vec_with_limit(bytes, REFERENCE_MAX);
    let Ok(expected) = read else { return };
    // Once more, for how long the stream is.
    let mut again = vec![0; expected.len()];
    let flags = core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (status, length, _) =
        core::decompress(&mut DecompressorOxide::new(), bytes, &mut again, 0, flags);
    assert_eq!(status, TINFLStatus::Done);
    let mut sum = flate2::Crc::new();
    sum.update(&expected);
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let tail = [sum.sum().to_le_bytes(), sum.amount().to_le_bytes()].concat();
    let body = [&head[..], &bytes[..length], &tail].concat();
    check_coded(Coding::Gzip, &body, seed);
    let (text, end) = decode(Coding::Gzip, vec![&body]);
    assert!(matches!(end, Ok(()) | Err(Undecodable::Bomb)), "others read it: {end:?}");
    assert!(end.is_err() || text == expected, "others read it differently");
}
