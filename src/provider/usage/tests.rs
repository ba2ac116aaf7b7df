//! Answers as providers send them, in `tests/fixtures/usage`: each file begins with what is to be read out of it.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::seen::millis;
use super::*;

/// One answer, and what it reports.
struct Fixture {
    path: PathBuf,
    dialect: Dialect,
    operation: Operation,
    content_type: String,
    expected: String,
    body: Vec<u8>,
}

impl Fixture {
    fn read(path: PathBuf) -> Self {
        let bytes = fs::read(&path).unwrap();
        let end = memchr::memmem::find(&bytes, b"\n\n").unwrap();
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut fields = head.lines().map(|line| line.split_once(": ").unwrap());
        let mut field = |name: &str| {
            let (found, value) = fields.next().unwrap();
            assert_eq!(found, name, "{}", path.display());
            value.to_owned()
        };
        let (dialect, operation) = (field("dialect"), field("operation"));
        let (content_type, expected) = (field("content-type"), field("reports"));
        let (dialect, operation) = (dialect.parse().unwrap(), operation.parse().unwrap());
        let body = bytes[end + 2..].to_vec();
        Self { path, dialect, operation, content_type, expected, body }
    }

    fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/usage");
        let mut files: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(Self::read).collect()
    }

    /// What is read out of the body, cut at `cuts`, as text.
    fn reported(&self, cuts: &[usize]) -> String {
        let mut reader = self.reader();
        let mut from = 0;
        for &cut in cuts.iter().chain([&self.body.len()]) {
            reader.feed(&self.body[from..cut]);
            from = cut;
        }
        told(&reader.report())
    }

    fn reader(&self) -> UsageReader {
        UsageReader::for_response(self.dialect, self.operation, Some(&self.content_type))
    }
}

fn told(report: &Report) -> String {
    let Report { usage, tells_tokens, tells_seconds, is_job, words, .. } = report;
    let complete = match (tells_tokens, tells_seconds) {
        (true, true) => "tokens and seconds told",
        (true, false) => "tokens told",
        (false, true) => "seconds told",
        (false, false) => "nothing told",
    };
    let job = if *is_job { ", a job" } else { "" };
    let words = words.map_or("unreadable".to_owned(), |words| format!("{words} words counted"));
    format!("{usage}; {complete}{job}; {words}")
}

/// With `BLESS=1` the files are given what is read out of them.
#[test]
fn each_answer_reports_what_its_file_says() {
    let fixtures = Fixture::all();
    assert!(fixtures.len() >= 15);
    let mut different = Vec::new();
    for fixture in &fixtures {
        let reported = fixture.reported(&[]);
        if reported == fixture.expected {
            continue;
        }
        if std::env::var_os("BLESS").is_some() {
            let text = fs::read(&fixture.path).unwrap();
            let said = format!("reports: {}", fixture.expected);
            let at = memchr::memmem::find(&text, said.as_bytes()).unwrap();
            let blessed = format!("reports: {reported}");
            let new = [&text[..at], blessed.as_bytes(), &text[at + said.len()..]].concat();
            fs::write(&fixture.path, new).unwrap();
        }
        different.push(format!("{}: {reported}", fixture.path.display()));
    }
    assert!(different.is_empty(), "other than the files say:\n{}", different.join("\n"));
}

#[test]
fn byte_by_byte_it_is_the_same() {
    for fixture in Fixture::all() {
        let every: Vec<usize> = (0..fixture.body.len()).collect();
        assert_eq!(fixture.reported(&every), fixture.expected, "{}", fixture.path.display());
    }
}

#[test]
fn any_line_end_and_any_join_of_data_is_the_same() {
    for fixture in Fixture::all().into_iter().filter(|it| it.content_type == "text/event-stream") {
        let text = String::from_utf8(fixture.body.clone()).unwrap();
        let joined = text.replace("\"usage\":{", "\"usage\":\ndata:{");
        for changed in [text.replace('\n', "\r\n"), text.replace('\n', "\r"), joined] {
            let changed = Fixture {
                body: changed.into_bytes(),
                path: fixture.path.clone(),
                ..Fixture::read(fixture.path.clone())
            };
            assert_eq!(changed.reported(&[]), fixture.expected, "{}", fixture.path.display());
        }
    }
}

#[test]
fn nothing_is_read_out_of_what_is_lost() {
    for fixture in Fixture::all() {
        let mut reader = fixture.reader();
        reader.lose();
        reader.feed(&fixture.body);
        assert_eq!(told(&reader.report()), "nothing; nothing told; unreadable");
    }
}

#[test]
fn a_large_answer_is_read_without_being_kept() {
    let body = format!(
        r#"{{"data":[{{"b64_json":"{}"}}],"usage":{{"input_tokens":5,"output_tokens":1056}}}}"#,
        "A".repeat(8 << 20)
    );
    let stream = format!(
        "event: image_generation.completed\ndata: {{\"type\":\"image_generation.completed\",{}\n\n",
        &body[1..]
    );
    for (kind, body) in [("application/json", body), ("text/event-stream", stream)] {
        let dialect = Dialect::OpenAi;
        let mut reader = UsageReader::for_response(dialect, Operation::Image, Some(kind));
        body.as_bytes().chunks(16 << 10).for_each(|piece| reader.feed(piece));
        let report = reader.report();
        assert!(report.tells_tokens);
        assert_eq!(report.usage[Unit::Input], 5);
        assert_eq!(report.usage[Unit::ImageOutput], 1056);
        assert!(report.usage[Unit::Image] >= 1);
    }
}

#[test]
fn numbers_are_read_without_a_float() {
    for (number, expected) in [
        ("0", Some(0)),
        ("12", Some(12_000)),
        ("8.470000267028809", Some(8_470)),
        ("0.5", Some(500)),
        ("0.0009", Some(0)),
        ("-1", None),
        ("1e3", None),
        ("", None),
        ("99999999999999999999", None),
        ("18446744073709551615", None),
    ] {
        assert_eq!(millis(number), expected, "{number}");
    }
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        which: prop::sample::Index,
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 1..12),
    ) {
        let fixtures = Fixture::all();
        let fixture = which.get(&fixtures);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(fixture.body.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(fixture.reported(&cuts), fixture.expected.as_str());
    }
}
