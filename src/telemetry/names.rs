//! The name of each metric.

pub(super) const CALLS: &str = "tower_429_calls_total";
pub(super) const ATTEMPTS: &str = "tower_429_attempts_total";
pub(super) const TOKENS: &str = "tower_429_tokens_total";
pub(super) const REJECTIONS: &str = "tower_429_rejections_total";
pub(super) const ROTATIONS: &str = "tower_429_rotations_total";
pub(super) const FALLBACKS: &str = "tower_429_fallbacks_total";
pub(super) const OVERFLOWS: &str = "tower_429_replay_overflows_total";
pub(super) const WAIT: &str = "tower_429_wait_seconds";
pub(super) const KEYS: &str = "tower_429_keys";
