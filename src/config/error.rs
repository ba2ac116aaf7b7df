//! What is said of a mistake: where it is, what it is, and what was probably meant.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("the configuration {} can't be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file says something that has no meaning.
    #[error("{0}")]
    File(Mistake),
    /// An environment variable does.
    #[error("the environment variable {name}: {message}")]
    Environment {
        /// The variable.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// File and environment together leave no port for one of the listeners.
    #[error(
        "`listen` and `admin_listen` are both {0}: assistants must not reach the admin API; change one of them, in the \
         file or by CREDITGATE_LISTEN or CREDITGATE_ADMIN_LISTEN"
    )]
    SameListener(SocketAddr),
    /// File and environment together ask for calls without a hold on a ledger that is never away.
    #[error(
        "`on_outage = \"allow\"` needs a Redis ledger: without the file of the embedded one a gateway can do nothing; \
         write `on_outage = \"refuse\"`, or set `ledger` or CREDITGATE_LEDGER to the address of a Redis server"
    )]
    NothingToAllow,
    /// The archive is for Redis.
    #[error(
        "[archive] has a `folder`, but the ledger is {0}, which keeps every entry itself: only a Redis ledger is \
         archived; leave `folder` out, or set `ledger` or CREDITGATE_LEDGER to the address of a Redis server"
    )]
    NothingToArchive(String),
}

/// A mistake in a file, with the line that it is in.
#[derive(Debug)]
pub struct Mistake {
    path: PathBuf,
    message: String,
    hint: Option<String>,
    place: Option<Place>,
}

/// A mistake before anyone knows which file it is in.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) hint: Option<String>,
    pub(super) span: Option<Range<usize>>,
}

#[derive(Debug)]
struct Place {
    /// From 1.
    line: usize,
    /// In characters, from 1.
    column: usize,
    /// The line, with secrets covered.
    text: String,
    /// Characters that are marked, at least 1.
    marked: usize,
}

impl Fault {
    pub(super) fn in_file(self, path: &Path, text: &str) -> ConfigError {
        ConfigError::File(Mistake {
            path: path.to_owned(),
            message: self.message,
            hint: self.hint,
            place: self.span.map(|span| Place::of(span, text)),
        })
    }
}

impl From<toml::de::Error> for Fault {
    fn from(error: toml::de::Error) -> Self {
        let (message, hint) = reworded(error.message());
        Self { message, hint, span: error.span() }
    }
}

/// ```text
/// gateway.toml:3:1: unknown key `lisen`
///   |
/// 3 | lisen = "0.0.0.0:80"
///   | ^^^^^
///   = did you mean `listen`?
/// ```
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let Some(Place { line, column, text, marked }) = &self.place else {
            write!(f, "{path}: {}", self.message)?;
            return self.hint.iter().try_for_each(|hint| write!(f, "\n  = {hint}"));
        };
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let before = " ".repeat(column - 1);
        writeln!(f, "{path}:{line}:{column}: {}", self.message)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {text}")?;
        write!(f, "{margin} | {before}{}", "^".repeat(*marked))?;
        self.hint.iter().try_for_each(|hint| write!(f, "\n{margin} = {hint}"))
    }
}

impl Place {
    fn of(span: Range<usize>, text: &str) -> Self {
        let start = text.floor_char_boundary(span.start);
        let end = text.floor_char_boundary(span.end).max(start);
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |length| start + length);
        let line = text[line_start..line_end].trim_end_matches('\r');
        let shown = without_secrets(line);
        let length = shown.chars().count();
        // What is covered has no columns, which would tell its length.
        let column = text[line_start..start].chars().count().min(length) + 1;
        // A mistake of many lines is marked to the end of its first; a covered secret is not measured.
        let marked = text[start..end.min(line_end)].trim_end().chars().count();
        let room = length.saturating_sub(column - 1);
        Self {
            line: before.matches('\n').count() + 1,
            column,
            // One tab is one character wide, like the space below it.
            text: shown.replace(|character: char| character.is_control(), " "),
            marked: marked.min(room).max(1),
        }
    }
}

/// The line without what may be a secret: what is given to `key`, `admin_token` or `…_password` other than a table of names, and the
/// user and password of an address.
fn without_secrets(line: &str) -> String {
    for (equals, _) in line.match_indices('=') {
        let name = line[..equals].trim_end().trim_end_matches(['"', '\'']);
        let secret = name.ends_with("key")
            || ["admin_token", "password"].iter().any(|end| name.ends_with(end));
        if secret && !line[equals + 1..].trim_start().starts_with('{') {
            return format!("{}= ***", &line[..equals]);
        }
    }
    match (line.find("://"), line.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}***{}", &line[..scheme + 3], &line[at..])
        }
        _ => line.to_owned(),
    }
}

/// The parser's sentence in our words, and what was probably meant.
///
/// The sentences are serde's, which has written them the same way for years; one that changes is shown as it is.
fn reworded(message: &str) -> (String, Option<String>) {
    if let Some((name, known)) = unexpected(message, "unknown field `") {
        let hint = closest(name, &known)
            .map_or_else(|| known_here(&known), |key| format!("did you mean `{key}`?"));
        return (format!("unknown key `{name}`"), Some(hint));
    }
    if let Some((name, known)) = unexpected(message, "unknown variant `") {
        let choices: Vec<_> = known.iter().map(|choice| format!("\"{choice}\"")).collect();
        let hint = closest(name, &known).map(|choice| format!("did you mean \"{choice}\"?"));
        return (format!("expected {}", choices.join(" or ")), hint);
    }
    if let Some(name) = message.strip_prefix("missing field `") {
        return (format!("the key `{name} is missing here"), None);
    }
    if let Some((found, expected)) = mismatch(message) {
        // What was found is not repeated: it may be a secret at the wrong place, and its line is shown anyway.
        let quotes = found.starts_with("floating point") && expected.contains("decimals");
        let hint = quotes.then(|| "write it in quotes".to_owned());
        return (format!("expected {expected}"), hint);
    }
    (message.to_owned(), None)
}

/// What was found and what was expected, out of a sentence of serde's.
fn mismatch(message: &str) -> Option<(&str, &str)> {
    let rest = message.strip_prefix("invalid type: ").or(message.strip_prefix("invalid value: "))?;
    let (found, expected) = rest.rsplit_once(", expected ")?;
    // The names of our types mean nothing to an operator.
    let table = expected.starts_with("struct ") || expected == "a map";
    Some((found, if table { "a table of keys" } else { expected }))
}

fn known_here(known: &[&str]) -> String {
    let known: Vec<_> = known.iter().map(|key| format!("`{key}`")).collect();
    match known.as_slice() {
        [] => "no key is known here".to_owned(),
        [only] => format!("the only key here is {only}"),
        several => format!("the keys here are {}", several.join(", ")),
    }
}

/// The name that was not expected and those that were, out of a sentence of serde's.
fn unexpected<'m>(message: &'m str, start: &str) -> Option<(&'m str, Vec<&'m str>)> {
    let (name, rest) = message.strip_prefix(start)?.split_once("`, ")?;
    Some((name, rest.split('`').skip(1).step_by(2).collect()))
}

/// The known name that differs least from `name`, if that is little: a third of its letters, at least one.
fn closest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let allowed = (name.chars().count() / 3).max(1);
    let distances = known.iter().map(|key| (edit_distance(name, key), *key));
    distances.min_by_key(|(distance, _)| *distance).filter(|(d, _)| *d <= allowed).map(|(_, k)| k)
}

/// How many letters must be added, removed or changed to make one text of the other (Levenshtein).
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, other) in to.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}
