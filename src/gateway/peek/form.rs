//! The fields `model` and `stream` of a multipart form that lies in memory.
//!
//! Providers read forms with readers that forgive more than this one: another line end, the last of two boundaries or
//! names. A form that is read in two ways could name one model here and another one there, so it is refused.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::CONTENT_DISPOSITION;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyDataStream, Full};
use multer::{Constraints, Multipart, SizeLimit};

use super::{MODEL_BYTES_MAX, Malformed, Peek, checked_model};

/// `true` and `false` are shorter; so that a field of any other size is the wrong type rather than a fault.
const STREAM_BYTES_MAX: u64 = 64;

pub(super) fn peek(content_type: &str, body: &Bytes) -> Result<Peek, Malformed> {
    // The whole body is here, so the future never waits: one poll carries it to its end.
    match pin!(read(content_type, body)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(peek) => peek,
        Poll::Pending => Err(Malformed::NotAForm),
    }
}

async fn read(content_type: &str, body: &Bytes) -> Result<Peek, Malformed> {
    let boundary = multer::parse_boundary(content_type).map_err(|_| Malformed::NotAForm)?;
    if !is_only(content_type, "boundary") || !has_plain_lines(&boundary, body) {
        return Err(Malformed::NotAForm);
    }
    // One byte above the limit, so that the name that is too long can be told from a broken form.
    let limits = SizeLimit::new()
        .for_field("model", MODEL_BYTES_MAX as u64 + 1)
        .for_field("stream", STREAM_BYTES_MAX);
    let stream = BodyDataStream::new(Full::<Bytes>::new(body.clone()));
    let mut form =
        Multipart::with_constraints(stream, boundary, Constraints::new().size_limit(limits));
    let (mut model, mut stream) = (None, None);
    while let Some(field) = form.next_field().await.map_err(|_| Malformed::NotAForm)? {
        if !is_plain(field.headers()) {
            return Err(Malformed::NotAForm);
        }
        let (name, place) = match field.name() {
            Some("model") => ("model", &mut model),
            Some("stream") => ("stream", &mut stream),
            Some(_) | None => continue,
        };
        let value = field.bytes().await.map_err(|error| match error {
            multer::Error::FieldSizeExceeded { .. } if name == "model" => Malformed::ModelTooLong,
            multer::Error::FieldSizeExceeded { .. } => Malformed::WrongType { field: "stream" },
            _ => Malformed::NotAForm,
        })?;
        let value =
            std::str::from_utf8(&value).map_err(|_| Malformed::WrongType { field: name })?;
        if place.replace(value.to_owned()).is_some() {
            return Err(Malformed::DuplicateField { field: name });
        }
    }
    let model = model.map(|model| checked_model(&model)).transpose()?;
    let stream = match stream.map(|stream| stream.to_ascii_lowercase()).as_deref() {
        Some("true" | "1") => true,
        Some("false" | "0" | "") | None => false,
        Some(_) => return Err(Malformed::WrongType { field: "stream" }),
    };
    Ok(Peek { model, others: Vec::new(), stream })
}

/// Whether a boundary stands only where every reader looks for it, at the start of a line, and it and the heads of the parts
/// have the line ends that are prescribed (RFC 2046 section 5.1): a reader that takes others would see other parts or heads.
/// Nor is there anything before the first boundary and behind the last, where some readers look for parts as well.
fn has_plain_lines(boundary: &str, body: &[u8]) -> bool {
    let line = format!("--{boundary}");
    let mut found = memchr::memmem::find_iter(body, line.as_bytes());
    let is_plain = |at: usize| {
        let (before, after) = (&body[..at], &body[at + line.len()..]);
        let begins = before.is_empty() || before.ends_with(b"\r\n");
        // A boundary right behind a head is one only for readers to whom the head's last line end is the value's as well.
        let has_part =
            || plain_part(after).is_some_and(|value| !value.starts_with(line.as_bytes()));
        let rest = after.strip_prefix(b"--").map(<[u8]>::trim_ascii);
        begins && rest.map_or_else(has_part, <[u8]>::is_empty)
    };
    body.trim_ascii_start().starts_with(line.as_bytes()) && found.all(is_plain)
}

/// What follows the head of a part, given from behind its boundary on; nothing if the head does not end, or if one of its
/// lines ends with less than both characters.
fn plain_part(part: &[u8]) -> Option<&[u8]> {
    let end = memchr::memmem::find(part, b"\r\n\r\n")?;
    let mut lines = part[..end].split(|byte| *byte == b'\n');
    // Of each line but the last, which ends before `end`, the line feed is gone. Nothing stands behind the boundary.
    let last = lines.next_back().unwrap_or_default();
    let is_whole = |line: &[u8]| line.ends_with(b"\r") && !line[..line.len() - 1].contains(&b'\r');
    let is_plain = part.starts_with(b"\r\n") && lines.all(is_whole) && !last.contains(&b'\r');
    is_plain.then(|| &part[end + 4..])
}

/// Whether a part has one name, which is written as it is.
fn is_plain(headers: &HeaderMap) -> bool {
    let mut dispositions = headers.get_all(CONTENT_DISPOSITION).iter();
    let (first, surplus) = (dispositions.next(), dispositions.next());
    // What is not ASCII may stand in the name of a file.
    let text = first.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let mut encodings = headers.get_all("content-transfer-encoding").iter();
    let as_it_is = |value: &HeaderValue| {
        ["7bit", "8bit", "binary"]
            .iter()
            .any(|one| value.as_bytes().eq_ignore_ascii_case(one.as_bytes()))
    };
    surplus.is_none() && text.is_none_or(|text| is_only(&text, "name")) && encodings.all(as_it_is)
}

/// Whether a header has the parameter `name` at most once, and not in the extended spelling of RFC 2231, which may say otherwise.
fn is_only(header: &str, name: &str) -> bool {
    let (mut in_text, mut escaped, mut names) = (false, false, Vec::new());
    let mut start = None;
    for (at, byte) in header.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b';' if !in_text => start = Some(at + 1),
            b'=' if !in_text => names.extend(start.take().map(|start| header[start..at].trim())),
            _ => {}
        }
    }
    let means = |found: &&&str| {
        let found = found.split('*').next().unwrap_or_default().trim_end();
        found.eq_ignore_ascii_case(name)
    };
    let found: Vec<_> = names.iter().filter(means).collect();
    !in_text && found.len() <= 1 && found.iter().all(|found| !found.contains('*'))
}
