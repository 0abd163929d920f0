use std::time::Duration;

use super::{
    KeyPool, PoolError,
    keys::{Keys, Order},
    placement::{PlaceName, Placement},
};
use crate::{key_rotation::Key, origin::Origin, quota::timing::LONGEST_GUESS};

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

// === impl KeyPoolBuilder ===

impl KeyPoolBuilder {
    pub(super) fn new(keys: Vec<Key>) -> Self {
        Self {
            keys,
            place: PlaceName::Bearer,
            origins: Vec::new(),
            order: Order::FillFirst,
            cooldown: LONGEST_GUESS,
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
        let placement = Placement::new(self.place)?;
        let mut keys = Keys::new(self.order, self.cooldown, fastrand::u64(..));
        if self.keys.is_empty() {
            return Err(PoolError::Empty);
        }
        for key in self.keys {
            let key = placement.prepare(key, keys.default_label())?;
            keys.add(key)?;
        }
        Ok(KeyPool::from_parts(placement, origins, keys))
    }
}

fn parse_origin(text: &str) -> Option<Origin> {
    let (uri, origin) = Origin::of_address(text)?;
    matches!(uri.path(), "" | "/").then_some(origin)
}
