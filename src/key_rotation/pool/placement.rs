//! Where the keys of a pool go on a request.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::{HeaderName, HeaderValue, Uri, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::PoolError;
#[cfg(feature = "share")]
use super::share_ids::{KeyShareIds, KeySharing};
use crate::{
    key_rotation::{Key, affinity::SecretHash},
    request::{
        credentials::{Credential, CredentialLocation as Place},
        has_room,
    },
};

#[derive(Debug)]
pub(super) enum PlaceName {
    Bearer,
    Header(String),
    Query(String),
}

/// How the keys of a pool are sent.
pub(super) struct Placement {
    place: Place,
    bearer: bool,
    /// How many bytes the longest key takes in a query.
    longest: AtomicUsize,
    #[cfg(feature = "share")]
    pub(super) sharing: Option<KeySharing>,
}

/// A key that can be sent.
pub(super) struct PreparedKey {
    pub(super) label: Arc<str>,
    pub(super) group: Option<Arc<str>>,
    pub(super) credential: Credential,
    pub(super) secret_hash: SecretHash,
    #[cfg(feature = "share")]
    pub(super) share_ids: Option<KeyShareIds>,
}

impl Placement {
    pub(super) fn new(name: PlaceName) -> Result<Self, PoolError> {
        let bearer = matches!(name, PlaceName::Bearer);
        let place = match name {
            PlaceName::Bearer => Place::Header(header::AUTHORIZATION),
            PlaceName::Header(name) => match name.parse::<HeaderName>() {
                Ok(name) => Place::Header(name),
                Err(_) => return Err(PoolError::InvalidName),
            },
            PlaceName::Query(name) if is_parameter(&name) => Place::Query(name.into()),
            PlaceName::Query(_) => return Err(PoolError::InvalidName),
        };
        Ok(Self {
            place,
            bearer,
            longest: AtomicUsize::new(0),
            #[cfg(feature = "share")]
            sharing: None,
        })
    }

    pub(super) fn prepare(
        &self,
        key: Key,
        default_label: Arc<str>,
    ) -> Result<PreparedKey, PoolError> {
        let label = key.label.unwrap_or(default_label);
        let unusable = || PoolError::UnusableKey {
            label: label.clone(),
        };
        // Only the provider would reject a key that was read from a file with its line break.
        let visible = |byte: u8| byte.is_ascii_graphic();
        if key.secret.is_empty() || !key.secret.bytes().all(visible) {
            return Err(unusable());
        }
        let secret_hash = SecretHash::new(&key.secret);
        #[cfg(feature = "share")]
        let share_ids = {
            let sharing = self.sharing.as_ref();
            sharing.map(|sharing| sharing.ids(&key.secret, key.group.as_deref()))
        };
        let credential = match &self.place {
            Place::Query(name) => {
                let value = utf8_percent_encode(&key.secret, NON_ALPHANUMERIC);
                let value: Arc<str> = value.to_string().into();
                let length = "?=".len() + name.len() + value.len();
                self.longest.fetch_max(length, Ordering::Relaxed);
                Credential::Query(name.clone(), value)
            }
            Place::Header(name) => {
                let text = match self.bearer {
                    true => format!("Bearer {}", key.secret),
                    false => key.secret,
                };
                let mut value = HeaderValue::try_from(text).map_err(|_| unusable())?;
                value.set_sensitive(true);
                Credential::Header(name.clone(), value)
            }
        };
        Ok(PreparedKey {
            label,
            group: key.group,
            credential,
            secret_hash,
            #[cfg(feature = "share")]
            share_ids,
        })
    }
}

impl Placement {
    /// Returns whether each key fits into a request for `uri`.
    pub(super) fn fits(&self, uri: &Uri) -> bool {
        has_room(uri, self.longest.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
impl Placement {
    pub(super) fn bearer() -> Self {
        Self {
            place: Place::Header(header::AUTHORIZATION),
            bearer: true,
            longest: AtomicUsize::new(0),
            #[cfg(feature = "share")]
            sharing: None,
        }
    }
}

fn is_parameter(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    !name.is_empty() && name.bytes().all(allowed)
}
