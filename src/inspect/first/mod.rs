//! Whether a success begins with an error.

mod aws;

use http::HeaderMap;

use crate::rejection::{Provider, SseEvent, SseParser};

/// What a stream begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum First {
    /// An error, or what may be one.
    Event(SseEvent),
    /// The whole body, which may be an error.
    Whole,
    /// Something that cannot be an error.
    Content,
}

/// Looks at the start of a success as it comes in.
pub(super) enum Look {
    Sse(SseParser),
    Aws(Vec<u8>),
    /// How it starts, without blanks.
    Json(Vec<u8>),
    /// JSON that may name its error anywhere.
    WholeJson,
}

// === impl Look ===

impl Look {
    /// `None` if a response with these headers is not one to look into.
    pub(super) fn at(headers: &HeaderMap, provider: Provider) -> Option<Self> {
        match super::layer::essence(headers)?.as_str() {
            "text/event-stream" => Some(Self::Sse(SseParser::default())),
            "application/vnd.amazon.eventstream" => Some(Self::Aws(Vec::new())),
            "application/json" if provider.has_errors_in_successes() => Some(Self::WholeJson),
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
            Self::WholeJson => None,
        }
    }

    /// The body has ended, or a bound was hit.
    pub(super) fn end(self, complete: bool) -> First {
        match self {
            Self::Json(_) | Self::WholeJson if complete => First::Whole,
            Self::Sse(parser) if complete => match parser.end() {
                Some(event) => First::Event(event),
                None => First::Content,
            },
            Self::Json(_) | Self::WholeJson | Self::Sse(_) | Self::Aws(_) => First::Content,
        }
    }
}

/// How an error in JSON begins: with an object whose first key is `"error"`, as OpenRouter's 200 with
/// an error does, or one of Baidu's or MiniMax's. In Google's streams it stands in an array.
const ERRORS: [&[u8]; 4] = [
    br#"{"error""#,
    br#"{"error_code""#,
    br#"{"error_msg""#,
    br#"{"base_resp""#,
];

/// No such beginning is longer.
const LONGEST: usize = 16;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Adds to the start of a JSON text what comes next, without blanks: blank lines before it are
/// DeepSeek's, while a request is queued.
fn add_to_start(start: &mut Vec<u8>, chunk: &[u8]) {
    for byte in chunk {
        if start.len() > LONGEST {
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
    let mut errors = ERRORS.iter();
    errors.any(|error| start.starts_with(error) || error.starts_with(start))
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
        assert_eq!(look(&["{\"error_", "code\":18}"]), None);
        assert_eq!(look(&["{\"base_resp\" :{}}"]), None);
        assert_eq!(look(&["{\"base_response\":{}}"]), Some(First::Content));
    }
}
