//! A place on the limits that a request runs on, as the limits see it.

use tokio::time::Instant;

use super::demand::Demand;
use crate::request::Cost;

/// What the limits need to know of a request to count and release it.
#[derive(Clone, Debug)]
pub(crate) struct Reservation<I, S> {
    pub(crate) candidate: I,
    pub(crate) scope: S,
    pub(super) demand: Demand,
    pub(super) reserved: Instant,
    /// When the limits counted it as sent, if they did.
    pub(super) counted: Option<Instant>,
    /// When the request is sent.
    pub(crate) sent: Instant,
    /// Whether it tests before the end of a guess if that is too long.
    pub(super) is_early_probe: bool,
}

// === impl Reservation ===

impl<I, S> Reservation<I, S> {
    #[cfg(test)]
    pub(crate) fn demand(&self) -> Demand {
        self.demand
    }

    /// Returns what the request was taken to cost in tokens.
    pub(crate) fn cost(&self) -> Cost {
        self.demand.cost()
    }
}

/// What became of a reservation before its request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmed {
    Yes,
    /// Another request was rejected by one of its limits meanwhile.
    Stale,
    /// Its candidate was removed.
    Removed,
}
