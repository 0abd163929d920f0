//! Where a request goes: scheme, host and port (RFC 6454, section 4), the border that no credential crosses.

use std::{fmt, ops::Range};

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
    /// In lower case.
    authority: Authority,
    /// Where in it the host stands.
    host: Range<usize>,
    port: Option<u16>,
}

// === impl Origin ===

impl Origin {
    /// `None` for a URI that names no host.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let (scheme, authority) = (uri.scheme()?.clone(), uri.authority()?);
        let authority = match authority
            .as_str()
            .bytes()
            .any(|byte| byte.is_ascii_uppercase())
        {
            true => authority.as_str().to_ascii_lowercase().parse().ok()?,
            false => authority.clone(),
        };
        let default = match scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        let (host, port) = host_and_port(authority.as_str().as_bytes());
        let port = authority.as_str()[port].parse();
        Some(Self {
            host,
            port: port.ok().or(default),
            scheme,
            authority,
        })
    }

    pub(crate) fn host(&self) -> &str {
        &self.authority.as_str()[self.host.clone()]
    }

    pub(crate) fn port(&self) -> Option<u16> {
        self.port
    }
}

/// Where in `user:password@host:port` the last two stand; a host in brackets has colons of its own.
fn host_and_port(authority: &[u8]) -> (Range<usize>, Range<usize>) {
    let start = authority.iter().rposition(|byte| *byte == b'@');
    let start = start.map_or(0, |at| at + 1);
    let rest = &authority[start..];
    let bracket = rest.iter().position(|byte| *byte == b']').unwrap_or(0);
    let colon = rest[bracket..].iter().position(|byte| *byte == b':');
    let end = colon.map_or(authority.len(), |at| start + bracket + at);
    (start..end, (end + 1).min(authority.len())..authority.len())
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.port() == other.port() && self.host() == other.host() && self.scheme == other.scheme
    }
}

impl Eq for Origin {}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the `user:password@` that an authority may have.
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
    fn user_and_password_are_not_shown() {
        let shown = format!(
            "{:?}",
            origin("https://me:secret@api.example:8443/x").unwrap()
        );
        assert_eq!(shown, "https://api.example:8443");
    }
}
