//! Wire form: the XML of AWS's query and REST protocols (`ErrorResponse`, `Error`, `Response`).
//!
//! Read by hand: only the elements that hold nothing but text matter, and an XML crate is larger than this
//! whole module.

use serde_json::{Map, Value};

/// What an error's document begins with; a page of HTML begins otherwise.
const ROOTS: &[&str] = &["ErrorResponse", "Error", "Response"];

/// More elements are no error.
const MOST_FIELDS: usize = 32;

/// The elements of an error that hold only text, by name, with a small letter at its start; of several of one
/// name the first.
pub(super) fn fields(body: &[u8]) -> Option<Map<String, Value>> {
    if !body.trim_ascii_start().starts_with(b"<") {
        return None;
    }
    let text = String::from_utf8_lossy(body);
    let mut fields = Map::new();
    let mut has_root = false;
    let mut rest = &*text;
    while let Some((tag, after)) = rest
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
    {
        rest = after;
        if tag.starts_with(['?', '!', '/']) {
            continue;
        }
        let name = tag.split(|c: char| c.is_ascii_whitespace()).next();
        let name = name.unwrap_or(tag);
        has_root |= ROOTS.contains(&name);
        if !has_root || fields.len() == MOST_FIELDS {
            break;
        }
        let Some((value, close)) = after.split_once('<') else {
            break;
        };
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
    // The ampersand comes last: what it is a part of after that is text.
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
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
    fn what_is_no_error_or_is_broken_gives_what_can_be_read() {
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
        assert_eq!(read.len(), MOST_FIELDS);
    }
}
