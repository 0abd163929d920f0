//! What a process found out about the calls that wait, before it publishes what it wants. Pure.

/// What was planned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlannedCalls {
    /// How many calls were considered, and how many of them could be sent.
    pub(crate) counts: (u64, u64),
    /// Whether calls wait.
    pub(crate) has_waiting: bool,
    /// Whether this process gives back what it holds in vain, and wants nothing in this exchange. Otherwise two
    /// processes could each hold what the other needs.
    pub(crate) yields: bool,
}
