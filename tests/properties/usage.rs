//! What an answer is read to report: the same in whatever pieces it comes, and never more than it says.

use creditgate::credit::Unit;
use creditgate::provider::{Dialect, Operation, Report, UsageReader};

use super::{pieces, split_once};

/// `bytes` are as a file in `tests/fixtures/usage`: lines that tell dialect, operation and content type, a blank one, and
/// the answer.
pub fn check(bytes: &[u8]) {
    let (head, body) = split_once(bytes, b"\n\n");
    let field =
        |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let any = usize::from(bytes.first().copied().unwrap_or_default());
    let dialect = field("dialect: ").parse().unwrap_or(Dialect::ALL[any % Dialect::ALL.len()]);
    let operation =
        field("operation: ").parse().unwrap_or(Operation::ALL[any % Operation::ALL.len()]);
    let kind = field("content-type: ");
    let read = |pieces: Vec<&[u8]>| {
        let mut reader = UsageReader::for_response(dialect, operation, Some(kind));
        for piece in pieces {
            reader.feed(piece);
        }
        reader.report()
    };
    let whole = read(vec![body]);
    for seed in [0, 1, u8::try_from(body.len() % 256).unwrap_or_default()] {
        assert_eq!(read(pieces(body, seed)), whole, "in pieces of {seed}");
    }
    // What Amazon wraps is written in Base64.
    let is_wrapped = operation == Operation::Invoke
        && kind.to_ascii_lowercase().contains("application/vnd.amazon.eventstream");
    // A character of four bytes is two tokens, and its first byte tells: without the others there are two for a byte.
    let is_text = !is_wrapped && std::str::from_utf8(body).is_ok();
    let most = body.len() as u64 * if is_text { 1 } else { 2 };
    assert!(whole.words.is_none_or(|words| words <= most), "{whole:?}");
    if !is_wrapped {
        check_bounds(&whole, dialect, body);
    }
}

/// Every number is one that is written, or less; what is counted are things that are there. Gemini counts what tools have
/// read beside the prompt: its input is two numbers.
fn check_bounds(report: &Report, dialect: Dialect, body: &[u8]) {
    let runs = body.split(|byte| !byte.is_ascii_digit());
    let numbers = runs.filter_map(|run| std::str::from_utf8(run).ok()?.parse::<u64>().ok());
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    let number = |place: usize| numbers.get(place).copied().unwrap_or_default();
    let most = number(0);
    let things = body.iter().filter(|byte| matches!(byte, b'{' | b'"')).count() as u64;
    for (unit, amount) in report.usage.amounts() {
        let bound = match unit {
            Unit::Image => things,
            // Told as a number, or counted by what was searched for.
            Unit::Search => most.max(things),
            Unit::AudioSecond => most.saturating_add(1).saturating_mul(1_000),
            Unit::Input if matches!(dialect, Dialect::Gemini | Dialect::Vertex) => {
                most.saturating_add(number(1))
            }
            _ => most,
        };
        assert!(amount <= bound, "{unit:?}: {amount}, but {bound} is the most that is written");
    }
}
