//! Follows the frames of a WebSocket beside its bytes (RFC 6455 section 5.2), in whatever pieces they come.
//!
//! Nothing is copied but the head of a frame, at most 14 bytes, and masked bytes while they are read. What breaks the rules is
//! an error: whoever reads the same bytes behind the gateway must not read anything else out of them.

/// Bytes of a masked payload that are unmasked at once.
const UNMASKED_AT_ONCE: usize = 4 << 10;

/// The frames of one direction, up to a place in its bytes.
#[derive(Debug, Default)]
pub struct Frames {
    /// The head of the frame that has begun, as far as it has come.
    head: Vec<u8>,
    frame: Option<Frame>,
    /// A message has begun, and its last frame has not ended.
    in_message: bool,
}

#[derive(Debug)]
struct Frame {
    opcode: u8,
    is_last: bool,
    mask: Option<[u8; 4]>,
    /// Bytes of the payload so far, and those to come.
    done: u64,
    left: u64,
}

/// What the bytes up to a place end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Nothing whole.
    Within,
    /// A message.
    Message,
    /// A ping or a pong.
    Control,
    /// The goodbye of this side.
    Close,
}

/// Bytes that are no WebSocket, or one with an extension that nobody agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbled;

const CONTINUATION: u8 = 0;
const CLOSE: u8 = 8;

impl Frames {
    /// Reads on in `bytes` to the end of the next message or control frame, or to their end. Says how far, and what ended
    /// there; `see` is shown the payload of messages.
    pub fn scan(
        &mut self,
        bytes: &[u8],
        mut see: impl FnMut(&[u8]),
    ) -> Result<(usize, Mark), Garbled> {
        let mut at = 0;
        while at < bytes.len() {
            let Some(frame) = &mut self.frame else {
                self.head.push(bytes[at]);
                at += 1;
                if let Some(frame) = read_head(&self.head)? {
                    self.head.clear();
                    self.begin(frame)?;
                    if let Some(mark) = self.ended() {
                        return Ok((at, mark));
                    }
                }
                continue;
            };
            let left = usize::try_from(frame.left).unwrap_or(usize::MAX);
            let payload = &bytes[at..at + left.min(bytes.len() - at)];
            if frame.opcode < CLOSE {
                frame.show(payload, &mut see);
            }
            frame.done += payload.len() as u64;
            frame.left -= payload.len() as u64;
            at += payload.len();
            if let Some(mark) = self.ended() {
                return Ok((at, mark));
            }
        }
        Ok((at, Mark::Within))
    }

    /// Whether a control frame may stand here.
    pub fn is_between_frames(&self) -> bool {
        self.frame.is_none() && self.head.is_empty()
    }

    /// Whether another message may stand here.
    pub fn is_between_messages(&self) -> bool {
        self.is_between_frames() && !self.in_message
    }

    fn begin(&mut self, frame: Frame) -> Result<(), Garbled> {
        if frame.opcode < CLOSE {
            if (frame.opcode == CONTINUATION) != self.in_message {
                return Err(Garbled);
            }
            self.in_message = true;
        }
        self.frame = Some(frame);
        Ok(())
    }

    /// What ends here, if anything whole does.
    fn ended(&mut self) -> Option<Mark> {
        let frame = self.frame.take_if(|frame| frame.left == 0)?;
        match frame.opcode {
            CLOSE => Some(Mark::Close),
            opcode if opcode > CLOSE => Some(Mark::Control),
            _ if frame.is_last => {
                self.in_message = false;
                Some(Mark::Message)
            }
            _ => None,
        }
    }
}

impl Frame {
    fn show(&self, payload: &[u8], see: &mut impl FnMut(&[u8])) {
        let Some(mask) = self.mask else { return see(payload) };
        let mut plain = [0; UNMASKED_AT_ONCE];
        let mut place = usize::try_from(self.done % 4).unwrap_or_default();
        for masked in payload.chunks(UNMASKED_AT_ONCE) {
            for (plain, masked) in plain.iter_mut().zip(masked) {
                *plain = masked ^ mask[place % 4];
                place += 1;
            }
            see(&plain[..masked.len()]);
        }
    }
}

/// The frame whose head is `head`; nothing while some of it is missing.
fn read_head(head: &[u8]) -> Result<Option<Frame>, Garbled> {
    let [first, second, rest @ ..] = head else { return Ok(None) };
    let opcode = first & 0x0F;
    let is_last = first & 0x80 != 0;
    let has_mask = second & 0x80 != 0;
    let short = second & 0x7F;
    let is_control = opcode >= CLOSE;
    if first & 0x70 != 0
        || !matches!(opcode, 0..=2 | 8..=10)
        || (is_control && (!is_last || short > 125))
    {
        return Err(Garbled);
    }
    let length_bytes = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some((length, rest)) = rest.split_at_checked(length_bytes) else { return Ok(None) };
    let left = match length {
        [] => u64::from(short),
        bytes => bytes.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
    };
    if left > u64::MAX >> 1 {
        return Err(Garbled);
    }
    let mask = if has_mask {
        let Some(mask) = rest.first_chunk() else { return Ok(None) };
        Some(*mask)
    } else {
        None
    };
    Ok(Some(Frame { opcode, is_last, mask, done: 0, left }))
}

/// A message of text, as a server sends it.
pub fn text(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => frame.push(length),
        (_, Ok(length)) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        (_, Err(_)) => {
            frame.push(127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

/// A goodbye; with a mask, as a client sends it.
pub fn close(code: u16, reason: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    // A control frame holds 125 bytes, of which the code takes two.
    let reason = &reason[..reason.floor_char_boundary(123)];
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend(reason.as_bytes());
    let length = u8::try_from(payload.len()).unwrap_or_default();
    let mut frame = vec![0x80 | CLOSE, if mask.is_some() { length | 0x80 } else { length }];
    if let Some(mask) = mask {
        frame.extend(mask);
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    }
    frame.extend(payload);
    frame
}

#[cfg(test)]
mod tests;
