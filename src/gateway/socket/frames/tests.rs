use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame as Known, Utf8Bytes};

use super::*;

/// Messages, and what ended where.
type Read = (Vec<Vec<u8>>, Vec<(usize, Mark)>);

/// What is read of bytes that come in pieces of these lengths: each message, and what ended where.
fn read(bytes: &[u8], cuts: &[usize]) -> Result<Read, Garbled> {
    let (mut frames, mut messages, mut marks) = (Frames::default(), Vec::new(), Vec::new());
    let (mut message, mut from) = (Vec::new(), 0);
    for &cut in cuts.iter().chain([&bytes.len()]) {
        while from < cut {
            let (length, mark) =
                frames.scan(&bytes[from..cut], |payload| message.extend_from_slice(payload))?;
            from += length;
            if mark != Mark::Within {
                marks.push((from, mark));
            }
            if mark == Mark::Message {
                messages.push(std::mem::take(&mut message));
            }
        }
    }
    Ok((messages, marks))
}

/// A frame as a well-known library writes it.
fn known(payload: Vec<u8>, data: Data, is_last: bool, mask: Option<[u8; 4]>) -> Vec<u8> {
    masked(Known::message(payload, OpCode::Data(data), is_last), mask)
}

fn masked(mut frame: Known, mask: Option<[u8; 4]>) -> Vec<u8> {
    frame.header_mut().mask = mask;
    let mut bytes = Vec::new();
    frame.format(&mut bytes).unwrap();
    bytes
}

/// A message in fragments, with a ping behind each but the last.
fn fragmented(parts: &[Vec<u8>], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let is_last = at + 1 == parts.len();
        let data = if at == 0 { Data::Text } else { Data::Continue };
        bytes.extend(known(part.clone(), data, is_last, mask));
        if !is_last {
            bytes.extend(masked(Known::ping(vec![1, 2, 3]), mask));
        }
    }
    bytes
}

proptest! {
    #[test]
    fn messages_are_read_in_any_pieces(
        messages in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..4), 1..5),
        mask in any::<Option<[u8; 4]>>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|parts| fragmented(parts, mask)).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let (read, marks) = read(&bytes, &cuts).unwrap();
        let expected: Vec<Vec<u8>> = messages.iter().map(|parts| parts.concat()).collect();
        prop_assert_eq!(read, expected);
        prop_assert_eq!(marks.last(), Some(&(bytes.len(), Mark::Message)));
        let pings: usize = messages.iter().map(|parts| parts.len() - 1).sum();
        prop_assert_eq!(marks.iter().filter(|(_, mark)| *mark == Mark::Control).count(), pings);
    }

    #[test]
    fn nothing_that_comes_is_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes, &[]);
    }
}

#[test]
fn long_messages_are_read() {
    for length in [125, 126, 65_535, 65_536, 200_000] {
        let payload = vec![b'x'; length];
        for mask in [None, Some([9, 8, 7, 6])] {
            let bytes = known(payload.clone(), Data::Binary, true, mask);
            assert_eq!(read(&bytes, &[1, 3]).unwrap().0, [payload.as_slice()], "{length}");
        }
        let bytes = known(payload.clone(), Data::Text, true, None);
        assert_eq!(text(&payload), bytes, "{length}");
    }
}

#[test]
fn a_goodbye_is_written_as_others_write_it() {
    let frame = CloseFrame { code: CloseCode::Policy, reason: Utf8Bytes::from_static("no more") };
    for mask in [None, Some([1, 2, 3, 4])] {
        let mut known = Known::close(Some(frame.clone()));
        known.header_mut().mask = mask;
        let mut bytes = Vec::new();
        known.format(&mut bytes).unwrap();
        assert_eq!(close(1008, "no more", mask), bytes);
        assert_eq!(read(&bytes, &[]).unwrap().1, [(bytes.len(), Mark::Close)]);
    }
    assert_eq!(close(1008, &"ä".repeat(100), None).len(), 2 + 2 + 122);
}

#[test]
fn what_breaks_the_rules_is_not_read() {
    for (why, bytes) in [
        ("compressed", &[0xC1, 0][..]),
        ("no such kind", &[0x83, 0]),
        ("a control frame in two", &[0x09, 0]),
        ("a long control frame", &[0x89, 126, 0, 200]),
        ("a continuation of nothing", &[0x80, 0]),
        ("a message within another", &[0x01, 0, 0x81, 0]),
        ("longer than anything", &[0x81, 127, 0xFF, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        assert_eq!(read(bytes, &[]), Err(Garbled), "{why}");
    }
}
