use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderName, HeaderValue, Uri, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    KeyPool,
    state::{Order, State},
};
use crate::{
    allowance,
    key_rotation::Key,
    request::{
        Origin,
        credentials::{Credential, CredentialLocation as Place},
        has_room,
    },
};

/// Says where keys go, for which origins they are, and in which order they are used.
///
/// ```
/// use std::time::Duration;
/// use tower_429::key_rotation::{Key, KeyPool};
///
/// let anthropic = KeyPool::builder([Key::new("sk-ant-1").group("team a"), Key::new("sk-ant-2")])
///     .header("x-api-key")
///     .for_origin("https://api.anthropic.com")
///     .round_robin()
///     .build()?;
/// let gemini = KeyPool::builder(["AIza-1", "AIza-2"]).query("key").build()?;
/// # Ok::<(), tower_429::key_rotation::PoolError>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct KeyPoolBuilder {
    keys: Vec<Key>,
    place: PlaceName,
    // None: not valid; said when the pool is built.
    origins: Vec<Option<Origin>>,
    order: Order,
    cooldown: Duration,
}

#[derive(Debug)]
enum PlaceName {
    Bearer,
    Header(String),
    Query(String),
}

/// Why a pool cannot be built or changed. It never contains a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolError {
    /// A pool needs a key.
    Empty,
    /// The key of this label is empty, or has characters that a header cannot carry, such as the
    /// line break at the end of a file.
    UnusableKey {
        /// The label.
        label: Arc<str>,
    },
    /// Two keys have this label.
    DuplicateLabel {
        /// The label.
        label: Arc<str>,
    },
    /// No key has this label.
    UnknownLabel {
        /// The label.
        label: Arc<str>,
    },
    /// The key of this label is the pool's last; replace it instead.
    LastKey {
        /// The label.
        label: Arc<str>,
    },
    /// The name of the header or of the query parameter is empty or has characters that it cannot have.
    InvalidName,
    /// An origin is not of the form `https://host` or `https://host:port`.
    InvalidOrigin {
        /// Which, counted from 1.
        number: usize,
    },
}

// === impl KeyPoolBuilder ===

impl KeyPoolBuilder {
    pub(super) fn new(keys: Vec<Key>) -> Self {
        Self {
            keys,
            place: PlaceName::Bearer,
            origins: Vec::new(),
            order: Order::Sticky,
            cooldown: allowance::LONGEST_GUESS,
        }
    }

    /// Sends keys as `Authorization: Bearer`: the default.
    pub fn bearer(mut self) -> Self {
        self.place = PlaceName::Bearer;
        self
    }

    /// Sends keys as they are in a header: `x-api-key` (Anthropic), `api-key` (Azure), `x-goog-api-key` (Gemini).
    pub fn header(mut self, name: impl Into<String>) -> Self {
        self.place = PlaceName::Header(name.into());
        self
    }

    /// Sends keys in a parameter of the query: `key` (Gemini). Headers are less often logged.
    pub fn query(mut self, name: impl Into<String>) -> Self {
        self.place = PlaceName::Query(name.into());
        self
    }

    /// Names an origin for which the keys are, as `https://host` or `https://host:port`; say it again for more.
    pub fn for_origin(mut self, origin: impl AsRef<str>) -> Self {
        self.origins.push(parse_origin(origin.as_ref()));
        self
    }

    /// Takes the next key for each call, in place of staying with one until it is limited.
    ///
    /// A provider's prompt cache is most often per organisation, so staying keeps it warm where the
    /// keys are of several; going round spreads the load from the start.
    pub fn round_robin(mut self) -> Self {
        self.order = Order::RoundRobin;
        self
    }

    /// Takes the key with the most room, by what the provider says is left, for each call.
    ///
    /// Of two keys that are drawn the one with more room is taken, so large and small quotas are used
    /// alike and no key waits behind a slow one: the best for tail latency, the worst for prompt caches.
    pub fn least_loaded(mut self) -> Self {
        self.order = Order::LeastLoaded;
        self
    }

