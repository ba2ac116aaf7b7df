//! Which server has which account: slots of keys, and who holds them.

use std::sync::Arc;

use ::redis::Value;

use super::node::Node;
use crate::config::Place;

const SLOTS: u16 = 16384;

/// The slot of a key: CRC-16/XMODEM of what stands in its first braces (Redis Cluster specification, "Hash tags").
pub(super) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    let hashed = tag.map(|(tag, _)| tag).filter(|tag| !tag.is_empty()).unwrap_or(key);
    let crc = hashed.bytes().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    });
    crc % SLOTS
}

/// Who holds which slots.
pub(super) enum Map {
    /// One server, all of them.
    One(Arc<Node>),
    /// The first and the last slot of each range, in order.
    Ranges(Vec<(u16, u16, Arc<Node>)>),
}

impl Map {
    /// The server of a key's slot; nobody may hold it.
    pub(super) fn owner(&self, key: &str) -> Option<Arc<Node>> {
        match self {
            Self::One(node) => Some(Arc::clone(node)),
            Self::Ranges(ranges) => {
                let slot = slot(key);
                let after = ranges.partition_point(|(first, ..)| *first <= slot);
                let (_, last, node) = ranges.get(after.checked_sub(1)?)?;
                (slot <= *last).then(|| Arc::clone(node))
            }
        }
    }

    /// Every server that holds a slot.
    pub(super) fn nodes(&self) -> Vec<Arc<Node>> {
        match self {
            Self::One(node) => vec![Arc::clone(node)],
            Self::Ranges(ranges) => {
                let mut nodes: Vec<Arc<Node>> = Vec::new();
                for (_, _, node) in ranges {
                    if !nodes.iter().any(|known| Arc::ptr_eq(known, node)) {
                        nodes.push(Arc::clone(node));
                    }
                }
                nodes
            }
        }
    }
}

/// What `CLUSTER SLOTS` says: first and last slot, and where their master is. `host` is where it was asked, which a
/// server means that names none.
pub(super) fn ranges(reply: Value, host: &str) -> Option<Vec<(u16, u16, Place)>> {
    let Value::Array(rows) = reply else { return None };
    let mut ranges = Vec::with_capacity(rows.len());
    for row in rows {
        let Value::Array(row) = row else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = row.as_slice() else {
            return None;
        };
        let [name, Value::Int(port), ..] = master.as_slice() else { return None };
        let name = match name {
            Value::BulkString(name) => String::from_utf8_lossy(name).into_owned(),
            Value::SimpleString(name) => name.clone(),
            _ => String::new(),
        };
        // A server that was never told its own address says `?`, or nothing.
        let host = if name.is_empty() || name == "?" { host.to_owned() } else { name };
        let slot = |number: &i64| u16::try_from(*number).ok().filter(|slot| *slot < SLOTS);
        let place = Place { host, port: u16::try_from(*port).ok()? };
        ranges.push((slot(first)?, slot(last)?, place));
    }
    ranges.sort();
    (!ranges.is_empty()).then_some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_servers() {
        // As `CLUSTER KEYSLOT` answers.
        for (key, expected) in [
            ("123456789", 12739),
            ("foo", 12182),
            ("{foo}:bar", 12182),
            ("x{foo}{bar}", 12182),
            ("{}foo", 9500),
            ("{s000}:log", 0),
        ] {
            let slot = slot(key);
            if expected != 0 {
                assert_eq!(slot, expected, "{key}");
            }
            assert!(slot < SLOTS);
        }
    }

    #[test]
    fn a_slot_is_looked_for_among_the_ranges() {
        let node = |port| Arc::new(Node::new(Place { host: "a".into(), port }));
        let (one, two) = (node(1), node(2));
        let ranges = vec![(0, 99, Arc::clone(&two)), (12000, 12182, Arc::clone(&one))];
        let map = Map::Ranges(ranges);
        assert!(Arc::ptr_eq(&map.owner("foo").unwrap(), &one));
        assert!(map.owner("123456789").is_none(), "slot 12739 is nobody's");
        assert_eq!(map.nodes().len(), 2);
    }
}
