//! The numbers and words of an answer, as they come, and the work that they come to.

use super::{Mention, Number, Shape};
use crate::credit::{Unit, Usage};
use crate::provider::json::Sink;
use crate::provider::tokens::Tally;

/// What the documents of one answer have told so far.
#[derive(Debug)]
pub(super) struct Seen {
    shape: &'static Shape,
    all_input: Option<u64>,
    all_output: Option<u64>,
    special: [Option<u64>; Unit::ALL.len()],
    beside: [Option<u64>; Unit::ALL.len()],
    /// What was counted among two kinds of special ones, and is to be counted among one.
    twice: [u64; Unit::ALL.len()],
    images: u64,
    searches: Searches,
    pub(super) is_job: bool,
    /// The id of the answer, where it is a word.
    pub(super) id: Option<String>,
    pub(super) words: Tally,
    /// What this document says that it is.
    kind: String,
    /// The last word that said of what kind the tokens are that follow.
    modality: String,
    /// The text that is being read was generated.
    in_output: bool,
}

impl Seen {
    pub(super) fn new(shape: &'static Shape) -> Self {
        Self {
            shape,
            all_input: None,
            all_output: None,
            special: [None; Unit::ALL.len()],
            beside: [None; Unit::ALL.len()],
            twice: [0; Unit::ALL.len()],
            images: 0,
            searches: Searches::default(),
            is_job: false,
            id: None,
            words: Tally::default(),
            kind: String::new(),
            modality: String::new(),
            in_output: false,
        }
    }

    pub(super) fn shape(&self) -> &'static Shape {
        self.shape
    }

    fn of(&self, unit: Unit) -> u64 {
        let counted = self.special[unit as usize].unwrap_or_default();
        counted.saturating_sub(self.twice[unit as usize])
    }

    pub(super) fn knows_input(&self) -> bool {
        self.all_input.is_some()
    }

    pub(super) fn tells_seconds(&self) -> bool {
        self.special[Unit::AudioSecond as usize].is_some()
    }

    pub(super) fn tells_pieces(&self) -> bool {
        [Unit::Search, Unit::Page].iter().any(|unit| self.special[*unit as usize].is_some())
    }

    pub(super) fn tells_tokens(&self) -> bool {
        self.shape.answers_in.map_or(self.all_input, |_| self.all_output).is_some()
    }

    /// The numbers, each counting what no other counts. Special tokens that are more than all are taken as they are.
    pub(super) fn usage(&self) -> Usage {
        let special_input =
            [Unit::CachedInput, Unit::CacheWrites, Unit::AudioInput, Unit::ImageInput];
        let special_output = [Unit::Output, Unit::Reasoning, Unit::AudioOutput, Unit::ImageOutput];
        let mut usage = Usage::NOTHING;
        let mut rest = |all: Option<u64>, special: [Unit; 4]| {
            special.into_iter().fold(all.unwrap_or_default(), |rest, unit| {
                usage[unit] = self.of(unit);
                rest.saturating_sub(usage[unit])
            })
        };
        let (input, output) =
            (rest(self.all_input, special_input), rest(self.all_output, special_output));
        usage.add(Unit::Input, input);
        usage.add(self.shape.answers_in.unwrap_or(Unit::Output), output);
        usage.add(Unit::AudioSecond, self.of(Unit::AudioSecond));
        usage.add(Unit::Image, self.images);
        let searches = self.of(Unit::Search).max(self.searches.counted(&self.kind));
        usage.add(Unit::Search, searches);
        usage.add(Unit::Page, self.of(Unit::Page));
        for (unit, beside) in Unit::ALL.into_iter().zip(self.beside) {
            usage.add(unit, beside.unwrap_or_default());
        }
        usage
    }
}

