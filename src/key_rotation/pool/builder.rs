use std::time::Duration;

#[cfg(feature = "share")]
use super::share_ids::KeySharing;
use super::{
    KeyPool, PoolError,
    keys::{Keys, Order},
    placement::{PlaceName, Placement},
};
use crate::{
    key_rotation::Key,
    quota::{BackgroundShares, Replicas, Share, timing::LONGEST_GUESS},
    request::Origin,
};
#[cfg(feature = "share")]
use crate::{share::Sharing, telemetry};

/// Configures where keys go on a request, for which origins they are, and in which order they are used.
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
    // `None` is reported as invalid when the pool is built.
    origins: Vec<Option<Origin>>,
    order: Order,
    cooldown: Duration,
    shares: BackgroundShares,
    replicas: Replicas,
    #[cfg(feature = "share")]
    share: Option<Sharing>,
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
            shares: BackgroundShares::default(),
            replicas: Replicas::default(),
            #[cfg(feature = "share")]
            share: None,
        }
    }

    /// Sends keys as `Authorization: Bearer`: the default.
    pub fn bearer(mut self) -> Self {
        self.place = PlaceName::Bearer;
        self
    }

    /// Sends keys unchanged in a header: `x-api-key` (Anthropic), `api-key` (Azure), `x-goog-api-key` (Gemini).
    pub fn header(mut self, name: impl Into<String>) -> Self {
        self.place = PlaceName::Header(name.into());
        self
    }

    /// Sends keys in a query parameter: `key` (Gemini). Headers are logged less often.
    pub fn query(mut self, name: impl Into<String>) -> Self {
        self.place = PlaceName::Query(name.into());
        self
    }

    /// Adds an origin that the keys are for, as `https://host` or `https://host:port`.
    pub fn for_origin(mut self, origin: impl AsRef<str>) -> Self {
        self.origins.push(parse_origin(origin.as_ref()));
        self
    }

    /// Uses the next key for each call, instead of one key until it is limited.
    ///
    /// A provider's prompt cache is most often per organisation. One key after the other keeps it warm if the
    /// keys belong to several; round robin spreads the load from the start.
    pub fn round_robin(mut self) -> Self {
        self.order = Order::RoundRobin;
        self
    }

    /// Uses for each call the key with more capacity, of two that are drawn.
    ///
    /// Large and small quotas are used evenly, and no key waits behind a slow one. This is the best for tail
    /// latency and the worst for prompt caches.
    pub fn least_loaded(mut self) -> Self {
        self.order = Order::LeastLoaded;
        self
    }

    /// Sets the longest guess; the default is 60 s, the window of a limit by the minute. A guess is the
    /// cooldown of a limited key if the provider gives no hint and the length of the window is not known.
    ///
    /// The first guess is 1 s. It doubles up to `cooldown` while the requests that are sent after its end are
    /// rejected, and is 1 s again after a success. It ends at the latest when `cooldown` has passed since the
    /// first rejection, because a window of that length has ended then. If windows are longer than
    /// `cooldown`, each takes more than one probe until their length is known. A `cooldown` of less than 1 s
    /// shortens the first guess too; less than 500 ms counts as 500 ms.
    ///
    /// Once the length of the window is known, the cooldown ends with it, also if it is longer than
    /// `cooldown`.
    pub fn cooldown(mut self, cooldown: Duration) -> Self {
        self.cooldown = cooldown;
        self
    }

    /// Sets the part of each limit that [background](crate::Priority::Background) calls leave to interactive
    /// ones; the default is 0.1. If interactive calls have lately taken more, background calls leave more.
    ///
    /// It is a fraction of 0 to 1. What is outside counts as the nearer end.
    ///
    /// ```
    /// use tower_429::key_rotation::KeyPool;
    ///
    /// let pool = KeyPool::builder(["sk-1", "sk-2"])
    ///     .background_reserve(0.25)
    ///     .background_floor(0.1)
    ///     .build()?;
    /// assert_eq!(pool.snapshot().len(), 2);
    /// # Ok::<(), tower_429::key_rotation::PoolError>(())
    /// ```
    pub fn background_reserve(mut self, fraction: f64) -> Self {
        self.shares.reserve = Share::new(fraction);
        self
    }

    /// Sets the part of the calls served by the queue that is of [background](crate::Priority::Background)
    /// calls at least, while some wait; the default is 0.05, so one of 20.
    ///
    /// These calls leave nothing to interactive ones. With 0 background calls wait until the capacity
    /// suffices for all, however long that takes. It is a fraction of 0 to 1, and what is outside counts as
    /// the nearer end.
    pub fn background_floor(mut self, fraction: f64) -> Self {
        self.shares.floor = Share::new(fraction);
        self
    }

    /// Sets how many processes send with these keys, this one included; the default is one.
    ///
    /// Each process takes its part of what the provider reports to be left, in requests and in tokens. So
    /// together they send hardly more than the provider accepts. A process takes at least one request of what
    /// is left, however many tokens that costs. A part that a process does not use is free for the others as
    /// soon as the provider's next report says so. What no header reports is not divided, because each process
    /// learns its own part of it.
    ///
    /// The number need not be exact. If fewer processes run, they leave a part of each window unused until the
    /// provider's reports show it. If more run, more requests are rejected. Zero counts as one.
    ///
    /// ```
    /// use tower_429::KeyPool;
    ///
    /// // Four workers of a deployment share the keys.
    /// let pool = KeyPool::builder(["sk-1", "sk-2"]).replicas(4).build()?;
    /// assert_eq!(pool.snapshot().len(), 2);
    /// # Ok::<(), tower_429::key_rotation::PoolError>(())
    /// ```
    ///
    /// With four keys of 50 requests per window and 64 callers in all, four processes get 146 to 247 rejections
    /// in 800 calls without this setting, and 68 to 90 with it (`examples/simulation`).
    pub fn replicas(mut self, processes: u32) -> Self {
        self.replicas = Replicas::new(processes);
        self
    }

    /// Shares with other processes what is known of the limits, and leases what is left; see
    /// [`share`](crate::share).
    ///
    /// The pool needs an origin, because what one provider says of a key must not count for another.
    /// [`replicas`](Self::replicas) still counts while the engine was never reached. Pools of one process with the
    /// same keys need [scopes](Sharing::scoped) of their own.
    ///
    /// ```
    /// use tower_429::{KeyPool, share::{InMemory, Name, share}};
    ///
    /// let (share, _driver) = share(InMemory::new(), Name::new("prod"));
    /// let pool = KeyPool::builder(["sk-1"])
    ///     .for_origin("https://api.openai.com")
    ///     .shared(share)
    ///     .build()?;
    /// assert_eq!(pool.snapshot().len(), 1);
    /// # Ok::<(), tower_429::key_rotation::PoolError>(())
    /// ```
    #[cfg(feature = "share")]
    pub fn shared(mut self, share: Sharing) -> Self {
        share.observe(telemetry::share);
        self.share = Some(share);
        self
    }

    /// Builds the pool.
    ///
    /// # Errors
    ///
    /// If there is no key, a key cannot be sent, two keys have one label or one secret, or a name or an
    /// origin is invalid; see [`PoolError`].
    pub fn build(self) -> Result<KeyPool, PoolError> {
        let origins = (1..)
            .zip(self.origins)
            .map(|(number, origin)| origin.ok_or(PoolError::InvalidOrigin { number }));
        let origins = origins.collect::<Result<Vec<_>, _>>()?;
        #[cfg_attr(not(feature = "share"), allow(unused_mut))]
        let mut placement = Placement::new(self.place)?;
        #[cfg(feature = "share")]
        if let Some(share) = self.share {
            if origins.is_empty() {
                return Err(PoolError::SharedWithoutOrigin);
            }
            placement.sharing = Some(KeySharing::new(share, &origins));
        }
        let mut keys = Keys::new(self.order, self.cooldown, fastrand::u64(..));
        (keys.shares, keys.replicas) = (self.shares, self.replicas);
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
