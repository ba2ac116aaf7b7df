//! What holds for whatever bytes come from outside, as functions of those bytes.
//!
//! Shared: the fuzz targets (`fuzz/`) look for bytes for which one of them fails, and `tests/it/properties.rs` keeps them
//! true for the seeds and for what was found before.

pub mod coding;
pub mod path;
pub mod peek;
pub mod sse;
pub mod usage;

/// `bytes` in pieces whose lengths follow from `seed`; each is a byte if that is 0.
fn pieces(bytes: &[u8], seed: u8) -> Vec<&[u8]> {
    let (mut rest, mut pieces, mut state) = (bytes, Vec::new(), u32::from(seed));
    while !rest.is_empty() {
        state = state.wrapping_mul(0x01E3_5A7D).wrapping_add(u32::from(seed != 0) * 0x9E37);
        let length = 1 + (state >> 16) as usize % 23 * usize::from(seed != 0);
        let (piece, after) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// The text of the first line and what follows it, or what follows the first blank one.
fn split_once<'a>(bytes: &'a [u8], end: &[u8]) -> (std::borrow::Cow<'a, str>, &'a [u8]) {
    let at = bytes.windows(end.len()).position(|window| window == end).unwrap_or(bytes.len());
    (String::from_utf8_lossy(&bytes[..at]), bytes.get(at + end.len()..).unwrap_or_default())
}
