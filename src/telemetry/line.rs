//! How a line of the log looks where a program reads it: as JSON, or as plain text.
//!
//! Each request is a line of some twenty fields, so that writing one is part of a call's way. The formats are those of
//! `tracing_subscriber::fmt`, written without its general serializer, which takes five times as long.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::DateTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::Format;

/// What most lines need.
const USUAL_BYTES: usize = 768;

thread_local! {
    static LINE: RefCell<String> = RefCell::new(String::with_capacity(USUAL_BYTES));
    static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

/// Writes events as lines.
pub(super) struct Line(pub(super) Format);

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        LINE.with_borrow_mut(|line| {
            line.clear();
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let metadata = event.metadata();
            match self.0 {
                Format::Json => {
                    line.push_str("{\"timestamp\":\"");
                    push_instant(line, since.as_secs(), since.subsec_micros());
                    line.push_str("\",\"level\":\"");
                    line.push_str(metadata.level().as_str());
                    line.push('"');
                    event.record(&mut Json(line));
                    line.push_str(",\"target\":\"");
                    line.push_str(metadata.target());
                    line.push_str("\"}\n");
                }
                Format::Text => {
                    push_instant(line, since.as_secs(), since.subsec_micros());
                    // As wide as the longest level, so that what follows stands in a column.
                    write!(line, " {:>5} ", metadata.level().as_str())?;
                    line.push_str(metadata.target());
                    line.push(':');
                    event.record(&mut Text(line));
                    line.push('\n');
                }
            }
            writer.write_str(line)
        })
    }
}

/// An instant as RFC 3339 writes it, with microseconds. The seconds are written once for all lines of a second.
fn push_instant(line: &mut String, seconds: u64, micros: u32) {
    SECOND.with_borrow_mut(|(known, text)| {
        if *known != seconds {
            let instant = i64::try_from(seconds).ok().and_then(|s| DateTime::from_timestamp(s, 0));
            *text = instant.unwrap_or_default().format("%Y-%m-%dT%H:%M:%S").to_string();
            *known = seconds;
        }
        line.push_str(text);
    });
    let mut digits = *b".000000Z";
    let mut rest = micros;
    for digit in digits[1..7].iter_mut().rev() {
        *digit += u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    line.push_str(std::str::from_utf8(&digits).unwrap_or_default());
}

/// Fields of a JSON object that has begun.
struct Json<'a>(&'a mut String);

impl Json<'_> {
    fn name(&mut self, field: &Field) {
        self.0.push_str(",\"");
        self.0.push_str(field.name());
        self.0.push_str("\":");
    }

    fn value(&mut self, field: &Field, value: impl fmt::Display) {
        self.name(field);
        // Writing to a String doesn't fail, here and below.
        let _ = write!(self.0, "{value}");
    }
}

impl Visit for Json<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        self.0.push('"');
        push_escaped(self.0, value);
        self.0.push('"');
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.name(field);
        self.0.push('"');
        let _ = write!(Escaping(self.0), "{value:?}");
        self.0.push('"');
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.value(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.value(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.value(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for what is no number.
        if value.is_finite() { self.value(field, value) } else { self.record_debug(field, &value) }
    }
}

/// Text that goes into a JSON string.
struct Escaping<'a>(&'a mut String);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        push_escaped(self.0, text);
        Ok(())
    }
}

fn push_escaped(line: &mut String, text: &str) {
    let is_special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    if !text.as_bytes().iter().any(is_special) {
        line.push_str(text);
        return;
    }
    for character in text.chars() {
        match character {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            control if u32::from(control) < 0x20 => {
                let _ = write!(line, "\\u{:04x}", u32::from(control));
            }
            other => line.push(other),
        }
    }
}

/// The message, and fields as `name=value`. Control characters are escaped, so that an event stays one line.
struct Text<'a>(&'a mut String);

impl Text<'_> {
    fn value(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.0.push(' ');
        if field.name() != "message" {
            self.0.push_str(field.name());
            self.0.push('=');
        }
        let _ = OneLine(self.0).write_fmt(value);
    }
}

impl Visit for Text<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.value(field, format_args!("{value}"));
        } else {
            self.value(field, format_args!("{value:?}"));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.value(field, format_args!("{value:?}"));
    }
}

struct OneLine<'a>(&'a mut String);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !text.bytes().any(|byte| byte.is_ascii_control()) {
            self.0.push_str(text);
            return Ok(());
        }
        for character in text.chars() {
            if character.is_control() {
                write!(self.0, "{}", character.escape_default())?;
            } else {
                self.0.push(character);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(format: Format, log: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .event_format(Line(format))
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn events() {
        let error = io::Error::other("a \"quoted\"\nline");
        tracing::info!(target: "a::b", text = "é \\ \u{1}", number = 7_u64, signed = -7_i64, is = true, share = 0.5,
            none = None::<&str>, %error, "{} {}", "GET", "/\t");
    }

    #[test]
    fn a_line_of_json_is_one_object() {
        let line = written(Format::Json, events);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        let mut value: Value = serde_json::from_str(&line).unwrap();
        let timestamp = value["timestamp"].take();
        DateTime::parse_from_rfc3339(timestamp.as_str().unwrap()).unwrap();
        assert_eq!(
            value,
            json!({
                "timestamp": null, "level": "INFO", "target": "a::b", "message": "GET /\t",
                "text": "é \\ \u{1}", "number": 7, "signed": -7, "is": true, "share": 0.5,
                "error": "a \"quoted\"\nline",
            })
        );
    }

    #[test]
    fn a_line_of_text_is_one_line() {
        let line = written(Format::Text, events);
        let (timestamp, rest) = line.split_once("  ").unwrap();
        DateTime::parse_from_rfc3339(timestamp).unwrap();
        assert_eq!(
            rest,
            "INFO a::b: GET /\\t text=\"é \\\\ \\u{1}\" number=7 signed=-7 is=true share=0.5 \
             error=a \"quoted\"\\nline\n"
        );
    }

    #[test]
    fn an_instant_has_six_decimals() {
        let mut line = String::new();
        push_instant(&mut line, 1_700_000_000, 42);
        assert_eq!(line, "2023-11-14T22:13:20.000042Z");
    }
}
