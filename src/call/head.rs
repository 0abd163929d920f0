//! The head of a request. Stacked layers share one copy.

use http::{
    Extensions, HeaderMap, HeaderValue, Method, Request, Uri, Version, request,
    uri::{Authority, PathAndQuery},
};

use crate::request::Origin;

/// A request's head without its extensions, kept so that it can be sent again.
///
/// If an outer layer passes the head on unchanged, the inner layer shares its copy. So a layer compares the
/// two before it copies, because a comparison costs a fraction of a copy.
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    /// `None` if the URI has no scheme or no host.
    pub(crate) origin: Option<Origin>,
    version: Version,
}

// === impl Head ===

impl Head {
    /// Copies the head.
    pub(crate) fn of(parts: &request::Parts) -> Self {
        Self {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            headers: parts.headers.clone(),
            origin: Origin::of(&parts.uri),
            version: parts.version,
        }
    }

    /// Whether a copy of `parts` would be equal.
    pub(crate) fn is_of(&self, parts: &request::Parts) -> bool {
        self.version == parts.version
            && self.method == parts.method
            && is_same_uri(&self.uri, &parts.uri)
            && is_same_map(&self.headers, &parts.headers)
    }

    /// Whether the URI has the same authority, as it is written.
    pub(crate) fn has_authority_of(&self, uri: &Uri) -> bool {
        authority(&self.uri) == authority(uri)
    }

    /// Returns the host. A URI in authority form has a host, but no origin.
    pub(crate) fn host(&self) -> Option<&str> {
        match &self.origin {
            Some(origin) => Some(origin.host()),
            None => self.uri.host(),
        }
    }

    /// Returns a copy of the head, with these extensions.
    pub(crate) fn with(&self, extensions: Extensions) -> request::Parts {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = self.method.clone();
        parts.uri = self.uri.clone();
        parts.version = self.version;
        parts.headers = self.headers.clone();
        parts.extensions = extensions;
        parts
    }
}

/// Compares like `==`, but case-sensitively, also in the host.
fn is_same_uri(one: &Uri, other: &Uri) -> bool {
    path(one) == path(other) && authority(one) == authority(other) && one.scheme() == other.scheme()
}

fn path(uri: &Uri) -> Option<&str> {
    uri.path_and_query().map(PathAndQuery::as_str)
}

fn authority(uri: &Uri) -> Option<&str> {
    uri.authority().map(Authority::as_str)
}

/// Compares like `==`, but also the order and whether a value is marked as sensitive.
fn is_same_map(one: &HeaderMap, other: &HeaderMap) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|((name, value), (other_name, other_value))| {
                name == other_name && is_same_value(value, other_value)
            })
}

fn is_same_value(one: &HeaderValue, other: &HeaderValue) -> bool {
    let (bytes, others) = (one.as_bytes(), other.as_bytes());
    // A copy of a value shares its bytes.
    let is_same = std::ptr::eq(bytes, others) || bytes == others;
    is_same && one.is_sensitive() == other.is_sensitive()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> request::Parts {
        let request = Request::post("https://api.example/v1/chat?x=1")
            .header("accept", "text/html")
            .header("x-own", "1")
            .header("x-own", "2")
            .body(());
        request.unwrap().into_parts().0
    }

    #[test]
    fn head_equals_its_copy() {
        let one = parts();
        let head = Head::of(&one);
        assert!(head.is_of(&one));
        assert!(head.is_of(&head.with(Extensions::new())));
    }

    #[test]
    fn head_differs_if_any_part_differs() {
        let changes: [fn(&mut request::Parts); 9] = [
            |parts| parts.method = Method::PUT,
            |parts| parts.version = Version::HTTP_2,
            |parts| parts.uri = "https://api.example/v1/chat?x=2".parse().unwrap(),
            |parts| parts.uri = "https://API.example/v1/chat?x=1".parse().unwrap(),
            |parts| parts.uri = "http://api.example/v1/chat?x=1".parse().unwrap(),
            |parts| drop(parts.headers.insert("x-own", HeaderValue::from_static("1"))),
            |parts| {
                drop(
                    parts
                        .headers
                        .insert("accept", HeaderValue::from_static("*/*")),
                )
            },
            |parts| {
                parts.headers.append("x-own", HeaderValue::from_static("3"));
            },
            |parts| {
                for value in parts.headers.values_mut() {
                    value.set_sensitive(true);
                }
            },
        ];
        for (number, change) in changes.iter().enumerate() {
            let original = parts();
            let (mut changed, ()) = Request::new(()).into_parts();
            changed.clone_from(&original);
            change(&mut changed);
            assert!(!Head::of(&original).is_of(&changed), "{number}");
        }
    }
}
