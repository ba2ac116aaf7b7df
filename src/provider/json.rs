//! Reads JSON in whatever pieces its bytes arrive and tells a [`Sink`] where each value stands, keeping nothing.
//!
//! Whole documents, one after another, or the elements of one long list: all are read the same way, in a small and
//! fixed amount of memory, however long a text in them is. What is not JSON tells nothing, or nonsense under paths that
//! nobody asks for; it never fails, since nothing depends on it but an amount.

use memchr::memchr2;

/// Longest key, number or word that is told. Longer keys show as `?`.
const WORD_BYTES_MAX: usize = 128;

/// Deepest value that is told.
const DEPTH_MAX: usize = 24;

/// Learns of values by their paths: `usage.prompt_tokens`, `choices[].delta.content`.
pub(super) trait Sink {
    /// A number as it is written.
    fn number(&mut self, path: &str, number: &str);

    /// A text begins; its pieces follow.
    fn begin(&mut self, path: &str);

    /// A piece of the text as it stands between its quotes. An escape may lie in two pieces.
    fn piece(&mut self, piece: &[u8]);

    /// The text ended; `word` is the whole of it, if it is short and has no escapes.
    fn end(&mut self, path: &str, word: Option<&str>);

    /// An object begins as an element of the list at `path`.
    fn element(&mut self, _path: &str) {}

    /// `true` stands at the path.
    fn is_true(&mut self, _path: &str) {}

    /// An object or a list begins at the path.
    fn opened(&mut self, _path: &str) {}

    /// What follows is another document.
    fn next_document(&mut self) {}
}

