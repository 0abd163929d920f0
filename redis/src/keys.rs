//! The names of the keys in the server.

use tower_429::share::Name;

use crate::error::Error;

/// The layout of what is kept. Another layout has another number, so that both live side by side.
const PREFIX: &str = "t429:1:";

/// No name needs more.
const MAX_BYTES: usize = 128;

/// The parts of a pool, each a key of its own. `exchange.lua` lists what they contain.
const PARTS: [&str; 3] = ["", ":facts", ":due"];

/// The keys of a pool. A cluster keeps them on one node, because all have the same tag in braces.
#[derive(Clone, Debug)]
pub(crate) struct PoolKeys([String; PARTS.len()]);

// === impl PoolKeys ===

impl PoolKeys {
    pub(crate) fn new(name: &Name) -> Result<Self, Error> {
        let tag = escape(name.as_str());
        if tag.is_empty() || tag.len() > MAX_BYTES {
            return Err(Error::name());
        }
        Ok(Self(PARTS.map(|part| format!("{PREFIX}{{{tag}}}{part}"))))
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// Replaces the bytes that mean something in a key or in a pattern of an ACL.
fn escape(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:@+=,".contains(&byte);
    let mut escaped = String::new();
    for byte in name.bytes() {
        match is_plain(byte) {
            true => escaped.push(char::from(byte)),
            false => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(name: &str) -> Option<String> {
        let keys = PoolKeys::new(&Name::new(name)).ok()?;
        keys.iter().next().map(str::to_owned)
    }

    #[test]
    fn key_has_the_layout_and_the_name_in_braces() {
        assert_eq!(
            first("prod/openai").as_deref(),
            Some("t429:1:{prod/openai}")
        );
    }

    #[test]
    fn name_cannot_leave_its_braces_or_match_other_keys() {
        assert_eq!(
            first("a}b{c*?[d]\\\n").as_deref(),
            Some("t429:1:{a%7Db%7Bc%2A%3F%5Bd%5D%5C%0A}")
        );
        assert_ne!(first("a}"), first("a%7D"));
    }

    #[test]
    fn empty_and_long_names_are_errors() {
        assert_eq!(first(""), None);
        assert_eq!(first(&"n".repeat(MAX_BYTES + 1)), None);
        assert!(first(&"n".repeat(MAX_BYTES)).is_some());
    }
}
