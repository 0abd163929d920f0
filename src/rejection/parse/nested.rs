//! The error of an upstream in a message of a proxy, as JSON or as Python's `b'..'`.

use serde_json::Value;

/// JSON in a text.
pub(super) struct Nested<'a> {
    pub(super) before: &'a str,
    pub(super) value: Value,
    /// Whether a sentence of the provider quotes it, as it does with a part of the request.
    pub(super) is_quoted: bool,
}

/// How LiteLLM introduces the bytes of an upstream (litellm#14736).
const PYTHON: [&str; 2] = ["- b'", "- b\""];

/// Returns the JSON that a message consists of or contains.
pub(super) fn find(text: &str) -> Option<Nested<'_>> {
    let start = text.find(['{', '['])?;
    let end = text.rfind(['}', ']'])?;
    let json = text.get(start..=end)?;
    let (before, behind) = (&text[..start], &text[end + 1..]);
    let value = serde_json::from_str(json).ok().or_else(|| {
        let is_python = before.ends_with("b'") || before.ends_with("b\"");
        is_python.then(|| serde_json::from_str(&without_escapes(json)).ok())?
    })?;
    let is_error = match &value {
        Value::Object(object) => !object.is_empty(),
        Value::Array(elements) => elements.first().is_some_and(Value::is_object),
        _ => false,
    };
    let before = before.trim_end();
    let is_quoted = is_quoted(before, behind);
    is_error.then_some(Nested {
        before,
        value,
        is_quoted,
    })
}

/// Whether a sentence quotes the JSON between these texts, as it quotes an invalid value of the request.
///
/// LiteLLM writes an upstream's error as `...Exception - {..}` or `...Exception - b'{..}'`, and behind it
/// `. Received Model Group=..` (litellm#29808).
fn is_quoted(before: &str, behind: &str) -> bool {
    let is_python = PYTHON.iter().any(|bytes| before.ends_with(bytes));
    let words = behind.trim_start_matches(|letter: char| !letter.is_alphanumeric());
    let is_continued = !words.is_empty() && !words.starts_with("Received Model Group=");
    is_continued || (before.ends_with(['`', '"', '\'']) && !is_python)
}

/// Returns the text of Python's `b'..'`.
fn without_escapes(bytes: &str) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut letters = bytes.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            text.push(letter);
            continue;
        }
        match letters.next() {
            Some('n' | 'r' | 't') => text.push(' '),
            // A byte beyond ASCII, in two digits.
            Some('x') => {
                letters.nth(1);
                text.push('?');
            }
            Some(letter) => text.push(letter),
            None => {}
        }
    }
    text
}
