//! Where the server is through which gateways share their limits.

use std::fmt;

use serde::Deserialize;

use super::rules::is_variable;

/// The URL of a server, or the environment variable that holds it. A URL may contain a password.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct ShareAt(String);

// === impl ShareAt ===

impl ShareAt {
    /// Returns the name of the environment variable, if it is one.
    pub(crate) fn variable(&self) -> Option<&str> {
        Some(&*self.0).filter(|text| is_variable(text))
    }

    /// Returns the URL; `Err` with the name of the environment variable that is not set.
    pub(crate) fn url(&self, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
        match self.variable() {
            Some(name) => variable(name).ok_or_else(|| name.into()),
            None => Ok(self.0.clone()),
        }
    }
}

/// Writes the variable, or the URL without what may be secret: its user, its password and its parameters.
impl fmt::Display for ShareAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.variable() {
            return write!(f, "the server in {name}");
        }
        let url = self.0.split(['?', '#']).next().unwrap_or_default();
        let Some((scheme, rest)) = url.split_once("://") else {
            return f.write_str(url);
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let host = authority.rsplit('@').next().unwrap_or_default();
        write!(f, "{scheme}://{host}{path}")
    }
}

impl fmt::Debug for ShareAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShareAt({self})")
    }
}
