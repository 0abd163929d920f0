//! The origin of a request: scheme, host and port (RFC 6454, section 4). Credentials never cross origins.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use http::{
    Uri,
    uri::{Authority, Scheme},
};

/// Scheme, host and port. `https://Api.example` and `https://api.example:443` are equal.
///
/// It is parsed once, because each request compares it several times.
#[derive(Clone)]
pub(crate) struct Origin {
    scheme: Scheme,
    /// In lower case, and without `user:password@`, because an origin outlives its request.
    authority: Authority,
    /// The length of the host in `authority`.
    host_length: usize,
    port: Option<u16>,
}

// === impl Origin ===

impl Origin {
    /// Returns the origin of a URI; `None` if the URI has no scheme or no host.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let (scheme, authority) = (uri.scheme()?.clone(), uri.authority()?);
        let text = authority.as_str();
        let is_odd = |byte: u8| byte == b'@' || byte.is_ascii_uppercase();
        let authority = match text.bytes().fold(false, |odd, byte| odd | is_odd(byte)) {
            true => {
                let start = text.rfind('@').map_or(0, |at| at + 1);
                text[start..].to_ascii_lowercase().parse().ok()?
            }
            false => authority.clone(),
        };
        let default = match scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        let (host_length, port) = host_and_port(authority.as_str());
        let port = port.and_then(|port| port.parse().ok());
        Some(Self {
            host_length,
            port: port.or(default),
            scheme,
            authority,
        })
    }

    /// Parses an address of a configuration and returns it with its origin.
    ///
    /// The address must be absolute, `http` or `https`, and without user, query and fragment. If a port is
    /// given it must be a valid `u16`, because clients disagree on what an invalid one means.
    pub(crate) fn of_address(address: &str) -> Option<(Uri, Self)> {
        let uri = address.parse::<Uri>().ok()?;
        let authority = uri.authority()?.as_str();
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let is_plain =
            is_http && !authority.contains('@') && uri.query().is_none() && !address.contains('#');
        let (_, port) = host_and_port(authority);
        let is_digit = |byte: u8| byte.is_ascii_digit();
        let is_port = |port: &str| port.bytes().all(is_digit) && port.parse::<u16>().is_ok();
        let origin = Self::of(&uri).filter(|_| is_plain && port.is_none_or(is_port))?;
        Some((uri, origin))
    }

    #[cfg(feature = "share")]
    /// Returns the same text for the same origin, in each process and release.
    pub(crate) fn to_text(&self) -> String {
        let (host, port) = (self.host(), self.port().unwrap_or_default());
        format!("{}://{host}:{port}", self.scheme)
    }

    pub(crate) fn host(&self) -> &str {
        &self.authority.as_str()[..self.host_length]
    }

    pub(crate) fn port(&self) -> Option<u16> {
        self.port
    }
}

/// Returns the length of the host in `host:port`, and the port. A host in brackets contains colons.
fn host_and_port(authority: &str) -> (usize, Option<&str>) {
    match memchr::memrchr2(b':', b']', authority.as_bytes()) {
        Some(at) if authority.as_bytes()[at] == b':' => (at, Some(&authority[at + 1..])),
        _ => (authority.len(), None),
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.port() == other.port() && self.host() == other.host() && self.scheme == other.scheme
    }
}

impl Eq for Origin {}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.scheme.hash(state);
        self.host().hash(state);
        self.port().hash(state);
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host())?;
        match self.authority.port_u16() {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(uri: &str) -> Option<Origin> {
        Origin::of(&uri.parse().unwrap())
    }

    #[test]
    fn origins_are_equal_whatever_the_default_port_and_the_case() {
        assert_eq!(
            origin("https://Api.example/a"),
            origin("https://api.example:443/b")
        );
        assert_ne!(origin("https://api.example"), origin("http://api.example"));
        assert_ne!(
            origin("https://api.example"),
            origin("https://api.example:8443")
        );
        assert_ne!(
            origin("https://api.example"),
            origin("https://api.example.evil")
        );
        assert_ne!(
            origin("https://api.example@evil.example"),
            origin("https://api.example")
        );
        assert_eq!(
            origin("https://Me:Secret@API.example"),
            origin("https://api.example:443")
        );
        assert_eq!(origin("https://[::1]:8443/").unwrap().host(), "[::1]");
        assert_eq!(origin("/v1/chat"), None);
    }

    #[test]
    fn origin_drops_user_and_password() {
        let origin = origin("https://me:secret@api.example:8443/x").unwrap();
        assert_eq!(origin.authority.as_str(), "api.example:8443");
        assert_eq!(format!("{origin:?}"), "https://api.example:8443");
    }

    #[test]
    fn address_with_an_invalid_port_is_rejected() {
        let port = |address: &str| Some(Origin::of_address(address)?.1.port());
        assert_eq!(port("https://b.example/x"), Some(Some(443)));
        assert_eq!(port("http://[::1]:8080"), Some(Some(8080)));
        assert_eq!(port("http://[::1]"), Some(Some(80)));
        for bad in [":", ":x", ":99999", ":+8443", ":-1"] {
            assert_eq!(port(&format!("https://b.example{bad}")), None, "{bad}");
            assert_eq!(port(&format!("https://[::1]{bad}/x")), None, "{bad}");
        }
    }

    #[test]
    fn address_with_another_scheme_is_rejected() {
        let is_address = |address: &str| Origin::of_address(address).is_some();
        assert!(is_address("HTTPS://b.example"));
        for bad in [
            "htps://b.example",
            "ftp://b.example/x",
            "unix://b",
            "b.example",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
