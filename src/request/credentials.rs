//! Puts credentials on requests and removes them.

use std::{
    fmt,
    hash::BuildHasher,
    sync::{Arc, Weak},
};

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header, request};

use super::uri::{decoded, retain_parameters, set_parameter};

/// Which part of a request carries a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CredentialLocation {
    Header(HeaderName),
    /// A query parameter, by name.
    Query(Arc<str>),
}

/// A credential and its location. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    Header(HeaderName, HeaderValue),
    /// A query parameter: its name and its percent-encoded value.
    Query(Arc<str>, Arc<str>),
}

/// Headers that carry credentials, and `host`, which names the origin.
static KNOWN_HEADERS: [HeaderName; 10] = [
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    header::HOST,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
    // Temporary credentials of AWS, which are signed together with `authorization`.
    HeaderName::from_static("x-amz-security-token"),
    // A service token of Cloudflare Access: two headers that are only valid together.
    HeaderName::from_static("cf-access-client-id"),
    HeaderName::from_static("cf-access-client-secret"),
];

/// Query parameters that carry credentials, such as Gemini's `key`.
const KNOWN_PARAMETERS: [&str; 7] = [
    "key",
    "api_key",
    "api-key",
    "apikey",
    "access_token",
    "token",
    "subscription-key",
];

/// A credential that was put on requests of a call.
///
/// The reference is weak, because a trail can outlive the pool and must not keep a credential.
pub(crate) struct Placed {
    location: CredentialLocation,
    credential: Weak<Credential>,
}

// === impl Placed ===

impl Placed {
    pub(crate) fn new(credential: &Arc<Credential>) -> Self {
        Self {
            location: credential.location(),
            credential: Arc::downgrade(credential),
        }
    }

