//! The state of sharing, for operators.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::{Sharing, Unit};
use crate::clock;

/// The state of sharing in this process, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SharingSnapshot {
    /// Whether the engine responds.
    pub state: SharingState,
    /// How many processes were live by the last response, this one included; `None` before the first response.
    pub replicas: Option<u32>,
    /// When the engine responded last; `None` before the first response.
    #[cfg_attr(
        feature = "serde",
        serde(
            rename = "responded_ago_ms",
            serialize_with = "crate::serialize::optional_age"
        )
    )]
    pub responded: Option<Instant>,
    /// What this process has leased now, in each unit. It is empty while nothing is leased, as when the engine is
    /// away.
    pub leases: Vec<LeasedUnit>,
}

/// Whether the engine responds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum SharingState {
    /// The first exchange has not ended yet.
    Starting,
    /// The last exchange has succeeded: limits are shared.
    Connected,
    /// The last exchange has failed, or the driver was dropped: each process takes its part of the limits.
    Away,
}

/// What a process has leased in one unit: the sum over all limits.
///
/// A request that counts under several limits holds a place of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LeasedUnit {
    /// The unit of the numbers.
    pub unit: Unit,
    /// How much is leased and not used yet.
    pub idle: u64,
    /// How much requests hold: reserved for them, or in flight. Where requests in flight are limited, streamed
    /// responses with an open body hold a place too.
    pub in_flight: u64,
}

/// Adds up what the pools of a process have leased.
#[derive(Debug, Default)]
pub(crate) struct LeaseSums(BTreeMap<Unit, (u64, u64)>);

// === impl Sharing ===

impl Sharing {
    /// Returns whether the engine responds, how many processes are live, and what this process has leased.
    ///
    /// It makes no exchange.
    ///
    /// ```
    /// use tower_429::{KeyPool, share::{InMemory, Name, SharingState, share}};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let (sharing, driver) = share(InMemory::new(), Name::new("prod/openai"));
    /// assert_eq!(sharing.snapshot().state, SharingState::Starting);
    ///
    /// tokio::spawn(driver);
    /// sharing.ready().await;
    /// let snapshot = sharing.snapshot();
    /// assert_eq!((snapshot.state, snapshot.replicas), (SharingState::Connected, Some(1)));
    /// assert!(snapshot.responded.is_some());
    /// assert!(snapshot.leases.is_empty(), "no pool has sent a request");
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn snapshot(&self) -> SharingSnapshot {
        let (core, now) = (self.core(), clock::now());
        let mut sums = LeaseSums::default();
        for member in core.members() {
            member.add_leases(&mut sums, now);
        }
        let (replicas, responded) = core.last_response().unzip();
        SharingSnapshot {
            state: self.state(),
            replicas,
            responded,
            leases: sums.into_units(),
        }
    }
}

// === impl SharingState ===

impl SharingState {
    /// Returns its name: `starting`, `connected` or `away`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Connected => "connected",
            Self::Away => "away",
        }
    }
}

// === impl LeaseSums ===

impl LeaseSums {
    /// Adds what is leased of one limit in a unit, and what requests hold of that.
    pub(crate) fn add(&mut self, unit: Unit, (idle, in_flight): (u64, u64)) {
        let sum = self.0.entry(unit).or_default();
        *sum = (sum.0.saturating_add(idle), sum.1.saturating_add(in_flight));
    }

    fn into_units(self) -> Vec<LeasedUnit> {
        let used = self.0.into_iter().filter(|(_, sum)| *sum != (0, 0));
        used.map(|(unit, (idle, in_flight))| LeasedUnit {
            unit,
            idle,
            in_flight,
        })
        .collect()
    }
}