/// The place in a document that has been read up to there.
#[derive(Debug, Default)]
pub(super) struct Reader {
    path: String,
    /// The containers around the place, and how long the path was before each.
    around: Vec<(Container, usize)>,
    /// Containers that are too deep to be told.
    deeper: usize,
    /// A key and its colon have come, or an element of a list is next: a text is a value.
    at_value: bool,
    within: Within,
    /// The key, number or word that has begun.
    word: Vec<u8>,
    /// The word was longer than what is kept, or has an escape.
    word_is_lost: bool,
    /// The last byte began an escape.
    escaped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Container {
    Object,
    List,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Within {
    #[default]
    Nothing,
    Key,
    Text,
    Number,
}

impl Reader {
    /// Takes the next piece.
    pub(super) fn feed(&mut self, piece: &[u8], sink: &mut impl Sink) {
        // Once for all words of the piece.
        let utf8 = std::str::from_utf8(piece).ok();
        let mut rest = piece;
        while let Some((&byte, after)) = rest.split_first() {
            rest = match self.within {
                Within::Nothing => {
                    self.structure(byte, sink);
                    after
                }
                Within::Key | Within::Text => {
                    let utf8 = utf8.and_then(|utf8| utf8.get(piece.len() - rest.len()..));
                    self.text(rest, utf8, sink)
                }
                Within::Number => self.number(rest, sink),
            };
        }
    }

    /// What follows is another document, whatever became of this one.
    pub(super) fn reset(&mut self) {
        self.path.clear();
        self.around.clear();
        (self.deeper, self.at_value, self.within, self.escaped) =
            (0, false, Within::Nothing, false);
    }

    fn structure(&mut self, byte: u8, sink: &mut impl Sink) {
        match byte {
            b'{' => self.open(Container::Object, sink),
            b'[' => self.open(Container::List, sink),
            b'}' | b']' => self.close(),
            b':' => self.at_value = true,
            b',' => self.at_value = matches!(self.around.last(), Some((Container::List, _))),
            b'"' => {
                let is_key =
                    !self.at_value && matches!(self.around.last(), Some((Container::Object, _)));
                self.begin_word(if is_key { Within::Key } else { Within::Text });
                if !is_key && self.deeper == 0 {
                    sink.begin(&self.path);
                }
            }
            b'0'..=b'9' | b'-' => {
                self.begin_word(Within::Number);
                self.keep(&[byte]);
            }
            // No other word begins with it or has it within.
            b't' if self.deeper == 0 => sink.is_true(&self.path),
            // Space, and the rest of the words `true`, `false` and `null`, which count nothing.
            _ => {}
        }
    }

    fn open(&mut self, container: Container, sink: &mut impl Sink) {
        if self.deeper > 0 || self.around.len() == DEPTH_MAX {
            self.deeper += 1;
            return;
        }
        if container == Container::Object
            && matches!(self.around.last(), Some((Container::List, _)))
        {
            sink.element(&self.path);
        }
        sink.opened(&self.path);
        self.around.push((container, self.path.len()));
        if container == Container::List {
            self.path.push_str("[]");
        }
        self.at_value = container == Container::List;
    }

    fn close(&mut self) {
        if self.deeper > 0 {
            self.deeper -= 1;
        } else if let Some((_, length)) = self.around.pop() {
            self.path.truncate(length);
            self.at_value = true;
        }
    }

    fn begin_word(&mut self, within: Within) {
        self.within = within;
        self.word.clear();
        (self.word_is_lost, self.escaped) = (false, false);
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.word.len() + bytes.len() <= WORD_BYTES_MAX {
            self.word.extend_from_slice(bytes);
        } else {
            self.word_is_lost = true;
        }
    }

    /// Reads on in a key or a text; returns what follows. `utf8` is `rest`, if that is known to be UTF-8.
    fn text<'p>(&mut self, rest: &'p [u8], utf8: Option<&str>, sink: &mut impl Sink) -> &'p [u8] {
        if std::mem::take(&mut self.escaped) {
            self.tell(&rest[..1], sink);
            return &rest[1..];
        }
        let Some(length) = memchr2(b'"', b'\\', rest) else {
            self.tell(rest, sink);
            return &[];
        };
        if rest[length] == b'\\' {
            self.tell(&rest[..=length], sink);
            (self.word_is_lost, self.escaped) = (true, true);
        } else if self.word.is_empty() && !self.word_is_lost {
            // Nearly all texts come whole: nothing of them is copied.
            let text = &rest[..length];
            self.pass_on(text, sink);
            let word = match utf8 {
                _ if length > WORD_BYTES_MAX => None,
                Some(utf8) => utf8.get(..length),
                None => std::str::from_utf8(text).ok(),
            };
            self.end_text(word, sink);
        } else {
            self.tell(&rest[..length], sink);
            let word = std::mem::take(&mut self.word);
            let whole = std::str::from_utf8(&word).ok().filter(|_| !self.word_is_lost);
            self.end_text(whole, sink);
            self.word = word;
        }
        &rest[length + 1..]
    }