impl Sink for Seen {
    fn number(&mut self, path: &str, number: &str) {
        let Some(what) = (self.shape.number)(path, &self.modality) else { return };
        let Some(millis) = millis(number) else { return };
        let whole = Some(millis / 1_000);
        match what {
            Number::AllInput => self.all_input = whole,
            Number::AllOutput => self.all_output = whole,
            Number::Of(Unit::AudioSecond) => {
                self.special[Unit::AudioSecond as usize] = Some(millis);
            }
            Number::Of(unit) => self.special[unit as usize] = whole,
            Number::Beside(unit) => self.beside[unit as usize] = whole,
            Number::AlsoIn(unit) => self.twice[unit as usize] = millis / 1_000,
            Number::SearchesOfAKind => {
                self.searches.list(i64::try_from(millis / 1_000).unwrap_or(i64::MAX));
            }
        }
    }

    fn begin(&mut self, path: &str) {
        self.in_output = (self.shape.is_output)(path, &self.kind);
    }

    fn piece(&mut self, piece: &[u8]) {
        if self.in_output {
            self.words.feed(piece);
        }
    }

    fn end(&mut self, path: &str, word: Option<&str>) {
        if let Some(mention) = (self.shape.search)(path, word) {
            self.searches.note(mention);
        }
        match (path, word) {
            (path, Some(word)) if path.ends_with(".modality") => {
                word.clone_into(&mut self.modality);
            }
            ("type" | "object" | "event_type", Some(word)) => {
                word.clone_into(&mut self.kind);
                self.images += u64::from((self.shape.image)("", word));
            }
            (path, Some(word)) if self.id.is_none() && self.shape.id.contains(&path) => {
                self.id = Some(word.to_owned());
            }
            ("status", Some(word)) => self.is_job = matches!(word, "queued" | "in_progress"),
            _ => {}
        }
    }

    fn element(&mut self, path: &str) {
        if path == "[]" {
            self.searches.next_document("");
        }
        self.images += u64::from((self.shape.image)(path, &self.kind));
    }

    fn next_document(&mut self) {
        self.searches.next_document(&self.kind);
        // It says itself what it is.
        self.kind.clear();
    }
}

/// Searches that no number counts. A document may list all of them, and a later one all of them again; or it tells one.
#[derive(Debug, Default)]
struct Searches {
    /// Those of the last document that listed any.
    listed: i64,
    /// This document has listed some.
    lists: bool,
    /// Those of the documents before that told one each.
    told: i64,
    /// What this document tells.
    tells: i64,
}

/// What the event is called that tells of an item when it is done. The one at its beginning tells it too.
const ITEM_DONE: &str = "response.output_item.done";

impl Searches {
    fn note(&mut self, mention: Mention) {
        match mention {
            Mention::Listed => self.list(1),
            Mention::NotListed => self.list(-1),
            Mention::Told => self.tells += 1,
            Mention::NotTold => self.tells -= 1,
        }
    }

    fn list(&mut self, more: i64) {
        if !self.lists {
            (self.lists, self.listed) = (true, 0);
        }
        self.listed = self.listed.saturating_add(more);
    }

    /// All of them, where the document that is being read is of this kind.
    fn counted(&self, kind: &str) -> u64 {
        let told = if kind == ITEM_DONE { self.told + self.tells } else { self.told };
        let all = if self.listed > 0 { self.listed } else { told };
        u64::try_from(all).unwrap_or_default()
    }

    /// The document, which was of this kind, has ended.
    fn next_document(&mut self, kind: &str) {
        if kind == ITEM_DONE {
            self.told += self.tells;
        }
        (self.lists, self.tells) = (false, 0);
    }
}

/// A decimal number without a sign or an exponent, in thousandths; further decimals are cut off.
pub(super) fn millis(number: &str) -> Option<u64> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let thousandths: String = decimals.chars().chain("000".chars()).take(3).collect();
    let whole: u64 = whole.parse().ok()?;
    whole.checked_mul(1_000)?.checked_add(thousandths.parse().ok()?)
}
