//! Changes to a request's URI.

use std::borrow::Cow;

use http::{Uri, uri::PathAndQuery};
use percent_encoding::percent_decode_str;

/// The longest path and query that [`http`] accepts.
const MAX_LENGTH: usize = (u16::MAX - 1) as usize;

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

/// Replaces all query parameters of this name by `name=value`. The value must be percent-encoded.
pub(super) fn set_parameter(uri: &Uri, name: &str, value: &str) -> Uri {
    let kept = retain_parameters(uri, |other| other != name);
    let separator = if kept.query().is_some() { '&' } else { '?' };
    let path = match kept.path_and_query() {
        Some(path) => path.as_str(),
        None => "/",
    };
    with_path(&kept, &format!("{path}{separator}{name}={value}")).unwrap_or(kept)
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
        }
    }
}
