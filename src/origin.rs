//! Where a request goes: scheme, host and port (RFC 6454, section 4), the border that no credential crosses.

use std::fmt;

use http::{
    Uri,
    uri::{Authority, Scheme},
};

/// Scheme, host and port; `https://Api.example` and `https://api.example:443` are one.
///
/// Taken apart once: it is compared several times for each request.
#[derive(Clone)]
pub(crate) struct Origin {
    scheme: Scheme,
    /// In lower case, without the `user:password@` that may have stood before it: an origin outlives
    /// its request.
    authority: Authority,
    /// Where in it the host ends.
    host: usize,
    port: Option<u16>,
}

// === impl Origin ===

impl Origin {
    /// `None` for a URI that names no host.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let (scheme, authority) = (uri.scheme()?.clone(), uri.authority()?);
        let text = authority.as_str();
        let authority = match text
            .bytes()
            .any(|byte| byte == b'@' || byte.is_ascii_uppercase())
        {
            true => {
                let bare = text.rsplit_once('@').map_or(text, |(_, bare)| bare);
                bare.to_ascii_lowercase().parse().ok()?
            }
            false => authority.clone(),
        };
        let default = match scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        let host = end_of_host(authority.as_str().as_bytes());
        let port = authority.as_str().get(host + 1..);
        Some(Self {
            host,
            port: port.and_then(|port| port.parse().ok()).or(default),
            scheme,
            authority,
        })
    }

    pub(crate) fn host(&self) -> &str {
        &self.authority.as_str()[..self.host]
    }

    pub(crate) fn port(&self) -> Option<u16> {
        self.port
    }
}

/// Where in `host:port` the host ends; one in brackets has colons of its own.
fn end_of_host(authority: &[u8]) -> usize {
    let bracket = authority.iter().position(|byte| *byte == b']').unwrap_or(0);
    let colon = authority[bracket..].iter().position(|byte| *byte == b':');
    colon.map_or(authority.len(), |at| bracket + at)
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.port() == other.port() && self.host() == other.host() && self.scheme == other.scheme
    }
}

impl Eq for Origin {}

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
    fn the_default_port_and_the_case_of_the_host_do_not_matter() {
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
    fn user_and_password_are_neither_kept_nor_shown() {
        let origin = origin("https://me:secret@api.example:8443/x").unwrap();
        assert_eq!(origin.authority, "api.example:8443");
        assert_eq!(format!("{origin:?}"), "https://api.example:8443");
    }
}
