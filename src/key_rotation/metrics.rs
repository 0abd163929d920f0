//! The gauge of a pool's keys.

use super::{KeyPool, pool::KeyState};
use crate::telemetry;

// === impl KeyPool ===

impl KeyPool {
    /// Sets the gauge `tower_429_keys` to the current state of the keys; `name` is the label `pool`.
    ///
    /// A cooldown ends without a call, so a gauge that only calls set would be out of date. Call this before
    /// each scrape, or as often as the exporter pushes. It does nothing without the feature `metrics`.
    ///
    /// ```
    /// let pool = tower_429::KeyPool::new(["sk-one", "sk-two"])?;
    /// pool.record_metrics("openai");
    /// # Ok::<(), tower_429::key_rotation::PoolError>(())
    /// ```
    pub fn record_metrics(&self, name: &str) {
        if cfg!(not(feature = "metrics")) {
            return;
        }
        let mut counts = [("free", 0), ("limited", 0), ("on_cooldown", 0)];
        for key in self.snapshot() {
            counts[state(&key)].1 += 1;
        }
        telemetry::keys(name, counts);
    }
}

/// The place of the key's state among the counts.
fn state(key: &KeyState) -> usize {
    match (key.cooldown_until, key.limited_models.is_empty()) {
        (None, true) => 0,
        (None, false) => 1,
        (Some(_), _) => 2,
    }
}
