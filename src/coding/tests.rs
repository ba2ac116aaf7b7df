use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::HeaderValue;
use proptest::prelude::*;

use super::*;

const ALL: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];

/// The text of `pieces`, flushed after each; the bytes that each flush gave.
fn coded(coding: Coding, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let level = Compression::default();
    match coding {
        Coding::Gzip => {
            let encoder = GzEncoder::new(Vec::new(), level);
            flushed(encoder, pieces, GzEncoder::get_mut, |encoder| encoder.finish().unwrap())
        }
        Coding::Deflate => {
            let encoder = ZlibEncoder::new(Vec::new(), level);
            flushed(encoder, pieces, ZlibEncoder::get_mut, |encoder| encoder.finish().unwrap())
        }
        Coding::Brotli => {
            let encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
            let into = brotli::CompressorWriter::into_inner;
            flushed(encoder, pieces, brotli::CompressorWriter::get_mut, into)
        }
        Coding::Zstd => zstd_flushed(pieces),
    }
}

fn flushed<W: std::io::Write>(
    mut encoder: W,
    pieces: &[&[u8]],
    written: fn(&mut W) -> &mut Vec<u8>,
    finish: fn(W) -> Vec<u8>,
) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    for piece in pieces {
        encoder.write_all(piece).unwrap();
        encoder.flush().unwrap();
        parts.push(std::mem::take(written(&mut encoder)));
    }
    parts.push(finish(encoder));
    parts
}

fn zstd_flushed(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut context = zstd_safe::CCtx::create();
    context.set_parameter(zstd_safe::CParameter::ChecksumFlag(true)).unwrap();
    let mut room = vec![0; 1 << 20];
    let mut parts = Vec::new();
    for piece in pieces {
        let (mut from, mut part) = (InBuffer::around(piece), Vec::new());
        loop {
            let mut into = OutBuffer::around(&mut room[..]);
            let flush = zstd_safe::zstd_sys::ZSTD_EndDirective::ZSTD_e_flush;
            let left = context.compress_stream2(&mut into, &mut from, flush).unwrap();
            part.extend_from_slice(into.as_slice());
            if left == 0 && from.pos() == piece.len() {
                break;
            }
        }
        parts.push(part);
    }
    let mut into = OutBuffer::around(&mut room[..]);
    assert_eq!(context.end_stream(&mut into).unwrap(), 0);
    parts.push(into.as_slice().to_vec());
    parts
}

fn whole(coding: Coding, text: &[u8]) -> Vec<u8> {
    coded(coding, &[text]).concat()
}

/// The text, and whether it is whole.
fn decoded<'a>(
    coding: Coding,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(Vec<u8>, bool), Undecodable> {
    let (mut decoder, mut text) = (Decoder::new(coding), Vec::new());
    for piece in pieces {
        decoder.feed(piece, |more| {
            text.extend_from_slice(more);
            Ok::<_, Undecodable>(())
        })?;
    }
    Ok((text, decoder.finish().is_ok()))
}

/// Text that can hardly be compressed.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn each_coding_is_read_at_once_and_byte_by_byte() {
    for coding in ALL {
        for text in [b"".to_vec(), b"x".to_vec(), noise(300_000), b"ab".repeat(400_000)] {
            let bytes = whole(coding, &text);
            assert_eq!(decoded(coding, [&bytes[..]]), Ok((text.clone(), true)), "{coding:?}");
            assert_eq!(decoded(coding, bytes.chunks(1)), Ok((text, true)), "{coding:?}");
        }
    }
}

#[test]
fn what_was_flushed_is_told_at_once() {
    let events: Vec<Vec<u8>> =
        (0..50).map(|at| format!("data: {{\"event\":{at}}}\n\n").into_bytes()).collect();
    let events: Vec<&[u8]> = events.iter().map(Vec::as_slice).collect();
    for coding in ALL {
        let mut decoder = Decoder::new(coding);
        for (part, event) in coded(coding, &events).iter().zip(&events) {
            let mut text = Vec::new();
            decoder
                .feed(part, |more| {
                    text.extend_from_slice(more);
                    Ok::<_, Undecodable>(())
                })
                .unwrap();
            assert_eq!(text, *event, "{coding:?}");
        }
        assert_eq!(decoder.finish(), Err(Undecodable::Cut));
    }
}

#[test]
fn nothing_may_follow() {
    for coding in ALL {
        let once = whole(coding, b"{}");
        let twice = [&once[..], &once].concat();
        assert_eq!(decoded(coding, [&twice[..]]), Err(Undecodable::Trailing), "{coding:?}");
        assert_eq!(decoded(coding, [&once[..], b"\0"]), Err(Undecodable::Trailing), "{coding:?}");
        assert_eq!(decoded(coding, twice.chunks(1)), Err(Undecodable::Trailing), "{coding:?}");
    }
}

#[test]
fn a_part_is_never_whole() {
    for coding in ALL {
        let bytes = whole(coding, &noise(300));
        for length in 0..bytes.len() {
            let part = decoded(coding, [&bytes[..length]]);
            assert!(part.is_ok_and(|(_, whole)| !whole), "{coding:?}, {length} bytes");
        }
    }
}

