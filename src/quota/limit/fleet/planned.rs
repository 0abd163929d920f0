//! For how many waiting calls a process has planned, before it publishes what it wants. Pure.

/// The calls of a plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlannedCalls {
    /// For how many calls places are wanted, and for how many of them the scheduler has reserved.
    pub(crate) counts: (u64, u64),
    /// Whether calls wait.
    pub(crate) has_waiting: bool,
    /// Whether this process returns its idle places, and wants nothing in this exchange. Otherwise two processes could
    /// each hold what the other needs.
    pub(crate) yields: bool,
}
