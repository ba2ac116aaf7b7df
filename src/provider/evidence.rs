//! Looks for the first sign of generated content in an answer.
//!
//! A call that ends early costs its price if any content came, and nothing if none did. So the bytes are read
//! beside the stream until the first content is found, and not at all after that. Changes nothing, decides
//! nothing: the gateway draws the conclusions.

use super::frames::{Frames, Framing, Sight};
use super::{Dialect, EventKind};

/// What the bytes of one answer have shown so far.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "four facts, each true or not by itself")]
pub struct Evidence {
    dialect: Dialect,
    watch: Watch,
    bytes: bool,
    output: bool,
    error: bool,
    done: bool,
}

#[derive(Debug)]
enum Watch {
    /// A stream whose events can be read.
    Events(Frames),
    /// Generated media: any byte is content.
    Media,
    /// Nothing to learn (any more) but that bytes came.
    Nothing,
}

impl Evidence {
    /// Chooses how to read an answer in `dialect` from its `content-type`; what is read is its decoded text.
    ///
    /// The events of a stream are looked at; audio, images, video and unnamed binary are content from their first byte.
    /// In all else (JSON, text) only [`Self::saw_bytes`] is known.
    pub fn for_response(dialect: Dialect, content_type: Option<&str>) -> Self {
        let framing = dialect.framing(&essence(content_type.unwrap_or_default()));
        let watch = match Frames::of(framing) {
            Some(frames) => Watch::Events(frames),
            None if framing == Framing::Media => Watch::Media,
            None => Watch::Nothing,
        };
        Self { dialect, watch, bytes: false, output: false, error: false, done: false }
    }

    /// For the answer of a route that no table knows, whose events nobody can read: only [`Self::saw_bytes`] is known.
    pub fn unreadable(dialect: Dialect) -> Self {
        let watch = Watch::Nothing;
        Self { dialect, watch, bytes: false, output: false, error: false, done: false }
    }

    /// Bytes came, whatever they say.
    pub fn came(&mut self) {
        self.bytes = true;
    }

    /// The rest of the answer can't be read.
    pub fn lose(&mut self) {
        self.watch = Watch::Nothing;
    }

    /// The events of this answer are being looked at.
    pub fn reads_events(&self) -> bool {
        matches!(self.watch, Watch::Events(_))
    }

    /// Takes the next bytes of the answer.
    pub fn feed(&mut self, chunk: &[u8]) {
        self.bytes |= !chunk.is_empty();
        match &mut self.watch {
            Watch::Events(frames) => {
                frames.feed(chunk, |event| {
                    if self.output {
                        return;
                    }
                    match self.dialect.event(event) {
                        EventKind::Output => self.output = true,
                        EventKind::Error => self.error = true,
                        EventKind::Done => self.done = true,
                        EventKind::Other => {}
                    }
                });
                if self.output || frames.sight() == Sight::Lost {
                    self.watch = Watch::Nothing;
                }
            }
            Watch::Media => {
                self.output |= !chunk.is_empty();
            }
            Watch::Nothing => {}
        }
    }

    /// An event with generated content came, or the first byte of generated media.
    pub fn saw_output(&self) -> bool {
        self.output
    }

    /// An error event came before any output.
    pub fn saw_error(&self) -> bool {
        self.error
    }

    /// The provider's end of the stream came before any output: the answer is whole, and empty.
    pub fn saw_done(&self) -> bool {
        self.done
    }

    /// At least one byte of the body came.
    pub fn saw_bytes(&self) -> bool {
        self.bytes
    }

    /// This answer is a stream of events that is being read, in which no output has come yet.
    pub fn awaits_output(&self) -> bool {
        match &self.watch {
            Watch::Events(frames) => frames.sight() == Sight::Clear,
            Watch::Media | Watch::Nothing => false,
        }
    }

    /// The events of this answer can be read, so that the absence of output means something.
    pub fn is_readable(&self) -> bool {
        self.output || self.awaits_output() || matches!(self.watch, Watch::Media)
    }
}

/// The type and subtype of a content type, in lower case and without parameters.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENING: &str =
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    const CONTENT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
    const ERROR: &str = "data: {\"error\":{\"message\":\"x\"}}\n\n";

    fn stream() -> Evidence {
        Evidence::for_response(Dialect::OpenAi, Some("Text/Event-Stream; charset=utf-8"))
    }

    #[test]
    fn a_stream_shows_its_first_output_and_no_more() {
        let mut evidence = stream();
        for byte in [": ping\n\n", OPENING].concat().as_bytes().chunks(1) {
            evidence.feed(byte);
        }
        assert!(evidence.saw_bytes() && !evidence.saw_output());
        evidence.feed(CONTENT.as_bytes());
        assert!(evidence.saw_output());
        evidence.feed(ERROR.as_bytes());
        assert!(!evidence.saw_error());
    }

    #[test]
    fn output_and_what_follows_may_come_in_one_chunk() {
        let mut evidence = stream();
        evidence.feed([OPENING, CONTENT, ERROR, "data: [DONE]\n\n"].concat().as_bytes());
        assert!(evidence.saw_output() && !evidence.saw_error() && !evidence.saw_done());
    }

    #[test]
    fn an_error_is_no_output() {
        let mut evidence = stream();
        evidence.feed([OPENING, ERROR, "data: [DONE]\n\n"].concat().as_bytes());
        assert!(evidence.saw_error() && evidence.saw_done() && !evidence.saw_output());
    }

    #[test]
    fn media_is_output_from_its_first_byte() {
        for content_type in ["audio/mpeg", "image/png", "video/mp4", "application/octet-stream"] {
            let mut evidence = Evidence::for_response(Dialect::OpenAi, Some(content_type));
            evidence.feed(b"");
            assert!(!evidence.saw_output(), "{content_type}");
            evidence.feed(b"\0");
            assert!(evidence.saw_output(), "{content_type}");
        }
    }

    #[test]
    fn what_cannot_be_read_only_shows_bytes() {
        let json = Evidence::for_response(Dialect::OpenAi, Some("application/json"));
        let none = Evidence::for_response(Dialect::OpenAi, None);
        let unknown = Evidence::unreadable(Dialect::OpenAi);
        let mut lost = stream();
        lost.lose();
        for mut evidence in [json, none, lost, unknown] {
            assert!(!evidence.saw_bytes());
            evidence.feed(CONTENT.as_bytes());
            assert!(evidence.saw_bytes() && !evidence.saw_output() && !evidence.is_readable());
        }
    }
}
