//! Whether a success begins with an error.

mod aws;

use http::HeaderMap;

use crate::refusal::sse;

/// What a stream begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum First {
    /// An error, or what may be one.
    Event(sse::Event),
    /// The whole body, which may be an error.
    Whole,
    /// Something that cannot be an error.
    Content,
}

/// Looks at the start of a success as it comes in.
pub(super) enum Look {
    Sse(sse::Parser),
    Aws(Vec<u8>),
    /// How it starts, without blanks.
    Json(Vec<u8>),
}

// === impl Look ===

impl Look {
    /// `None` if a response with these headers is not one to look into.
    pub(super) fn at(headers: &HeaderMap) -> Option<Self> {
        match super::layer::essence(headers)?.as_str() {
            "text/event-stream" => Some(Self::Sse(sse::Parser::default())),
            "application/vnd.amazon.eventstream" => Some(Self::Aws(Vec::new())),
            "application/json" => Some(Self::Json(Vec::new())),
            _ => None,
        }
    }

    /// Takes the next chunk; `None` while it is not known yet what comes first.
    pub(super) fn feed(&mut self, chunk: &[u8]) -> Option<First> {
        match self {
            Self::Sse(parser) => parser.feed(chunk).map(First::Event),
            Self::Aws(seen) => {
                seen.extend_from_slice(chunk);
                aws::first(seen)
            }
            Self::Json(start) => {
                add_to_start(start, chunk);
                (!may_be_error(start)).then_some(First::Content)
            }
        }
    }

    /// The body has ended, or a bound was hit.
    pub(super) fn end(self, complete: bool) -> First {
        match self {
            Self::Json(_) if complete => First::Whole,
            Self::Sse(parser) if complete => match parser.end() {
                Some(event) => First::Event(event),
                None => First::Content,
            },
            Self::Json(_) | Self::Sse(_) | Self::Aws(_) => First::Content,
        }
    }
}

/// How an error in JSON begins: with an object whose first key is `"error"`, as OpenRouter's 200 with
/// an error does. In Google's streams it stands in an array.
const ERROR: &[u8] = br#"{"error""#;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Adds to the start of a JSON text what comes next, without blanks: blank lines before it are
/// DeepSeek's, while a request is queued.
fn add_to_start(start: &mut Vec<u8>, chunk: &[u8]) {
    for byte in chunk {
        if start.len() > ERROR.len() {
            return;
        }
        if !byte.is_ascii_whitespace() || start.contains(&b'"') {
            start.push(*byte);
        }
        if start == BYTE_ORDER_MARK {
            start.clear();
        }
    }
}

/// Whether a JSON text that starts so, as far as it is known, may be an error.
fn may_be_error(start: &[u8]) -> bool {
    if BYTE_ORDER_MARK.starts_with(start) {
        return true;
    }
    let start = start.strip_prefix(b"[").unwrap_or(start);
    let known = start.len().min(ERROR.len());
    start[..known] == ERROR[..known]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_content_as_soon_as_its_first_key_is_not_error() {
        let look = |chunks: &[&str]| {
            let mut look = Look::Json(Vec::new());
            chunks.iter().find_map(|chunk| look.feed(chunk.as_bytes()))
        };
        assert_eq!(look(&["\n\n", " {", "\"id\":"]), Some(First::Content));
        assert_eq!(look(&["[", "]"]), Some(First::Content));
        assert_eq!(look(&["[[{\"error\""]), Some(First::Content));
        assert_eq!(look(&["[", "{\"candidates\""]), Some(First::Content));
        assert_eq!(look(&["[", "{\r\n \"error\"", ": {}}"]), None);
        assert_eq!(look(&["{\"err"]), None);
        assert_eq!(look(&["{\"errors\":[]}"]), Some(First::Content));
        assert_eq!(look(&["{\"err or\":[]}"]), Some(First::Content));
        assert_eq!(look(&[" { \"error\"", ": {}}"]), None);
        assert_eq!(look(&["\u{feff}{\"error\"", ": {}}"]), None);
        assert_eq!(look(&["\u{feff}", "{\"id\""]), Some(First::Content));
    }
}
