//! Counts the tokens of a text by its bytes: what a provider will count, near enough to hold credits for it, and to
//! charge for work whose end nobody saw.
//!
//! No vocabulary: each model has its own, the common ones take tens of megabytes and a good part of a second to load,
//! and counting by them takes longer than all else that the gateway does with a call. Four characters are a token here,
//! which is what tokens come to in prose; in Chinese, Japanese and Korean four characters are three. Against the
//! vocabulary `o200k_base` this is between a fifth too little (JSON, tables) and a quarter too much.

/// The tokens of text that comes in pieces, as it stands in JSON between its quotes.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    quarters: u64,
    characters: u64,
    escape: Escape,
}

#[derive(Clone, Copy, Debug, Default)]
enum Escape {
    #[default]
    None,
    /// A backslash has come.
    Begun,
    /// `\u` has come; so many digits follow.
    Digits(u8),
}

impl Tally {
    /// Takes the next piece of a text.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        for &byte in piece {
            match (self.escape, byte) {
                (Escape::None, b'\\') => self.escape = Escape::Begun,
                (Escape::None, byte) => self.add(quarters(byte)),
                (Escape::Begun, b'u') => self.escape = Escape::Digits(4),
                (Escape::Begun, _) => {
                    self.escape = Escape::None;
                    self.add(1);
                }
                (Escape::Digits(left), digit) => {
                    // The first digit tells the alphabet, as the first byte does in UTF-8.
                    if left == 4 {
                        self.add(if digit == b'0' { 1 } else { 3 });
                    }
                    self.escape = if left > 1 { Escape::Digits(left - 1) } else { Escape::None };
                }
            }
        }
    }

    /// Adds the tokens of something that is no text.
    pub(super) fn add_tokens(&mut self, tokens: u64) {
        self.quarters = self.quarters.saturating_add(tokens.saturating_mul(4));
    }

    /// The tokens so far, rounded up.
    pub(super) fn tokens(&self) -> u64 {
        self.quarters.div_ceil(4)
    }

    /// The characters so far.
    pub(super) fn characters(&self) -> u64 {
        self.characters
    }

    fn add(&mut self, quarters: u64) {
        self.quarters = self.quarters.saturating_add(quarters);
        self.characters += u64::from(quarters > 0);
    }
}

/// Quarters of a token for which a character stands that begins with `byte`.
fn quarters(byte: u8) -> u64 {
    match byte {
        // The second to fourth byte of a character.
        0x80..=0xbf => 0,
        // Letters: Latin with and without accents, Greek, Cyrillic, Hebrew, Arabic, and those of India and Thailand.
        // What is in no text (0xf5 and above) is no better known than these.
        0..=0x7f | 0xc0..=0xe0 | 0xf5..=0xff => 1,
        // Mostly Chinese, Japanese and Korean.
        0xe1..=0xef => 3,
        // Mostly pictographs.
        0xf0..=0xf4 => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(text: &str) -> Tally {
        let (mut whole, mut bytes) = (Tally::default(), Tally::default());
        whole.feed(text.as_bytes());
        text.as_bytes().chunks(1).for_each(|byte| bytes.feed(byte));
        assert_eq!(whole.quarters, bytes.quarters, "{text}");
        assert_eq!(whole.characters, bytes.characters, "{text}");
        whole
    }

    /// What `o200k_base` counts, and how far from it this may be, in percent.
    #[test]
    fn tokens_are_near_those_of_a_vocabulary() {
        for (text, counted) in [
            (
                "Hello, I ordered a pair of shoes last week and they still haven't arrived. Could you please check where \
                 the parcel is? My order number is 48210-AB. If it can't be delivered before Friday, I'd like to cancel \
                 the order and get my money back. Thank you very much for your help!",
                63,
            ),
            (
                "Der Ausbau der Bahnstrecke verzögert sich erneut, weil die Genehmigungsbehörde zusätzliche Gutachten \
                 verlangt. Für die Reisenden heißt das: weiterhin überfüllte Züge, häufige Verspätungen und Umleitungen \
                 über längere Wege. Die Geschäftsführung äußerte sich gestern zurückhaltend und bat um Verständnis für \
                 die Maßnahmen.",
                70,
            ),
            (
                "今天早上城里下了一场大雨，许多街道被淹没。居民们不得不寻找其他路线，公共交通也出现了严重的延误。市政府的\
                 代表表示，后果将在几天之内得到处理，请大家耐心等待并注意安全。",
                62,
            ),
        ] {
            let tokens = tally(text).tokens();
            assert!(
                (counted * 3 / 4..=counted * 5 / 4).contains(&tokens),
                "{tokens} for {counted}"
            );
        }
    }

    #[test]
    fn an_escape_is_one_character() {
        for (text, characters, quarters) in [
            ("", 0, 0),
            ("abcd", 4, 4),
            (r#"a\n\"b"#, 4, 4),
            ("é", 1, 1),
            (r"\u00e9", 1, 1),
            ("雨", 1, 3),
            (r"\u96e8!", 2, 4),
            ("🎉", 1, 8),
        ] {
            let tally = tally(text);
            assert_eq!((tally.characters(), tally.quarters), (characters, quarters), "{text}");
        }
    }

    #[test]
    fn no_text_has_more_tokens_than_bytes() {
        for text in ["a", "é", "雨雨", "🎉", "a雨é🎉"] {
            assert!(tally(text).tokens() <= text.len() as u64, "{text}");
        }
    }
}
