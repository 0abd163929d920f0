//! A pool that shares, as the driver sees it.

use std::collections::HashMap;

use tokio::time::Instant;

use super::{
    id::Id,
    message::{ExchangeResponse, LimitRequest, LimitResponse},
    snapshot::LeaseSums,
};

/// A pool, or the targets of a fallback layer.
pub(crate) trait Member: Send + Sync {
    /// Adds what this pool publishes and wants.
    fn fill(&self, outbox: &mut Outbox);

    /// Applies what the engine has returned.
    fn receive(&self, update: &Update<'_>);

    /// The engine is away. Each of so many processes takes its part from now on, if the number is known.
    fn disconnect(&self, replicas: Option<u32>, now: Instant);

    /// Adds what is leased now.
    fn add_leases(&self, sums: &mut LeaseSums, now: Instant);
}

/// What the pools of a process publish and want in one exchange.
pub(crate) struct Outbox {
    pub(crate) now: Instant,
    /// The number of the exchange: a limit is published once in each.
    pub(crate) number: u64,
    /// The epoch in the last response of the engine.
    pub(crate) epoch: Option<u64>,
    pub(crate) new_limits: Vec<Id>,
    pub(crate) limits: Vec<LimitRequest>,
    /// Whether places are kept that no call uses, so that they go back soon.
    pub(crate) keeps_places: bool,
    /// Whether calls wait, and requests of other processes are in flight that may leave more when they end.
    pub(crate) awaits_others: bool,
    /// Whether something is wanted.
    pub(crate) wants: bool,
}

/// What an engine has returned.
pub(crate) struct Update<'a> {
    /// The number of the exchange. A limit is updated once in each.
    pub(crate) number: u64,
    pub(crate) epoch: u64,
    /// When the request was sent. Leases count from then on.
    pub(crate) began: Instant,
    pub(crate) now: Instant,
    pub(crate) replicas: &'a [Id],
    pub(crate) is_learning: bool,
    pub(crate) limits: HashMap<Id, &'a LimitResponse>,
}

// === impl Update ===

impl<'a> Update<'a> {
    pub(super) fn new(
        response: &'a ExchangeResponse,
        number: u64,
        (began, now): (Instant, Instant),
    ) -> Self {
        Self {
            number,
            epoch: response.epoch,
            began,
            now,
            replicas: &response.replicas,
            is_learning: response.is_learning,
            limits: response.limits.iter().map(|it| (it.limit, it)).collect(),
        }
    }
}