    /// Sets the longest cooldown of a limited key where the provider does not say how long; 60 s, a
    /// minute's window, unless set.
    ///
    /// The first cooldown without a hint lasts 1 s. It doubles up to `cooldown` while the requests that
    /// are sent after its end are refused, and begins again at 1 s after a success. A `cooldown` of
    /// less than 1 s shortens the first one too; less than 500 ms counts as 500 ms.
    pub fn cooldown(mut self, cooldown: Duration) -> Self {
        self.cooldown = cooldown;
        self
    }

    /// Builds the pool.
    ///
    /// # Errors
    ///
    /// If there is no key, a key cannot be sent, two keys have one label, or a name or an origin is
    /// not valid; see [`PoolError`].
    pub fn build(self) -> Result<KeyPool, PoolError> {
        let origins = (1..)
            .zip(self.origins)
            .map(|(number, origin)| origin.ok_or(PoolError::InvalidOrigin { number }));
        let origins = origins.collect::<Result<Vec<_>, _>>()?;
        let scheme = Scheme::new(self.place)?;
        let mut state = State::new(self.order, self.cooldown, fastrand::u64(..));
        if self.keys.is_empty() {
            return Err(PoolError::Empty);
        }
        for key in self.keys {
            let key = scheme.entry(key, state.default_label())?;
            state.add(key)?;
        }
        Ok(KeyPool::from_parts(scheme, origins, state))
    }
}

fn parse_origin(text: &str) -> Option<Origin> {
    let (uri, origin) = Origin::of_address(text)?;
    matches!(uri.path(), "" | "/").then_some(origin)
}

// === impl Scheme ===

/// How this pool's keys are sent.
pub(super) struct Scheme {
    place: Place,
    bearer: bool,
    /// The most bytes that one of the keys takes in a query.
    longest: AtomicUsize,
}

/// A key that can be sent.
pub(super) struct Usable {
    pub(super) label: Arc<str>,
    pub(super) group: Option<Arc<str>>,
    pub(super) credential: Credential,
}

impl Scheme {
    fn new(name: PlaceName) -> Result<Self, PoolError> {
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
        })
    }

    pub(super) fn entry(&self, key: Key, default_label: Arc<str>) -> Result<Usable, PoolError> {
        let label = key.label.unwrap_or(default_label);
        let unusable = || PoolError::UnusableKey {
            label: label.clone(),
        };
        // A key that came from a file with its line break would be refused by the provider only.
        let visible = |byte: u8| byte.is_ascii_graphic();
        if key.secret.is_empty() || !key.secret.bytes().all(visible) {
            return Err(unusable());
        }
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
        Ok(Usable {
            label,
            group: key.group,
            credential,
        })
    }
}

impl Scheme {
    /// Whether a request for `uri` has room for each key.
    pub(super) fn fits(&self, uri: &Uri) -> bool {
        has_room(uri, self.longest.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
impl Scheme {
    pub(super) fn bearer() -> Self {
        Self {
            place: Place::Header(header::AUTHORIZATION),
            bearer: true,
            longest: AtomicUsize::new(0),
        }
    }
}

fn is_parameter(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    !name.is_empty() && name.bytes().all(allowed)
}

// === impl PoolError ===

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the pool has no key: give it at least one"),
            Self::UnusableKey { label } => write!(
                f,
                "the key {label:?} is empty or has a space, a line break or another character that \
                 no key has: trim it"
            ),
            Self::DuplicateLabel { label } => {
                write!(
                    f,
                    "two keys have the label {label:?}: give each a label of its own"
                )
            }
            Self::UnknownLabel { label } => write!(f, "no key has the label {label:?}"),
            Self::LastKey { label } => {
                write!(
                    f,
                    "the key {label:?} is the pool's last: replace it, or add another first"
                )
            }
            Self::InvalidName => f.write_str(
                "the name of the header or query parameter for the keys is empty or not valid",
            ),
            Self::InvalidOrigin { number } => write!(
                f,
                "origin {number} of the pool is not of the form https://host or https://host:port"
            ),
        }
    }
}

impl std::error::Error for PoolError {}
