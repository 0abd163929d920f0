//! The XML of AWS's query and REST protocols (`ErrorResponse`, `Error`, `Response`).
//!
//! No crate is used for this, because only elements that hold nothing but text matter, and an XML crate is
//! larger than this module.

use serde_json::{Map, Value};

/// The roots of an error's document; a page of HTML has another.
const ROOTS: &[&str] = &["ErrorResponse", "Error", "Response"];

/// More elements are no error.
const MAX_FIELDS: usize = 32;

#[rustfmt::skip]
const ENTITIES: &[(&str, &str)] = &[
    ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#39;", "'"),
    // The ampersand comes last, because it can begin what looks like an entity.
    ("&amp;", "&"),
];

/// Returns the elements of an error that hold only text, by name with a small first letter. If several have
/// one name, the first counts.
pub(super) fn fields(body: &[u8]) -> Option<Map<String, Value>> {
    if !body.trim_ascii_start().starts_with(b"<") {
        return None;
    }
    let text = String::from_utf8_lossy(body);
    let mut fields = Map::new();
    let mut has_root = false;
    // The end tag of an element that holds only text is the next tag after its start tag.
    let mut tags = text.split('<').skip(1).peekable();
    while let Some(tag) = tags.next() {
        let Some((tag, value)) = tag.split_once('>') else {
            continue;
        };
        if tag.starts_with(['?', '!', '/']) {
            continue;
        }
        let name = tag.split(|c: char| c.is_ascii_whitespace()).next();
        let name = name.unwrap_or(tag);
        has_root |= ROOTS.contains(&name);
        let Some(close) = tags.peek() else { break };
        if !has_root || fields.len() == MAX_FIELDS {
            break;
        }
        let close = close.strip_prefix('/').and_then(|it| it.strip_prefix(name));
        if close.is_some_and(|close| close.starts_with('>')) {
            let name = with_small_letter(name);
            fields
                .entry(name)
                .or_insert(without_entities(value.trim()).into());
        }
    }
    (!fields.is_empty()).then_some(fields)
}

fn with_small_letter(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

fn without_entities(text: &str) -> String {
    let replaced = |text: String, (entity, letter): &(&str, &str)| text.replace(entity, letter);
    ENTITIES.iter().fold(text.to_owned(), replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(body: &str, name: &str) -> Option<String> {
        let fields = fields(body.as_bytes())?;
        Some(fields.get(name)?.as_str()?.to_owned())
    }

    #[test]
    fn code_and_message_are_read_in_every_protocol() {
        for body in [
            "<ErrorResponse xmlns=\"https://x/\">\n<Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate &amp; more</Message></Error><RequestId>1</RequestId></ErrorResponse>",
            "<?xml version=\"1.0\"?>\n<Error><Code>Throttling</Code><Message> Rate &amp; more\n</Message></Error>",
            "<Response><Errors><Error><Code>Throttling</Code><Message>Rate &amp; more</Message></Error></Errors></Response>",
        ] {
            assert_eq!(field(body, "code").as_deref(), Some("Throttling"), "{body}");
            assert_eq!(field(body, "message").as_deref(), Some("Rate & more"));
        }
    }

    #[test]
    fn broken_document_gives_the_fields_that_can_be_read() {
        let html = "<!DOCTYPE html><html><Code>Throttling</Code></html>";
        for body in [
            "",
            "<",
            "<>",
            "<Error>",
            "<Error><Code",
            "no <Error><Code>x</Code>",
            html,
        ] {
            assert_eq!(field(body, "code"), None, "{body}");
        }
        assert_eq!(
            field("<Error><Code>x</Code><Mess", "code").as_deref(),
            Some("x")
        );
        assert_eq!(field("<Error><Code>x</Message></Error>", "code"), None);
        assert_eq!(
            field("<Error><Code>a</Code><Code>b</Code>", "code").as_deref(),
            Some("a")
        );
        let many: String = (0..100).map(|at| format!("<E{at}>x</E{at}>")).collect();
        let read = fields(format!("<Error>{many}").as_bytes()).unwrap();
        assert_eq!(read.len(), MAX_FIELDS);
    }
}
