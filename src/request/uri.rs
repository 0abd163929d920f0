//! Changes to a request's URI.

use std::borrow::Cow;

use http::{Uri, uri::PathAndQuery};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The longest path and query that [`http`] accepts.
const MAX_LENGTH: usize = (u16::MAX - 1) as usize;

/// What is encoded in a query parameter: everything but the characters that RFC 3986 calls unreserved.
const PARAMETER: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Whether the path and query can grow by this many bytes.
pub(crate) fn has_room(uri: &Uri, more: usize) -> bool {
    let length = uri.path_and_query().map_or(1, |it| it.as_str().len());
    length.saturating_add(more) <= MAX_LENGTH
}

/// Returns the URI with another path and query, or `None` if these are invalid or too long.
pub(crate) fn with_path(uri: &Uri, path_and_query: &str) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_and_query.parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

/// Returns whether the query has parameters of this name, all with this value.
pub(crate) fn has_parameter(uri: &Uri, name: &str, value: &str) -> bool {
    let pairs = uri.query().into_iter().flat_map(|query| query.split('&'));
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut of_name = pairs.filter(|pair| decoded(pair.0) == name).peekable();
    of_name.peek().is_some() && of_name.all(|pair| decoded(pair.1) == value)
}

/// Replaces all query parameters of this name by one with this value, or returns `None` if the query becomes
/// too long.
pub(crate) fn with_parameter(uri: &Uri, name: &str, value: &str) -> Option<Uri> {
    let value = utf8_percent_encode(value, PARAMETER);
    let kept = retain_parameters(uri, |other| other != name);
    with_path(&kept, &appended(&kept, name, &value.to_string()))
}

/// Replaces all query parameters of this name by `name=value`. The value must be percent-encoded.
pub(super) fn set_parameter(uri: &Uri, name: &str, value: &str) -> Uri {
    let kept = retain_parameters(uri, |other| other != name);
    with_path(&kept, &appended(&kept, name, value)).unwrap_or(kept)
}

/// Returns the path and query with another parameter, whose value is percent-encoded.
fn appended(uri: &Uri, name: &str, value: &str) -> String {
    let name = utf8_percent_encode(name, PARAMETER);
    let separator = if uri.query().is_some() { '&' } else { '?' };
    let path = match uri.path_and_query() {
        Some(path) => path.as_str(),
        None => "/",
    };
    format!("{path}{separator}{name}={value}")
}

/// Removes the query parameters whose decoded name `keep` rejects.
pub(super) fn retain_parameters(uri: &Uri, keep: impl Fn(&str) -> bool) -> Uri {
    let Some(query) = uri.query() else {
        return uri.clone();
    };
    let name = |pair| decoded(str::split_once(pair, '=').map_or(pair, |(name, _)| name));
    let kept: Vec<&str> = query.split('&').filter(|pair| keep(&name(pair))).collect();
    let path = match kept.as_slice() {
        [] => uri.path().to_owned(),
        kept => format!("{}?{}", uri.path(), kept.join("&")),
    };
    // Parts of a valid URI are valid.
    with_path(uri, &path).unwrap_or_else(|| uri.clone())
}

pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn set_parameter_replaces_parameters_of_that_name_only() {
        let table = [
            ("https://a.example/m", "https://a.example/m?key=s%2F"),
            ("https://a.example", "https://a.example/?key=s%2F"),
            (
                "https://a.example/m?alt=sse&key=old&key=older",
                "https://a.example/m?alt=sse&key=s%2F",
            ),
            (
                "https://a.example/m?k%65y=old&x=%20&y",
                "https://a.example/m?x=%20&y&key=s%2F",
            ),
            ("/m:generate?monkey=1", "/m:generate?monkey=1&key=s%2F"),
        ];
        for (before, after) in table {
            assert_eq!(set_parameter(&uri(before), "key", "s%2F"), uri(after));
            assert_eq!(with_parameter(&uri(before), "key", "s/"), Some(uri(after)));
        }
    }

    #[test]
    fn parameter_is_encoded_and_none_is_returned_if_it_does_not_fit() {
        let before = uri("https://a.example/m?a%26b=1&x=2");
        let after = with_parameter(&before, "a&b", "c d&e=\u{e9}~").unwrap();
        assert_eq!(after, "https://a.example/m?x=2&a%26b=c%20d%26e%3D%C3%A9~");
        assert!(has_parameter(&after, "a&b", "c d&e=\u{e9}~"));
        assert!(!has_parameter(&after, "a&b", "c") && !has_parameter(&after, "y", ""));
        assert!(!has_parameter(&uri("/?x=2&x=3"), "x", "2"));
        let long = "x".repeat(MAX_LENGTH);
        assert_eq!(with_parameter(&before, "y", &long), None);
    }
}
