//! Where a request goes: scheme, host and port (RFC 6454, section 4), the border that no credential crosses.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use http::{
    Uri,
    uri::{Authority, Scheme},
};

/// Scheme, host and port; `https://Api.example` and `https://api.example:443` are one.
#[derive(Clone)]
pub(crate) struct Origin {
    scheme: Scheme,
    authority: Authority,
}

// === impl Origin ===

impl Origin {
    /// `None` for a URI that names no host.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        Some(Self {
            scheme: uri.scheme()?.clone(),
            authority: uri.authority()?.clone(),
        })
    }

    pub(crate) fn host(&self) -> &str {
        self.authority.host()
    }

    pub(crate) fn port(&self) -> Option<u16> {
        let default = match self.scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        self.authority.port_u16().or(default)
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.scheme == other.scheme
            && self.host().eq_ignore_ascii_case(other.host())
            && self.port() == other.port()
    }
}

impl Eq for Origin {}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for byte in self.host().bytes() {
            byte.to_ascii_lowercase().hash(state);
        }
        (&self.scheme, self.port()).hash(state);
    }
}

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