    /// Reads on in a number; returns what follows.
    fn number<'p>(&mut self, rest: &'p [u8], sink: &mut impl Sink) -> &'p [u8] {
        let goes_on = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E');
        let length = rest.iter().take_while(|byte| goes_on(byte)).count();
        self.keep(&rest[..length]);
        if length < rest.len() {
            self.end_number(sink);
        }
        &rest[length..]
    }

    fn tell(&mut self, piece: &[u8], sink: &mut impl Sink) {
        self.keep(piece);
        self.pass_on(piece, sink);
    }

    fn pass_on(&mut self, piece: &[u8], sink: &mut impl Sink) {
        if self.within == Within::Text && self.deeper == 0 && !piece.is_empty() {
            sink.piece(piece);
        }
    }

    /// The key or text has ended; `word` is the whole of it, if it is short and has no escapes.
    fn end_text(&mut self, word: Option<&str>, sink: &mut impl Sink) {
        let is_key = std::mem::take(&mut self.within) == Within::Key;
        if self.deeper > 0 {
            return;
        }
        if !is_key {
            sink.end(&self.path, word);
            return;
        }
        let start = self.around.last().map_or(0, |(_, length)| *length);
        self.path.truncate(start);
        if start > 0 {
            self.path.push('.');
        }
        self.path.push_str(word.unwrap_or("?"));
    }

    fn end_number(&mut self, sink: &mut impl Sink) {
        self.within = Within::Nothing;
        if let Ok(number) = std::str::from_utf8(&self.word)
            && self.deeper == 0
            && !self.word_is_lost
        {
            sink.number(&self.path, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    /// Everything that is told, on lines.
    #[derive(Default)]
    struct Told {
        lines: String,
        text: Vec<u8>,
    }

    impl Sink for Told {
        fn number(&mut self, path: &str, number: &str) {
            writeln!(self.lines, "{path} = {number}").unwrap();
        }

        fn begin(&mut self, _: &str) {
            self.text.clear();
        }

        fn piece(&mut self, piece: &[u8]) {
            self.text.extend_from_slice(piece);
        }

        fn end(&mut self, path: &str, word: Option<&str>) {
            let text = String::from_utf8_lossy(&self.text);
            assert!(word.is_none_or(|word| word == text));
            let mark = if word.is_some() { "" } else { " (no word)" };
            writeln!(self.lines, "{path} = {text:.70}{mark}").unwrap();
        }

        fn element(&mut self, path: &str) {
            writeln!(self.lines, "{path} +1").unwrap();
        }
    }

    fn told<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
        let (mut reader, mut told) = (Reader::default(), Told::default());
        for piece in pieces {
            reader.feed(piece, &mut told);
            assert!(reader.word.len() <= WORD_BYTES_MAX && reader.around.len() <= DEPTH_MAX);
        }
        told.lines
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let mut expected = expected.join("\n");
        expected.push('\n');
        assert_eq!(told([text.as_bytes()]), expected, "{text} at once");
        assert_eq!(told(text.as_bytes().chunks(1)), expected, "{text} byte by byte");
    }

    #[test]
    fn each_value_is_told_with_its_path() {
        check(
            r#"{"a":{"b":1,"c":[2,{"d":-3.5e+2},"x"]},"e":"y","f":null,"g":true,"h":4}"#,
            &[
                "a.b = 1",
                "a.c[] = 2",
                "a.c[] +1",
                "a.c[].d = -3.5e+2",
                "a.c[] = x",
                "e = y",
                "h = 4",
            ],
        );
        check(r#"[{"a":1},{"a":2}]"#, &["[] +1", "[].a = 1", "[] +1", "[].a = 2"]);
        check("{\"a\":1}\n{\"a\":2}\n", &["a = 1", "a = 2"]);
        check(r#" { "a" : [ [ 1 , 2 ] ] } "#, &["a[][] = 1", "a[][] = 2"]);
    }

    #[test]
    fn texts_may_be_long_and_have_escapes() {
        check(r#"{"a":"say \"hi\" \\","b":1}"#, &[r#"a = say \"hi\" \\ (no word)"#, "b = 1"]);
        let long = "x".repeat(200);
        let shown = format!("a = {} (no word)", "x".repeat(70));
        check(&format!(r#"{{"a":"{long}","{long}":1,"b":2}}"#), &[&shown, "? = 1", "b = 2"]);
        check(r#"{"a":"","b":""}"#, &["a = ", "b = "]);
    }

    #[test]
    fn what_lies_too_deep_is_passed_over() {
        let deep = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        let path = vec!["a"; DEPTH_MAX].join(".");
        check(&deep(DEPTH_MAX), &[&format!("{path} = 1")]);
        check(&format!("[{},2]", deep(DEPTH_MAX)), &["[] +1", "[] = 2"]);
        check(&format!(r#"{{"a":{},"b":{{"c":2}}}}"#, deep(100)), &["b.c = 2"]);
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            bytes in "([\\[\\]{}:,\"\\\\]|[0-9]{1,3}|\"[a-c]{0,2}\":?|é| ){0,40}",
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let bytes = bytes.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
            prop_assert_eq!(told(pieces), told([bytes]));
        }

        #[test]
        fn any_bytes_are_taken(bytes: Vec<u8>) {
            told([bytes.as_slice()]);
        }
    }
}
