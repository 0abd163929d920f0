//! What an operator does to a key while the pool runs.

use std::{iter, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{KeyPool, PoolError, ids::KeyScope, keys::Keys};
use crate::{clock, quota::LimitTable};

// === impl KeyPool ===

impl KeyPool {
    /// Ends the cooldowns of a key at once, for example after its bill was paid.
    ///
    /// What is known of the limits of its [group](super::Key::group) is forgotten too, for every model, because
    /// a limit that closes a key is most often the group's. So the other keys of the group are free too, unless
    /// they were rejected themselves. Requests in flight stay counted, and so do the counts of
    /// [`KeyState`](super::KeyState). Calls that wait are served.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_429::KeyPool;
    ///
    /// let pool = KeyPool::new(["sk-one", "sk-two"])?;
    /// pool.cool_down("key-1", Duration::from_secs(600))?;
    /// pool.reset("key-1")?;
    /// assert_eq!(pool.snapshot()[0].cooldown_until, None);
    /// # Ok::<(), tower_429::key_rotation::PoolError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If there is no such key.
    pub fn reset(&self, label: &str) -> Result<(), PoolError> {
        self.change(|keys| {
            let index = keys.index_of(label)?;
            keys.reset(index);
            Ok(())
        })
    }

    /// Puts a key on cooldown for every model, as a provider's hint does, for example before maintenance.
    ///
    /// The other keys of its group are not affected. The cooldown has the reason
    /// [`RateLimited`](crate::rejection::Reason::RateLimited), and does not shorten one that ends later. It
    /// lasts 24 hours at most. If every key is on cooldown, the layer may
    /// [send anyway](crate::key_rotation::SendAnyway) with this one, and a success ends the cooldown.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_429::KeyPool;
    ///
    /// let pool = KeyPool::new(["sk-one", "sk-two"])?;
    /// pool.cool_down("key-1", Duration::from_secs(600))?;
    /// let states = pool.snapshot();
    /// assert!(states[0].cooldown_until.is_some());
    /// assert!(states[1].cooldown_until.is_none());
    /// # Ok::<(), tower_429::key_rotation::PoolError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If there is no such key.
    pub fn cool_down(&self, label: &str, time: Duration) -> Result<(), PoolError> {
        let now = clock::now();
        self.change(|keys| {
            let index = keys.index_of(label)?;
            keys.cool_down(index, time, now);
            Ok(())
        })
    }
}

// === impl Keys ===

impl Keys {
    fn index_of(&self, label: &str) -> Result<usize, PoolError> {
        let unknown = || PoolError::UnknownLabel {
            label: Arc::from(label),
        };
        self.find(label).ok_or_else(unknown)
    }

    fn reset(&mut self, index: usize) {
        self.limits.closed.forget();
        let scope = self.scope(index, None);
        let groups = self.limits.merged.with_merged(scope.group);
        let groups: Vec<_> = groups.collect();
        let models = &self.limits.models;
        let slots = models.iter().map(|(name, _)| models.slot(name));
        let slots: Vec<_> = iter::once(None).chain(slots).collect();
        for model in slots {
            for group in &groups {
                let (group, key) = (*group, scope.key);
                for (limit, _) in self.limits.limits_mut(KeyScope { key, group, model }) {
                    limit.reset();
                }
            }
        }
    }

    fn cool_down(&mut self, index: usize, time: Duration, now: Instant) {
        let key = self.entries[index].info.id();
        self.limits.closed.change(key);
        // A hint of zero would count as none, and be replaced by a guess.
        if let (Some((limit, traits)), false) = (self.limits.keys.get_mut(key), time.is_zero()) {
            limit.cool_down(traits, time, now);
        }
    }
}
