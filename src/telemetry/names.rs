//! The name of each metric.

pub(super) const CALLS: &str = "tower_429_calls_total";
pub(super) const ATTEMPTS: &str = "tower_429_attempts_total";
pub(super) const TOKENS: &str = "tower_429_tokens_total";
pub(super) const REJECTIONS: &str = "tower_429_rejections_total";
pub(super) const ROTATIONS: &str = "tower_429_rotations_total";
pub(super) const FALLBACKS: &str = "tower_429_fallbacks_total";
pub(super) const OVERFLOWS: &str = "tower_429_replay_overflows_total";
pub(super) const WAIT: &str = "tower_429_wait_seconds";
#[cfg(feature = "share")]
pub(super) const SHARE_CONNECTED: &str = "tower_429_share_connected";
#[cfg(feature = "share")]
pub(super) const SHARE_EXCHANGES: &str = "tower_429_share_exchanges_total";
#[cfg(feature = "share")]
pub(super) const SHARE_GRANTED: &str = "tower_429_share_granted_total";
#[cfg(feature = "share")]
pub(super) const SHARE_EXPIRIES: &str = "tower_429_share_expiries_total";
pub(super) const KEYS: &str = "tower_429_keys";
