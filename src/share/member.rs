//! A pool that shares, as the driver sees it.

use std::collections::HashMap;

use tokio::time::Instant;

use super::{
    id::Id,
    message::{ExchangeResponse, LimitRequest, LimitResponse},
};

/// A pool, or the targets of a fallback layer.
pub(crate) trait Member: Send + Sync {
    /// Adds what is to be said.
    fn collect(&self, outbox: &mut Outbox);

    /// Takes what the engine says.
    fn hear(&self, news: &News<'_>);

    /// The engine is away. Each of so many processes takes its part from now on, if the number is known.
    fn lose(&self, replicas: Option<u32>, now: Instant);
}

/// What the pools of a process say in one exchange.
pub(crate) struct Outbox {
    pub(crate) now: Instant,
    /// The number of the exchange: a limit is said once in each.
    pub(crate) number: u64,
    /// The epoch in the last response of the engine.
    pub(crate) epoch: Option<u64>,
    pub(crate) joins: Vec<Id>,
    pub(crate) limits: Vec<LimitRequest>,
    /// Whether places are kept that no call uses, so that they go back soon.
    pub(crate) keeps_places: bool,
}

/// What an engine has said.
pub(crate) struct News<'a> {
    /// The number of the exchange. A limit is updated once in each.
    pub(crate) number: u64,
    pub(crate) epoch: u64,
    /// When the request was sent. Leases count from then on.
    pub(crate) asked: Instant,
    pub(crate) now: Instant,
    pub(crate) replicas: &'a [Id],
    pub(crate) is_learning: bool,
    pub(crate) limits: HashMap<Id, &'a LimitResponse>,
}

// === impl News ===

impl<'a> News<'a> {
    pub(super) fn new(
        hear: &'a ExchangeResponse,
        number: u64,
        (asked, now): (Instant, Instant),
    ) -> Self {
        Self {
            number,
            epoch: hear.epoch,
            asked,
            now,
            replicas: &hear.replicas,
            is_learning: hear.is_learning,
            limits: hear.limits.iter().map(|it| (it.limit, it)).collect(),
        }
    }
}
