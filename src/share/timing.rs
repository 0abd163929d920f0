//! The time bounds of sharing, each with what it bounds.

use std::time::Duration;

/// What a process holds is free so long after its last exchange. So a process that is killed keeps nothing for
/// long, and one that makes an exchange each second keeps what it holds.
pub const HOLDS_FOR: Duration = Duration::from_secs(2);

/// A process counts as live so long after its last exchange.
pub const LIVES_FOR: Duration = Duration::from_secs(3);

/// How long an engine that has lost what it knew collects what processes hold before it grants anything. Each that
/// holds something makes an exchange within this time.
pub const LEARNS_FOR: Duration = Duration::from_millis(300);

/// An exchange that takes longer has failed.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(100);

/// The time between two exchanges while calls wait for a lease. It doubles with each exchange in a row that
/// grants nothing.
const WANTED_GAP: Duration = Duration::from_millis(5);

/// The longest time between two exchanges while calls wait for a lease.
const LONGEST_WANTED_GAP: Duration = Duration::from_millis(40);

/// The time between two exchanges while there are only facts to publish.
pub(super) const FACTS_GAP: Duration = Duration::from_millis(60);

/// The time between two exchanges while calls wait until requests of other processes end.
pub(super) const AWAITED_GAP: Duration = Duration::from_millis(100);

/// Idle places are kept for so long after a call. Later only those for the calls that are expected are kept.
pub(crate) const KEPT_FOR: Duration = Duration::from_millis(60);

/// The time between two exchanges while nothing has changed.
pub(super) const IDLE_GAP: Duration = Duration::from_secs(1);

/// The time between two attempts to reach an engine that is away; jitter makes it up to twice as long.
pub(super) const RETRY_GAP: Duration = Duration::from_millis(100);

/// How long the number of processes in the last response is used.
pub(super) const REPLICAS_LAST: Duration = Duration::from_secs(60);

/// Returns the time between two exchanges while calls wait for a lease, after so many exchanges in a row that have
/// granted nothing.
pub(super) fn wanted_gap(refusals: u32) -> Duration {
    let doubled = WANTED_GAP.saturating_mul(1 << refusals.min(8));
    doubled.min(LONGEST_WANTED_GAP)
}
