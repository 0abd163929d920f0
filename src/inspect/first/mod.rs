//! Whether a success begins with an error.

mod aws;
mod sse;

use http::HeaderMap;

/// What a stream begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum First {
    /// An error, or what may be one: the name of its event, and its JSON.
    Event(Option<String>, Vec<u8>),
    /// Something that cannot be an error.
    Content,
}

/// Looks at the start of a success as it comes in.
pub(super) enum Look {
    Sse(sse::Parser),
    Aws(Vec<u8>),
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
            Self::Sse(parser) => parser
                .feed(chunk)
                .map(|event| First::Event(event.name, event.data)),
            Self::Aws(seen) => {
                seen.extend_from_slice(chunk);
                aws::first(seen)
            }
            Self::Json(seen) => {
                seen.extend_from_slice(chunk);
                (!may_begin_error(seen)).then_some(First::Content)
            }
        }
    }

    /// The body has ended, or a bound was hit.
    pub(super) fn end(self, complete: bool) -> First {
        match self {
            Self::Json(seen) if complete => First::Event(None, seen),
            Self::Sse(parser) if complete => match parser.end() {
                Some(event) => First::Event(event.name, event.data),
                None => First::Content,
            },
            Self::Json(_) | Self::Sse(_) | Self::Aws(_) => First::Content,
        }
    }
}

/// Whether the start of a JSON text is that of an object whose first key is `"error"`, as
/// OpenRouter's 200 with an error is. Blank lines before it are DeepSeek's, while a request is queued.
fn may_begin_error(seen: &[u8]) -> bool {
    let mut expected = br#"{"error""#.iter();
    let mut in_key = false;
    for byte in seen {
        if byte.is_ascii_whitespace() && !in_key {
            continue;
        }
        match expected.next() {
            Some(next) if next == byte => in_key |= *byte == b'"',
            Some(_) => return false,
            None => return true,
        }
    }
    true
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
        assert_eq!(look(&["{\"err"]), None);
        assert_eq!(look(&["{\"errors\":[]}"]), Some(First::Content));
        assert_eq!(look(&[" { \"error\"", ": {}}"]), None);
    }
}
