//! One count of a limit, as operators see it. Pure.

use tokio::time::Instant;

use crate::rejection::{Dimension, Window};

/// One count that a provider keeps, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KnownLimit {
    pub(crate) dimension: Dimension,
    pub(crate) window: Option<Window>,
    pub(crate) limit: Option<u64>,
    /// What may be used now, less what is reserved.
    pub(crate) remaining: u64,
    /// What the requests take that have a place, and are not known to be counted.
    pub(crate) reserved: u64,
    pub(crate) resets: Option<Instant>,
    pub(crate) is_learned: bool,
}