    pub(crate) fn location(&self) -> &CredentialLocation {
        &self.location
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
    /// Puts the credential on a request and replaces a previous one.
    pub(crate) fn put(&self, head: &mut request::Parts) {
        match self {
            Self::Header(name, value) => drop(head.headers.insert(name, value.clone())),
            Self::Query(name, value) => head.uri = set_parameter(&head.uri, name, value),
        }
    }

    fn location(&self) -> CredentialLocation {
        match self {
            Self::Header(name, _) => CredentialLocation::Header(name.clone()),
            Self::Query(name, _) => CredentialLocation::Query(name.clone()),
        }
    }

    /// Adds the secret, encoded and decoded, to the texts that must not be printed.
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

/// Removes every credential from a request that will be sent to another origin.
///
/// These are known headers and parameters, headers that are marked as sensitive, and `placed`.
pub(crate) fn strip(head: &mut request::Parts, placed: &[CredentialLocation]) {
    let in_header = placed.iter().filter_map(|location| match location {
        CredentialLocation::Header(name) => Some(name),
        CredentialLocation::Query(_) => None,
    });
    let headers = head.headers.iter();
    let sensitive = headers.filter(|(_, value)| value.is_sensitive());
    let sensitive: Vec<_> = sensitive.map(|(name, _)| name.clone()).collect();
    for name in KNOWN_HEADERS.iter().chain(in_header).chain(&sensitive) {
        head.headers.remove(name);
    }
    let is_placed = |name: &str| {
        let mut placed = placed.iter();
        placed.any(|it| matches!(it, CredentialLocation::Query(placed) if **placed == *name))
    };
    head.uri = retain_parameters(&head.uri, |name| {
        !is_placed(name) && !is_credential_parameter(name)
    });
}

/// Returns whether headers of this name carry credentials by convention.
///
/// [`FallbackLayer`](crate::FallbackLayer) removes these headers from requests to another origin. A proxy that adds
/// keys of its own can use the same list, so that the two agree.
///
/// ```
/// use http::{HeaderName, header};
/// use tower_429::fallback::is_credential_header;
///
/// assert!(is_credential_header(&header::AUTHORIZATION));
/// assert!(is_credential_header(&HeaderName::from_static("x-amz-security-token")));
/// assert!(!is_credential_header(&header::ACCEPT));
/// ```
pub fn is_credential_header(name: &HeaderName) -> bool {
    *name != header::HOST && KNOWN_HEADERS.contains(name)
}

/// Returns whether query parameters of this name carry credentials by convention, such as Gemini's `key`.
///
/// The name is decoded, and its case does not matter. [`FallbackLayer`](crate::FallbackLayer) removes these parameters
/// from requests to another origin.
///
/// ```
/// use tower_429::fallback::is_credential_parameter;
///
/// assert!(is_credential_parameter("key"));
/// assert!(is_credential_parameter("Api-Key"));
/// assert!(!is_credential_parameter("api-version"));
/// ```
pub fn is_credential_parameter(name: &str) -> bool {
    KNOWN_PARAMETERS
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// Returns a hash of the credentials of a request. Their order does not matter.
pub(crate) fn hash(uri: &Uri, headers: &HeaderMap, state: &impl BuildHasher) -> u64 {
    let in_headers = headers
        .iter()
        .filter(|(name, value)| is_credential_header(name) || value.is_sensitive())
        .map(|(name, value)| state.hash_one((name, value.as_bytes())));
    let in_query = parameters(uri)
        .filter(|(name, _)| is_credential_parameter(&decoded(name)))
        .map(|parameter| state.hash_one(parameter));
    let authority = uri.authority().map(|authority| authority.as_str());
    let user = authority.and_then(|authority| authority.rsplit_once('@'));
    let user = user.map(|(user, _)| state.hash_one(user));
    in_headers
        .chain(in_query)
        .chain(user)
        .fold(0, u64::wrapping_add)
}

fn parameters(uri: &Uri) -> impl Iterator<Item = (&str, &str)> {
    let pairs = uri.query().into_iter().flat_map(|query| query.split('&'));
    pairs.filter_map(|pair| pair.split_once('='))
}

/// Returns the texts of a request that must not be printed: credentials in headers and parameters, and the
/// user information of the authority.
pub(crate) fn secrets(uri: &Uri, headers: &HeaderMap) -> Vec<String> {
    let mut secrets = Vec::new();
    for (name, value) in headers {
        if value.is_sensitive() || is_credential_header(name) {
            add_secrets_of_header(name, value, &mut secrets);
        }
    }
    for (name, value) in parameters(uri) {
        if is_credential_parameter(&decoded(name)) {
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

/// Adds the credential of a header without its scheme, or the value of each cookie.
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

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;

    #[test]
    fn strip_removes_known_and_placed_credentials_only() {
        let (mut head, ()) =
            http::Request::get("https://a.example/m?alt=sse&API_KEY=1&sig=2&key=3")
                .header("authorization", "Bearer 1")
                .header("x-own-key", "2")
                .header("x-goog-api-key", "3")
                .header("x-amz-security-token", "4")
                .header("cf-access-client-id", "5")
                .header("cf-access-client-secret", "6")
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
            credential.location()
        });
        strip(&mut head, &placed);
        assert_eq!(head.uri, "https://a.example/m?alt=sse");
        let names: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["accept"]);
    }

    #[test]
    fn hash_is_of_the_credentials_alone_and_of_all_of_them() {
        let state = RandomState::new();
        let hash = |uri: &'static str, headers: &[(&'static str, &'static str)]| {
            let headers = headers.iter().map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            });
            hash(&Uri::from_static(uri), &headers.collect(), &state)
        };
        let one = ("authorization", "Bearer 1");
        let own = hash("https://a.example/m", &[one, ("accept", "*/*")]);
        assert_eq!(own, hash("https://a.example/n?alt=sse", &[one]));
        for other in [
            hash("https://a.example/m", &[]),
            hash("https://a.example/m", &[("authorization", "Bearer 2")]),
            hash("https://a.example/m", &[("api-key", "Bearer 1")]),
            hash("https://a.example/m?key=1", &[one]),
            hash("https://me:secret@a.example/m", &[one]),
            hash("https://a.example/m", &[one, ("cookie", "a=1")]),
        ] {
            assert_ne!(own, other);
        }
        let two = ("api-key", "2");
        let in_order = hash("https://a.example/", &[one, two]);
        assert_eq!(in_order, hash("https://a.example/", &[two, one]));
    }
}
