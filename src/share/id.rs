//! The names by which processes speak of limits: keyed hashes, so that no key and no model leaves a process.

use std::{fmt, sync::Arc};

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Separates these hashes from others that are made with the same secret.
const DOMAIN: &[u8] = b"tower-429 share";

/// The same for the limits of a scope.
const SCOPED_DOMAIN: &[u8] = b"tower-429 share, scoped";

/// A limit or a process, as an [`Engine`](super::Engine) knows it: a keyed hash or a random number of 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; 16]);

/// Which processes share what they know: those with the same name and the same secret.
///
/// The name is visible in the engine. Limits are named by a keyed hash (HMAC-SHA-256, cut to 128 bits) of the origin,
/// the key, the group and the model. So an engine never gets a key, a label, a model or an address.
///
/// ```
/// use tower_429::share::Name;
///
/// let name = Name::new("prod/openai").secret("from the vault");
/// assert_eq!(name.as_str(), "prod/openai");
/// assert_eq!(format!("{name:?}"), r#"Name("prod/openai")"#);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Name {
    name: Arc<str>,
    secret: Arc<[u8]>,
    /// What separates limits that would have the same id.
    scope: Option<Arc<str>>,
}

// === impl Id ===

impl Id {
    /// Returns the id with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns its bytes.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    pub(super) fn random() -> Self {
        Self(fastrand::u128(..).to_be_bytes())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({:032x})", u128::from_be_bytes(self.0))
    }
}

// === impl Name ===

impl Name {
    /// Returns a name. Processes that share must use the same one, and others another.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            secret: Arc::from([]),
            scope: None,
        }
    }

    /// Sets the secret of the keyed hash, which must be the same in all processes.
    ///
    /// Without it the name takes its place. Then somebody who can read the engine can find out whether a key that
    /// he has is used.
    #[must_use]
    pub fn secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.secret = secret.as_ref().into();
        self
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Returns the name for the limits of a scope.
    pub(super) fn scoped(&self, scope: &str) -> Self {
        Self {
            scope: Some(scope.into()),
            ..self.clone()
        }
    }

    /// Returns the id of what these parts describe together.
    pub(crate) fn id<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> Id {
        let key = match self.secret.is_empty() {
            true => self.name.as_bytes(),
            false => &self.secret,
        };
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
            unreachable!("an HMAC takes a key of any length");
        };
        // With its length in front, no two lists of parts give the same bytes.
        let mut add = |part: &[u8]| {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        };
        add(self.scope.as_ref().map_or(DOMAIN, |_| SCOPED_DOMAIN));
        add(self.name.as_bytes());
        self.scope.iter().for_each(|scope| add(scope.as_bytes()));
        parts.into_iter().for_each(add);
        let hash = mac.finalize().into_bytes();
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        Id(id)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Name").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &Name, parts: &[&str]) -> Id {
        name.id(parts.iter().map(|part| part.as_bytes()))
    }

    #[test]
    fn id_is_the_hmac_that_every_release_computes() {
        // The value is that of another implementation.
        let id = id(&Name::new("prod").secret("s"), &["key", "sk-one"]);
        assert_eq!(format!("{id:?}"), "Id(bfb2de129e1f064c1e2202b1f20d7442)");
    }

    #[test]
    fn id_depends_on_name_secret_and_each_part() {
        let name = Name::new("prod").secret("s");
        let ids = [
            id(&name, &["ab", "c"]),
            id(&name, &["a", "bc"]),
            id(&name, &["abc"]),
            id(&Name::new("test").secret("s"), &["ab", "c"]),
            id(&Name::new("prod").secret("t"), &["ab", "c"]),
            id(&Name::new("prod"), &["ab", "c"]),
            id(&name.scoped("chat"), &["ab", "c"]),
            id(&name.scoped("batch"), &["ab", "c"]),
            id(&name.scoped("ab"), &["c"]),
        ];
        for (at, one) in ids.iter().enumerate() {
            assert!(ids.iter().skip(at + 1).all(|other| other != one));
        }
        assert_eq!(ids[0], id(&name, &["ab", "c"]));
    }
}
