//! One spelling for each path, so that the path that was classified is the path that is sent.
//!
//! Two servers that read one path differently are a hole: a call that looks free here and is work there. So
//! whatever can be spelled in two ways is brought to one, and whatever stays doubtful is refused. First the escapes
//! and dots are resolved ([`Spelled`]); then, once it is known which provider is asked, its dialect says how the path
//! begins ([`Root`]) and where a slash may be escaped. Knows no route.

use std::fmt;

use http::Method;

/// Longest path taken, in bytes.
const BYTES_MAX: usize = 2048;

/// What client libraries and base URLs put before a path once too often, such as `/v1`, may stand there so many times.
pub(super) const SURPLUS_MAX: usize = 2;

/// The bytes of a path with its escapes of plain characters decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spelled(String);

/// How a dialect has a path begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// Segments at the start that are dropped.
    pub dropped: usize,
    /// What stands there instead, such as `/v1`; perhaps nothing.
    pub put: &'static str,
}

/// A canonical path: absolute, with the beginning that its dialect gives it, no empty and no dot segment, no trailing
/// slash, no escape that could be a plain character, and upper-case hexadecimal digits in those that remain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path(String);

/// Why a path has no single reading. Each is answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("The path is longer than {BYTES_MAX} bytes; no route of the API is.")]
    TooLong,
    #[error("The path does not start with a slash; send an absolute path such as /v1/models.")]
    NotAbsolute,
    #[error(
        "The path contains a byte that a URL must escape; escape it as % and two hexadecimal digits."
    )]
    ForbiddenByte,
    #[error(
        "The path contains a % that is not followed by two hexadecimal digits; write it as %25."
    )]
    InvalidEscape,
    #[error("The path contains an escaped control character or backslash; remove it.")]
    ForbiddenEscape,
    #[error("The path's escapes are not valid UTF-8; escape the bytes of UTF-8 text.")]
    NotUtf8,
    #[error("The path is escaped twice (%25 before two hexadecimal digits); escape it once.")]
    EscapedTwice,
    #[error("The path contains an escaped slash (%2F) where no model's name stands.")]
    EscapedSlash,
    #[error("The path leads above its root with dot segments; send it without them.")]
    AboveRoot,
    #[error(
        "The path repeats its beginning (such as /v1) more than twice; check the base URL of the client."
    )]
    TooManyVersions,
}

impl Spelled {
    /// Reads `raw`, the path of a request without its query.
    pub fn read(raw: &str) -> Result<Self, PathError> {
        if raw.len() > BYTES_MAX {
            return Err(PathError::TooLong);
        }
        if !raw.starts_with('/') {
            return Err(PathError::NotAbsolute);
        }
        decode_unreserved(raw).map(Self)
    }

    /// The segments, without the empty ones, and with `.` and `..` carried out.
    pub fn segments(&self) -> Result<Vec<&str>, PathError> {
        let mut segments = Vec::with_capacity(8);
        for segment in self.0.split('/') {
            match segment {
                "" | "." => {}
                ".." => drop(segments.pop().ok_or(PathError::AboveRoot)?),
                _ => segments.push(segment),
            }
        }
        Ok(segments)
    }
}

