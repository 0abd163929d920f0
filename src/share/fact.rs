//! What a process knows of a limit, and the merge of what several know. Pure.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use super::id::Id;
use crate::{
    rejection::{Bucket, Dimension, Rejection},
    request::Cost,
};

/// What one process knows of one limit. Each part only grows, or replaces an older one.
///
/// All of it comes from the process's own requests, except that `slots` and `traits` may have been adopted from others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fact {
    /// It grows with each change, so of two facts of one process the newer is known.
    pub version: u64,
    /// How many requests the process has sent.
    pub sent: u64,
    /// How many of these have passed.
    pub passed: u64,
    /// How many were rejected by this limit.
    pub rejected: u64,
    /// How many are no longer in flight, with whatever outcome.
    pub ended: u64,
    /// What the requests have cost that were sent.
    pub cost: Cost,
    /// When the last requests were sent, the oldest first: the number of the last of some, and how long ago it was.
    pub sends: Vec<(u64, Duration)>,
    /// How long ago the last request was sent that has passed.
    pub last_passed: Option<Duration>,
    /// The last rejection, while it closes the limit.
    pub rejection: Option<RejectedFact>,
    /// What the provider has reported last.
    pub reports: Vec<Report>,
    /// How many requests may be in flight, if that is known.
    pub slots: Option<u64>,
    /// What responses have shown of the provider.
    pub traits: LearnedTraits,
}

/// What responses have shown of a provider's limits, whatever the key. A process adopts from others what it has not
/// seen itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LearnedTraits {
    /// Whether limits on requests refill steadily, as a token bucket, or else all at once.
    pub steady_requests: Option<bool>,
    /// Whether limits on tokens refill steadily, or else all at once.
    pub steady_tokens: Option<bool>,
    /// Whether the whole limit is available again when a window ends.
    pub opens_in_full: Option<bool>,
    /// What was correctly reported as used up: a request that was sent anyway was rejected.
    pub confirmed: Vec<Dimension>,
    /// What was wrongly reported as used up: more requests passed than the report allowed.
    pub disproved: Vec<Dimension>,
}

/// A rejection that closes a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RejectedFact {
    /// The rejection. Its `retry_after` counts from when the response came.
    pub rejection: Rejection,
    /// What its response reported.
    pub reports: Vec<Report>,
    /// How long ago the request was sent.
    pub sent: Duration,
    /// How long ago the response came.
    pub came: Duration,
    /// How long the limit stays closed.
    pub ends: Duration,
}

/// What a response has reported of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// What was reported. Its `reset` is the time that is left now.
    pub bucket: Bucket,
    /// How long ago the request was sent.
    pub sent: Duration,
}

/// The facts of all processes.
///
/// It is the same in whatever order facts come, how often each comes, and which older ones are lost.
///
/// ```
/// use tower_429::share::{Fact, Facts, Id};
///
/// let (limit, replica) = (Id::from_bytes([1; 16]), Id::from_bytes([2; 16]));
/// let fact = |version| { let mut fact = Fact::default(); fact.version = version; fact };
/// let mut facts = Facts::default();
/// assert!(facts.merge(limit, replica, fact(2)));
/// assert!(!facts.merge(limit, replica, fact(1)), "it is older");
/// assert_eq!(facts.get(limit, replica).map(|fact| fact.version), Some(2));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts(BTreeMap<(Id, Id), Fact>);

// === impl Facts ===

impl Facts {
    /// Adds what a process knows of a limit. Returns whether that was new.
    pub fn merge(&mut self, limit: Id, replica: Id, fact: Fact) -> bool {
        match self.0.entry((limit, replica)) {
            Entry::Vacant(place) => {
                place.insert(fact);
                true
            }
            Entry::Occupied(mut known) if known.get().version < fact.version => {
                known.insert(fact);
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    /// Returns what a process has published of a limit.
    pub fn get(&self, limit: Id, replica: Id) -> Option<&Fact> {
        self.0.get(&(limit, replica))
    }

    /// Forgets what these processes have published.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(Id, Id) -> bool) {
        self.0.retain(|(limit, replica), _| keep(*limit, *replica));
    }
}

// === impl Fact ===

impl Fact {
    /// Returns how long an engine keeps it after its process has ended: while the rejection closes the limit, and
    /// while a window lasts that was reported.
    pub fn lasts(&self) -> Duration {
        let closes = self.rejection.as_ref().map(|rejected| rejected.ends);
        let resets = self.reports.iter().filter_map(|report| report.bucket.reset);
        closes.into_iter().chain(resets).max().unwrap_or_default()
    }
}

// === impl RejectedFact ===

impl RejectedFact {
    /// Returns a rejection whose request was `sent` and whose response `came` so long ago, and which closes the limit
    /// until it `ends`.
    pub fn new(
        rejection: Rejection,
        reports: Vec<Report>,
        (sent, came): (Duration, Duration),
        ends: Duration,
    ) -> Self {
        Self {
            rejection,
            reports,
            sent,
            came,
            ends,
        }
    }
}

// === impl Report ===

impl Report {
    /// Returns the report on a request that was sent so long ago.
    pub fn new(bucket: Bucket, sent: Duration) -> Self {
        Self { bucket, sent }
    }
}
