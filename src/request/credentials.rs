//! How credentials are put on a request and taken off it.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, Weak},
};

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header, request, uri::PathAndQuery};
use percent_encoding::percent_decode_str;

/// Where on a request a credential rides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Header(HeaderName),
    /// A parameter of the query, by name.
    Query(Arc<str>),
}

/// What is put on a request; shown to nobody.
#[derive(Clone)]
pub(crate) enum Credential {
    Header(HeaderName, HeaderValue),
    /// A parameter of the query: its name, and its value encoded for it.
    Query(Arc<str>, Arc<str>),
}

/// Headers that carry credentials, or that name the origin.
const HEADERS: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    header::HOST,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// Parameters of a query that carry credentials: Gemini's `key` and its kin.
const PARAMETERS: [&str; 7] = [
    "key",
    "api_key",
    "api-key",
    "apikey",
    "access_token",
    "token",
    "subscription-key",
];

/// A credential that was put on requests of a call. A trail may outlive the pool, and keeps no credential.
pub(crate) struct Placed {
    place: Place,
    credential: Weak<Credential>,
}

// === impl Placed ===

impl Placed {
    pub(crate) fn new(credential: &Arc<Credential>) -> Self {
        Self {
            place: credential.place(),
            credential: Arc::downgrade(credential),
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn is_of(&self, credential: &Arc<Credential>) -> bool {
        std::ptr::eq(self.credential.as_ptr(), Arc::as_ptr(credential))
    }

    pub(crate) fn credential(&self) -> Option<Arc<Credential>> {
        self.credential.upgrade()
    }
}

// === impl Credential ===

impl Credential {
    /// Puts it on a request in place of what stood there.
    pub(crate) fn put(&self, head: &mut request::Parts) {
        match self {
            Self::Header(name, value) => drop(head.headers.insert(name, value.clone())),
            Self::Query(name, value) => head.uri = set_parameter(&head.uri, name, value),
        }
    }

    fn place(&self) -> Place {
        match self {
            Self::Header(name, _) => Place::Header(name.clone()),
            Self::Query(name, _) => Place::Query(name.clone()),
        }
    }

    /// Adds what must not be shown of it, in each form in which it may be written.
    pub(crate) fn add_secrets(&self, secrets: &mut Vec<String>) {
        match self {
            Self::Header(name, value) => add_secrets_of_header(name, value, secrets),
            Self::Query(_, value) => add_encoded(value, secrets),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(..)")
    }
}

/// Takes every credential off a request that is about to leave for another origin: what is known to
/// carry one, what is marked as sensitive, and what somebody has put on.
pub(crate) fn strip(head: &mut request::Parts, placed: &[Place]) {
    for name in &HEADERS {
        head.headers.remove(name);
    }
    for place in placed {
        if let Place::Header(name) = place {
            head.headers.remove(name);
        }
    }
    let values = head.headers.iter();
    let marked = values.filter(|(_, value)| value.is_sensitive());
    let marked: Vec<_> = marked.map(|(name, _)| name.clone()).collect();
    for name in &marked {
        head.headers.remove(name);
    }
    let is_placed = |name: &str| {
        placed
            .iter()
            .any(|place| matches!(place, Place::Query(placed) if **placed == *name))
    };
    head.uri = retain_parameters(&head.uri, |name| {
        !is_placed(name) && !is_known_parameter(name)
    });
}

/// Whether a header of this name carries a credential by convention.
pub(crate) fn is_known_header(name: &HeaderName) -> bool {
    *name != header::HOST && HEADERS.contains(name)
}

/// Whether a parameter of this name carries a credential by convention.
pub(crate) fn is_known_parameter(name: &str) -> bool {
    PARAMETERS
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// What must not be shown of a request: the values of all headers and parameters with credentials, and the
/// user of its authority.
pub(crate) fn secrets(uri: &Uri, headers: &HeaderMap) -> Vec<String> {
    let mut secrets = Vec::new();
    for (name, value) in headers {
        if value.is_sensitive() || is_known_header(name) {
            add_secrets_of_header(name, value, &mut secrets);
        }
    }
    for pair in uri.query().into_iter().flat_map(|query| query.split('&')) {
        if let Some((name, value)) = pair.split_once('=')
            && is_known_parameter(&decoded(name))
        {
            add_encoded(value, &mut secrets);
        }
    }
    let authority = uri.authority().map(|authority| authority.as_str());
    if let Some((user, _)) = authority.and_then(|authority| authority.rsplit_once('@')) {
        user.split(':')
            .for_each(|part| add_encoded(part, &mut secrets));
    }
    secrets
}

/// The credential of a header, without its scheme; of cookies each value.
fn add_secrets_of_header(name: &HeaderName, value: &HeaderValue, secrets: &mut Vec<String>) {
    let Ok(text) = value.to_str() else {
        return;
    };
    if *name == header::COOKIE {
        let values = text.split(';').filter_map(|pair| pair.split_once('='));
        secrets.extend(values.map(|(_, value)| value.trim().into()));
    } else if let Some(word) = text.split_whitespace().next_back() {
        secrets.push(word.into());
    }
}

fn add_encoded(value: &str, secrets: &mut Vec<String>) {
    secrets.extend([value.into(), decoded(value).into_owned()]);
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// Puts `name=value` on the query in place of any parameter of that name; `value` is encoded already.
fn set_parameter(uri: &Uri, name: &str, value: &str) -> Uri {
    let kept = retain_parameters(uri, |other| other != name);
    let separator = if kept.query().is_some() { '&' } else { '?' };
    let path = match kept.path_and_query() {
        Some(path) => path.as_str(),
        None => "/",
    };
    with_path(&kept, &format!("{path}{separator}{name}={value}")).unwrap_or(kept)
}

fn retain_parameters(uri: &Uri, keep: impl Fn(&str) -> bool) -> Uri {
    let Some(query) = uri.query() else {
        return uri.clone();
    };
    let name = |pair: &str| {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        decoded(name).into_owned()
    };
    let kept: Vec<&str> = query.split('&').filter(|pair| keep(&name(pair))).collect();
    match kept.as_slice() {
        [] => with_path(uri, uri.path()),
        kept => with_path(uri, &format!("{}?{}", uri.path(), kept.join("&"))),
    }
    // Parts of a valid one are valid.
    .unwrap_or_else(|| uri.clone())
}

/// The longest path and query that [`http`] holds.
const LONGEST: usize = (u16::MAX - 1) as usize;

/// Whether the path and query can have so many bytes more.
pub(crate) fn has_room(uri: &Uri, more: usize) -> bool {
    let length = uri.path_and_query().map_or(1, |it| it.as_str().len());
    length.saturating_add(more) <= LONGEST
}

/// The URI with another path and query; `None` if they are none, such as by their length.
pub(crate) fn with_path(uri: &Uri, path_and_query: &str) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_and_query.parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn a_parameter_is_put_in_place_of_its_namesakes_and_everything_else_stays() {
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

    #[test]
    fn credentials_known_and_placed_are_taken_off_and_the_rest_stays() {
        let (mut head, ()) =
            http::Request::get("https://a.example/m?alt=sse&API_KEY=1&sig=2&key=3")
                .header("authorization", "Bearer 1")
                .header("x-own-key", "2")
                .header("x-goog-api-key", "3")
                .header("accept", "*/*")
                .body(())
                .unwrap()
                .into_parts();
        let name = HeaderName::from_static("x-own-key");
        let placed = [
            Credential::Header(name, HeaderValue::from_static("4")),
            Credential::Query("sig".into(), "5".into()),
        ];
        let placed = placed.map(|credential| {
            credential.put(&mut head);
            credential.place()
        });
        strip(&mut head, &placed);
        assert_eq!(head.uri, uri("https://a.example/m?alt=sse"));
        let names: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["accept"]);
    }
}