impl Path {
    /// The path of `segments` below `root`. `slashes` finds the part in which a slash may be escaped, if there is one.
    pub(super) fn new(
        segments: &[&str],
        root: Root,
        slashes: impl FnOnce(&str) -> Option<&str>,
    ) -> Result<Self, PathError> {
        let mut canonical = root.put.to_owned();
        for segment in &segments[root.dropped..] {
            canonical.push('/');
            canonical.push_str(segment);
        }
        if canonical.is_empty() {
            canonical.push('/');
        }
        if canonical.len() > BYTES_MAX {
            return Err(PathError::TooLong);
        }
        if canonical.contains('%') {
            check_escapes(&canonical)?;
        }
        if canonical.contains("%2F") {
            check_slashes(&canonical, slashes(&canonical))?;
        }
        Ok(Self(canonical))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Root {
    /// Drops the versions at the start, of which all but one are surplus, and puts `put` there.
    pub(super) fn after_versions(
        segments: &[&str],
        is_version: impl Fn(&str) -> bool,
        put: &'static str,
    ) -> Result<Self, PathError> {
        let versions = segments.iter().take_while(|segment| is_version(segment)).count();
        if versions > 1 + SURPLUS_MAX {
            return Err(PathError::TooManyVersions);
        }
        Ok(Self { dropped: versions, put })
    }

    /// Drops the versions that stand before the path's own beginning, which `begins` tells by the segments left; where
    /// none of it is left, `put` is what is missing.
    pub(super) fn before(
        segments: &[&str],
        is_version: impl Fn(&str) -> bool,
        begins: impl Fn(&[&str]) -> bool,
        put: &'static str,
    ) -> Result<Self, PathError> {
        let mut dropped = 0;
        while let Some(first) = segments.get(dropped) {
            let rest = &segments[dropped + 1..];
            let surplus = is_version(first)
                && (begins(rest) || rest.first().is_some_and(|next| is_version(next)));
            if !surplus {
                break;
            }
            dropped += 1;
        }
        if dropped > SURPLUS_MAX {
            return Err(PathError::TooManyVersions);
        }
        let whole = begins(&segments[dropped..]);
        Ok(Self { dropped, put: if whole { "" } else { put } })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The model's name in a path below `/v1/models/`, in which a slash may be escaped to read it: names of some vendors
/// contain one.
pub(super) fn model_to_read<'p>(method: &Method, path: &'p str) -> Option<&'p str> {
    let reads = *method == Method::GET || *method == Method::HEAD;
    path.strip_prefix("/v1/models/").filter(|_| reads)
}

/// Decodes escapes of unreserved characters (RFC 3986 section 2.3) and of colons, and upper-cases the others.
fn decode_unreserved(raw: &str) -> Result<String, PathError> {
    let mut decoded = String::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let escaped =
                escape_value(bytes.next(), bytes.next()).ok_or(PathError::InvalidEscape)?;
            match escaped {
                0..=0x1f | 0x7f | b'\\' => return Err(PathError::ForbiddenEscape),
                // A colon needs no escape in a path; before a verb it must not hide behind one.
                b':' => decoded.push(':'),
                _ if is_unreserved(escaped) => decoded.push(char::from(escaped)),
                _ => push_escape(&mut decoded, escaped),
            }
        } else if byte == b'/' || is_unreserved(byte) || b"!$&'()*+,;=:@".contains(&byte) {
            decoded.push(char::from(byte));
        } else {
            return Err(PathError::ForbiddenByte);
        }
    }
    Ok(decoded)
}

/// Refuses the escapes that a server behind the gateway might read in another way.
fn check_escapes(canonical: &str) -> Result<(), PathError> {
    let mut bytes = Vec::with_capacity(canonical.len());
    let mut rest = canonical.bytes();
    while let Some(byte) = rest.next() {
        let escaped = (byte == b'%').then(|| escape_value(rest.next(), rest.next())).flatten();
        if escaped == Some(b'%') {
            let mut next = rest.clone();
            if escape_value(next.next(), next.next()).is_some() {
                return Err(PathError::EscapedTwice);
            }
        }
        bytes.push(escaped.unwrap_or(byte));
    }
    std::str::from_utf8(&bytes).map(|_| ()).map_err(|_| PathError::NotUtf8)
}

/// Refuses escaped slashes outside of `allowed`, a part of the path, and those that would make a dot segment in it.
fn check_slashes(canonical: &str, allowed: Option<&str>) -> Result<(), PathError> {
    let name = allowed.ok_or(PathError::EscapedSlash)?;
    let doubtful = |piece: &str| matches!(piece, "" | "." | "..");
    let outside = canonical.matches("%2F").count() > name.matches("%2F").count();
    if outside || name.split('/').flat_map(|segment| segment.split("%2F")).any(doubtful) {
        return Err(PathError::EscapedSlash);
    }
    Ok(())
}

fn escape_value(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

fn push_escape(text: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    text.push('%');
    text.push(char::from(DIGITS[usize::from(byte >> 4)]));
    text.push(char::from(DIGITS[usize::from(byte & 15)]));
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests;
