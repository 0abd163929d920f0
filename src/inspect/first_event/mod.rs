//! Whether a success begins with an error.

mod aws;

use crate::rejection::{SseEvent, SseParser};

/// What a success begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FirstEvent {
    /// An event that may be an error.
    Error(SseEvent),
    /// A complete body that may be an error.
    Whole,
    /// Content, which is no error.
    Content,
}

/// Reads the start of a success chunk by chunk.
pub(super) enum Sniffer {
    Sse(SseParser),
    Aws(Vec<u8>),
    /// Its start, without blanks.
    Json(Vec<u8>),
    /// JSON that may contain its error anywhere.
    WholeJson,
}

// === impl Sniffer ===

impl Sniffer {
    /// Returns `None` if no success of this media type is read.
    pub(super) fn new(media_type: &str, has_late_errors: bool) -> Option<Self> {
        match media_type {
            "text/event-stream" => Some(Self::Sse(SseParser::default())),
            "application/vnd.amazon.eventstream" => Some(Self::Aws(Vec::new())),
            "application/json" if has_late_errors => Some(Self::WholeJson),
            "application/json" => Some(Self::Json(Vec::new())),
            _ => None,
        }
    }

    /// Reads the next chunk; returns `None` until the first event is known.
    pub(super) fn feed(&mut self, chunk: &[u8]) -> Option<FirstEvent> {
        match self {
            Self::Sse(parser) => parser.feed(chunk).map(FirstEvent::Error),
            Self::Aws(seen) => {
                seen.extend_from_slice(chunk);
                aws::first(seen)
            }
            Self::Json(start) => {
                add_to_start(start, chunk);
                (!may_be_error(start)).then_some(FirstEvent::Content)
            }
            Self::WholeJson => None,
        }
    }

    /// Returns the first event at the end of the body, or at a bound.
    pub(super) fn end(self, complete: bool) -> FirstEvent {
        match self {
            Self::Json(_) | Self::WholeJson if complete => FirstEvent::Whole,
            Self::Sse(parser) if complete => match parser.end() {
                Some(event) => FirstEvent::Error(event),
                None => FirstEvent::Content,
            },
            Self::Json(_) | Self::WholeJson | Self::Sse(_) | Self::Aws(_) => FirstEvent::Content,
        }
    }
}

/// How an error in JSON begins: with an object whose first key is `"error"` (OpenRouter), or one of Baidu's or
/// MiniMax's. In Google's streams the object stands in an array.
const ERRORS: [&[u8]; 4] = [
    br#"{"error""#,
    br#"{"error_code""#,
    br#"{"error_msg""#,
    br#"{"base_resp""#,
];

/// No entry of [`ERRORS`] is longer.
const LONGEST_ERROR_START: usize = 16;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Adds a chunk to the start of a JSON text, without blanks: DeepSeek sends blank lines before it while a
/// request is queued.
fn add_to_start(start: &mut Vec<u8>, chunk: &[u8]) {
    for byte in chunk {
        if start.len() > LONGEST_ERROR_START {
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

/// Whether a JSON text with this start may be an error.
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
    fn json_is_content_once_its_first_key_is_not_error() {
        let first = |chunks: &[&str]| {
            let mut sniffer = Sniffer::Json(Vec::new());
            chunks
                .iter()
                .find_map(|chunk| sniffer.feed(chunk.as_bytes()))
        };
        assert_eq!(first(&["\n\n", " {", "\"id\":"]), Some(FirstEvent::Content));
        assert_eq!(first(&["[", "]"]), Some(FirstEvent::Content));
        assert_eq!(first(&["[[{\"error\""]), Some(FirstEvent::Content));
        assert_eq!(first(&["[", "{\"candidates\""]), Some(FirstEvent::Content));
        assert_eq!(first(&["[", "{\r\n \"error\"", ": {}}"]), None);
        assert_eq!(first(&["{\"err"]), None);
        assert_eq!(first(&["{\"errors\":[]}"]), Some(FirstEvent::Content));
        assert_eq!(first(&["{\"err or\":[]}"]), Some(FirstEvent::Content));
        assert_eq!(first(&[" { \"error\"", ": {}}"]), None);
        assert_eq!(first(&["\u{feff}{\"error\"", ": {}}"]), None);
        assert_eq!(first(&["\u{feff}", "{\"id\""]), Some(FirstEvent::Content));
        assert_eq!(first(&["{\"error_", "code\":18}"]), None);
        assert_eq!(first(&["{\"base_resp\" :{}}"]), None);
        assert_eq!(
            first(&["{\"base_response\":{}}"]),
            Some(FirstEvent::Content)
        );
    }

    #[test]
    fn byte_order_mark_may_come_in_parts() {
        let mut sniffer = Sniffer::Json(Vec::new());
        let chunks: [&[u8]; 4] = [b"\xef", b"\xbb", b"\xbf{\"error\"", b": {}}"];
        for chunk in chunks {
            assert_eq!(sniffer.feed(chunk), None);
        }
    }
}
