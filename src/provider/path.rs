//! One spelling for each path, so that the path that was classified is the path that is sent.
//!
//! Two servers that read one path differently are a hole: a call that looks free here and is work there. So
//! whatever can be spelled in two ways is brought to one, and whatever stays doubtful is refused. Knows nothing
//! of routes, but for the prefix `/v1` and the one place where client libraries encode a slash.

use std::fmt;

use http::Method;

/// Longest path taken, in bytes.
const BYTES_MAX: usize = 2048;

/// The prefix that client libraries add once, twice, or not at all, depending on how their base URL is written.
const VERSION: &str = "v1";

/// One `/v1` and two surplus ones.
const VERSIONS_MAX: usize = 3;

/// Below it, and only to read, a slash may be encoded: model names of some vendors contain one.
const MODELS: &str = "/v1/models/";

/// A canonical path: absolute, `/v1` once, no empty and no dot segment, no trailing slash, no escape that could
/// be a plain character, and upper-case hexadecimal digits in those that remain.
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
    #[error("The path contains an escaped slash (%2F); only GET /v1/models/{{model}} may.")]
    EscapedSlash,
    #[error("The path leads above its root with dot segments; send it without them.")]
    AboveRoot,
    #[error("The path repeats /v1 more than twice; check the base URL of the client.")]
    TooManyVersions,
}