#[test]
fn checksums_and_lengths_count() {
    for (coding, from_end) in [
        // The checksum and the length after gzip's stream, and the checksums of the others.
        (Coding::Gzip, 5),
        (Coding::Gzip, 1),
        (Coding::Deflate, 1),
        (Coding::Zstd, 1),
    ] {
        let mut bytes = whole(coding, &noise(100));
        let at = bytes.len() - from_end;
        bytes[at] ^= 1;
        assert_eq!(decoded(coding, [&bytes[..]]), Err(Undecodable::Corrupt), "{coding:?}");
    }
    // A frame that says how long its text is, and is longer.
    let mut frame = Vec::with_capacity(64);
    zstd_safe::compress(&mut frame, b"0123456789", 1).unwrap();
    assert_eq!(decoded(Coding::Zstd, [&frame[..]]), Ok((b"0123456789".to_vec(), true)));
    frame[5] -= 1;
    assert_eq!(decoded(Coding::Zstd, [&frame[..]]), Err(Undecodable::Corrupt));
}

#[test]
fn other_formats_under_the_same_names_are_refused() {
    let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
    bare.write_all(b"{\"model\":\"m\"}").unwrap();
    let bare = bare.finish().unwrap();
    for (coding, bytes) in [
        (Coding::Deflate, &bare[..]),
        (Coding::Gzip, &whole(Coding::Deflate, b"{}")),
        (Coding::Deflate, &whole(Coding::Gzip, b"{}")),
        (Coding::Gzip, b"{\"model\":\"m\"}"),
        (Coding::Zstd, b"{\"model\":\"m\"}"),
        (Coding::Brotli, b"{\"model\":\"m\"}"),
    ] {
        let text = decoded(coding, [bytes]);
        assert!(!text.is_ok_and(|(_, whole)| whole), "{coding:?}");
    }
}

#[test]
fn windows_that_no_http_reader_must_have_are_refused() {
    let mut context = zstd_safe::CCtx::create();
    context.set_parameter(zstd_safe::CParameter::WindowLog(27)).unwrap();
    let mut room = vec![0; 1 << 16];
    let mut from = InBuffer::around(b"text");
    let mut into = OutBuffer::around(&mut room[..]);
    let flush = zstd_safe::zstd_sys::ZSTD_EndDirective::ZSTD_e_flush;
    context.compress_stream2(&mut into, &mut from, flush).unwrap();
    let bytes = into.as_slice().to_vec();
    assert_eq!(decoded(Coding::Zstd, [&bytes[..]]), Err(Undecodable::Corrupt));
}

#[test]
fn a_bomb_ends_where_it_grows_too_large() {
    let text = vec![b' '; 4 << 20];
    for coding in ALL {
        let bytes = whole(coding, &text);
        let (mut decoder, mut told) = (Decoder::new(coding), 0);
        let result = decoder.feed(&bytes, |more| {
            told += more.len();
            Ok(())
        });
        assert_eq!(result, Err(Undecodable::Bomb), "{coding:?}");
        assert!(told <= GROWTH_FREE + bytes.len() * GROWTH_MAX, "{coding:?}");
    }
}

#[test]
fn one_coding_is_known_and_no_other() {
    let of = |values: &[&str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_ENCODING, HeaderValue::from_str(value).unwrap());
        }
        Coding::of(&headers).map_err(|unsupported| unsupported.0)
    };
    for plain in [&[][..], &[""], &["identity"], &[" Identity "]] {
        assert_eq!(of(plain), Ok(None));
    }
    for (name, coding) in [
        ("gzip", Coding::Gzip),
        ("X-Gzip", Coding::Gzip),
        ("deflate", Coding::Deflate),
        ("br", Coding::Brotli),
        (" ZSTD ", Coding::Zstd),
    ] {
        assert_eq!(of(&[name]), Ok(Some(coding)));
    }
    for other in ["compress", "gzip, gzip", "identity, gzip", "gzip;q=1", "aes128gcm"] {
        assert_eq!(of(&[other]), Err(other.to_owned()));
    }
    assert_eq!(of(&["identity", "gzip"]), Err("identity, gzip".to_owned()));
    assert_eq!(of(&["gzip", ""]), Err("gzip, ".to_owned()));
    assert_eq!(of(&[&"x".repeat(1000)]), Err("x".repeat(64)));
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        which in 0..ALL.len(),
        text in proptest::collection::vec("[a-z ]{0,40}", 0..40),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let coding = ALL[which];
        let pieces: Vec<&[u8]> = text.iter().map(String::as_bytes).collect();
        let bytes = coded(coding, &pieces).concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let parts = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        prop_assert_eq!(decoded(coding, parts), Ok((text.concat().into_bytes(), true)));
    }

    #[test]
    fn any_bytes_are_taken(which in 0..ALL.len(), bytes: Vec<u8>, damage: prop::sample::Index) {
        let coding = ALL[which];
        let _ = decoded(coding, [&bytes[..]]);
        let mut damaged = whole(coding, &bytes);
        let at = damage.index(damaged.len());
        damaged[at] ^= 0x55;
        let at_once = decoded(coding, [&damaged[..]]).ok().filter(|(_, whole)| *whole);
        let in_pieces = decoded(coding, damaged.chunks(1)).ok().filter(|(_, whole)| *whole);
        prop_assert_eq!(at_once, in_pieces);
    }
}
