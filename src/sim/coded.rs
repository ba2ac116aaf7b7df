//! Answers in a content coding, as some providers send them: each piece can be read as soon as it is there.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use zstd_safe::{CCtx, OutBuffer};

use crate::coding::Coding;

/// The longest stored block of Brotli: the smallest window there is has room for it.
const BLOCK_BYTES_MAX: usize = 1 << 15;

/// Room for what zstd writes at once.
const ROOM: usize = 16 << 10;

/// The coding of this name.
pub(super) fn coding(word: &str) -> Option<Coding> {
    [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd]
        .into_iter()
        .find(|coding| name(*coding) == word)
}

/// What `content-encoding` calls it.
pub(super) fn name(coding: Coding) -> &'static str {
    match coding {
        Coding::Gzip => "gzip",
        Coding::Deflate => "deflate",
        Coding::Brotli => "br",
        Coding::Zstd => "zstd",
    }
}

/// `pieces` in the coding: as many, or one where there were none. The end of the stream goes with the last.
pub(super) fn encoded(coding: Coding, pieces: &[Bytes]) -> io::Result<Vec<Bytes>> {
    let (mut coded, end) = match coding {
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            (flushed(&mut encoder, pieces, GzEncoder::get_mut)?, encoder.finish()?)
        }
        Coding::Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            (flushed(&mut encoder, pieces, ZlibEncoder::get_mut)?, encoder.finish()?)
        }
        Coding::Brotli => brotli(pieces),
        Coding::Zstd => zstd(pieces)?,
    };
    match coded.last_mut() {
        Some(last) => last.extend_from_slice(&end),
        None => coded.push(end),
    }
    Ok(coded.into_iter().map(Bytes::from).collect())
}

fn flushed<W: Write>(
    encoder: &mut W,
    pieces: &[Bytes],
    coded: fn(&mut W) -> &mut Vec<u8>,
) -> io::Result<Vec<Vec<u8>>> {
    let piece = |piece: &Bytes| {
        encoder.write_all(piece)?;
        encoder.flush()?;
        Ok(std::mem::take(coded(encoder)))
    };
    pieces.iter().map(piece).collect()
}

/// Stored blocks (RFC 7932 section 9.2): no encoder is needed, and nothing saved.
fn brotli(pieces: &[Bytes]) -> (Vec<Vec<u8>>, Vec<u8>) {
    // A window of 16 bits, and an empty block of metadata up to the end of the byte.
    let mut begins = vec![0b0000_1100];
    let mut block = |block: &[u8]| {
        // Not the last one; four nibbles of its length less one; stored.
        let head =
            (u32::try_from(block.len()).unwrap_or_default().saturating_sub(1)) << 3 | 1 << 19;
        [std::mem::take(&mut begins), head.to_le_bytes()[..3].to_vec(), block.to_vec()].concat()
    };
    let piece = |piece: &Bytes| piece.chunks(BLOCK_BYTES_MAX).flat_map(&mut block).collect();
    let coded: Vec<Vec<u8>> = pieces.iter().map(piece).collect();
    // The last block is empty.
    let end = [begins, vec![0b11]].concat();
    (coded, end)
}

fn zstd(pieces: &[Bytes]) -> io::Result<(Vec<Vec<u8>>, Vec<u8>)> {
    let failed = |code| io::Error::other(zstd_safe::get_error_name(code));
    let mut context = CCtx::create();
    let mut coded = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let mut input = zstd_safe::InBuffer::around(piece);
        let mut all = Vec::new();
        while input.pos() < piece.len() {
            let mut room = [0; ROOM];
            let mut output = OutBuffer::around(&mut room[..]);
            context.compress_stream(&mut output, &mut input).map_err(failed)?;
            all.extend_from_slice(output.as_slice());
        }
        loop {
            let mut room = [0; ROOM];
            let mut output = OutBuffer::around(&mut room[..]);
            let left = context.flush_stream(&mut output).map_err(failed)?;
            all.extend_from_slice(output.as_slice());
            if left == 0 {
                break;
            }
        }
        coded.push(all);
    }
    let mut room = [0; ROOM];
    let mut output = OutBuffer::around(&mut room[..]);
    context.end_stream(&mut output).map_err(failed)?;
    let end = output.as_slice().to_vec();
    Ok((coded, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coding::Decoder;

    #[test]
    fn each_piece_can_be_read_when_it_comes_and_the_whole_at_the_end() {
        let long = Bytes::from("words and ".repeat(20_000));
        let pieces =
            [Bytes::from_static(b"first"), Bytes::new(), long, Bytes::from_static(b"last")];
        for word in ["gzip", "deflate", "br", "zstd"] {
            let coding = coding(word).unwrap();
            let coded = encoded(coding, &pieces).unwrap();
            assert_eq!(coded.len(), pieces.len());
            let mut decoder = Decoder::new(coding);
            for (coded, piece) in coded.iter().zip(&pieces) {
                let mut text = Vec::new();
                decoder
                    .feed(coded, |more| {
                        text.extend_from_slice(more);
                        Ok::<_, crate::coding::Undecodable>(())
                    })
                    .unwrap();
                assert_eq!(text, piece.as_ref(), "{word}");
            }
            decoder.finish().unwrap();
            // An answer without a body has an end as well.
            let mut decoder = Decoder::new(coding);
            let empty = encoded(coding, &[]).unwrap().concat();
            decoder.feed(&empty, |_| Ok::<_, crate::coding::Undecodable>(())).unwrap();
            decoder.finish().unwrap();
        }
    }
}