impl Path {
    /// Brings `raw`, the path of a request without its query, to its canonical spelling.
    pub fn normalise(method: &Method, raw: &str) -> Result<Self, PathError> {
        if raw.len() > BYTES_MAX {
            return Err(PathError::TooLong);
        }
        if !raw.starts_with('/') {
            return Err(PathError::NotAbsolute);
        }
        let decoded = decode_unreserved(raw)?;
        let segments = resolve_dots(&decoded)?;
        let versions = segments.iter().take_while(|segment| **segment == VERSION).count();
        if versions > VERSIONS_MAX {
            return Err(PathError::TooManyVersions);
        }
        let mut canonical = String::with_capacity(decoded.len() + 1 + VERSION.len());
        canonical.push('/');
        canonical.push_str(VERSION);
        for segment in &segments[versions..] {
            canonical.push('/');
            canonical.push_str(segment);
        }
        if canonical.len() > BYTES_MAX {
            return Err(PathError::TooLong);
        }
        if canonical.contains('%') {
            check_escapes(method, &canonical)?;
        }
        Ok(Self(canonical))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Decodes escapes of unreserved characters (RFC 3986 section 2.3) and upper-cases the others.
fn decode_unreserved(raw: &str) -> Result<String, PathError> {
    let mut decoded = String::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let escaped =
                escape_value(bytes.next(), bytes.next()).ok_or(PathError::InvalidEscape)?;
            match escaped {
                0..=0x1f | 0x7f | b'\\' => return Err(PathError::ForbiddenEscape),
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

/// The segments of a path, without the empty ones, and with `.` and `..` carried out.
fn resolve_dots(path: &str) -> Result<Vec<&str>, PathError> {
    let mut segments = Vec::with_capacity(8);
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop().ok_or(PathError::AboveRoot)?),
            _ => segments.push(segment),
        }
    }
    Ok(segments)
}

/// Refuses the escapes that a server behind the gateway might read in another way.
fn check_escapes(method: &Method, canonical: &str) -> Result<(), PathError> {
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
    if std::str::from_utf8(&bytes).is_err() {
        return Err(PathError::NotUtf8);
    }
    if !canonical.contains("%2F") {
        return Ok(());
    }
    let reads = *method == Method::GET || *method == Method::HEAD;
    let model = canonical.strip_prefix(MODELS).filter(|_| reads).ok_or(PathError::EscapedSlash)?;
    let doubtful = |piece: &str| matches!(piece, "" | "." | "..");
    if model.split('/').flat_map(|segment| segment.split("%2F")).any(doubtful) {
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn get(raw: &str) -> Result<String, PathError> {
        Path::normalise(&Method::GET, raw).map(|path| path.to_string())
    }

    #[test]
    fn spellings_of_one_path_become_one() {
        for raw in [
            "/v1/chat/completions",
            "/chat/completions",
            "/v1/v1/chat/completions",
            "/v1/v1/v1/chat/completions",
            "//v1//chat/completions//",
            "/v1/./chat/%2e/completions/",
            "/v1/models/../chat/completions",
            "/v1/models/%2E%2e/chat/completions",
            "/v1/ch%61t/completion%73",
            "/%76%31/chat/completions",
        ] {
            assert_eq!(get(raw).as_deref(), Ok("/v1/chat/completions"), "{raw}");
        }
        assert_eq!(get("/").as_deref(), Ok("/v1"));
        assert_eq!(get("/v1/models/ft:gpt-4o:a;b=c").as_deref(), Ok("/v1/models/ft:gpt-4o:a;b=c"));
        assert_eq!(get("/v1/models/ft%3agpt").as_deref(), Ok("/v1/models/ft%3Agpt"));
        assert_eq!(get("/v1/files/%c3%a9").as_deref(), Ok("/v1/files/%C3%A9"));
        assert_eq!(get("/v1/files/..;/x").as_deref(), Ok("/v1/files/..;/x"));
        assert_eq!(get("/v1/files/100%25").as_deref(), Ok("/v1/files/100%25"));
    }

    #[test]
    fn doubtful_paths_are_refused() {
        let long = format!("/{}", "a".repeat(BYTES_MAX));
        for (raw, error) in [
            ("", PathError::NotAbsolute),
            ("*", PathError::NotAbsolute),
            ("v1/models", PathError::NotAbsolute),
            (long.as_str(), PathError::TooLong),
            (&long[..BYTES_MAX], PathError::TooLong), // Too long once it has its /v1.
            ("/v1/models/%", PathError::InvalidEscape),
            ("/v1/models/%4", PathError::InvalidEscape),
            ("/v1/models/%zz", PathError::InvalidEscape),
            ("/v1/models/%+1", PathError::InvalidEscape),
            ("/v1/models/%00", PathError::ForbiddenEscape),
            ("/v1/models/%0a", PathError::ForbiddenEscape),
            ("/v1/models/%5C..", PathError::ForbiddenEscape),
            ("/v1/models\\x", PathError::ForbiddenByte),
            ("/v1/models\u{1}", PathError::ForbiddenByte),
            ("/v1/modèles", PathError::ForbiddenByte),
            ("/v1/models?x", PathError::ForbiddenByte),
            ("/v1/models#x", PathError::ForbiddenByte),
            ("/v1/models/%C0%AE", PathError::NotUtf8),
            ("/v1/models/%ff", PathError::NotUtf8),
            ("/v1/models/%252e%252e", PathError::EscapedTwice),
            ("/v1/models/%25%32%66", PathError::EscapedTwice),
            ("/..", PathError::AboveRoot),
            ("/v1/../../v1/models", PathError::AboveRoot),
            ("/v1/v1/v1/v1/models", PathError::TooManyVersions),
        ] {
            assert_eq!(get(raw), Err(error), "{raw}");
        }
    }

    #[test]
    fn an_escaped_slash_is_part_of_a_model_name_or_refused() {
        assert_eq!(get("/models/meta%2fllama").as_deref(), Ok("/v1/models/meta%2Fllama"));
        for raw in [
            "/v1/models/..%2Forganization",
            "/v1/models/a%2F%2e%2e%2Fb",
            "/v1/models/a%2F",
            "/v1/organization%2Fcosts",
            "/v1%2Forganization/costs",
        ] {
            assert_eq!(get(raw), Err(PathError::EscapedSlash), "{raw}");
        }
        for method in [Method::POST, Method::DELETE] {
            let path = Path::normalise(&method, "/v1/models/meta%2Fllama");
            assert_eq!(path, Err(PathError::EscapedSlash), "{method}");
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(raw in "/([/.%2vV1eEfF5a-c;:~\\\\]|%[0-9a-fA-F]{2}|models/){0,40}") {
            if let Ok(once) = Path::normalise(&Method::GET, &raw) {
                let twice = Path::normalise(&Method::GET, once.as_str());
                prop_assert_eq!(Ok(once), twice);
            }
        }

        #[test]
        fn any_text_is_answered(raw in any::<String>()) {
            let _ = Path::normalise(&Method::POST, &raw);
        }
    }
}
