//! Whether keys count on one limit, by the remaining counts that their responses report. Pure.
//!
//! A fixed window reports each remaining count once. Two keys of one account never report the same count,
//! and two keys with a limit of their own soon do. So keys share a limit if their counts lie among one
//! another, none was reported twice, and that would be all but impossible by chance.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::ids::KeyId;
use crate::{
    quota::timing::{ADMISSION_SLACK, DISTRUST, MAX_COOLDOWN, SAME_WINDOW_SLACK},
    rejection::Bucket,
};

/// A key shares a limit if the chance is this small that with a limit of its own it would have reported no
/// count of the others, over all windows without a contradiction.
const MAX_CHANCE: f64 = 1e-4;

/// The same for a key where two others share their limits already: without a contradiction the rest of the
/// pool most likely does too, and without this would waste another window's requests until it is proven.
const MAX_CHANCE_OF_THIRD: f64 = 0.5;

/// How many reports are kept of one window.
const MAX_REPORTS: usize = 64;

/// How many limits of different sizes are watched for one model.
const MAX_LIMITS: usize = 4;

#[derive(Clone, Debug, Default)]
pub(super) struct ReportedCounts(Vec<CountedWindow>);

/// The last reports on the window of one limit, in the order in which they came.
#[derive(Clone, Debug)]
struct CountedWindow {
    limit: u64,
    ends_at: Instant,
    reports: VecDeque<ReportedCount>,
    /// For each key, the chance in the windows before.
    chances: Vec<(KeyId, f64)>,
    /// The keys that are known to share the limit.
    shared: Vec<KeyId>,
    /// Until when it is known that the keys do not share the limit.
    separate_until: Option<Instant>,
}

/// What one response reports.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReportedCount {
    pub(super) key: KeyId,
    pub(super) limit: u64,
    pub(super) remaining: u64,
    pub(super) ends_at: Instant,
    /// When its request was sent.
    pub(super) sent: Instant,
    /// When it came.
    pub(super) came: Instant,
}

/// What the reports prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    None,
    /// These keys share a limit.
    Shared(Vec<KeyId>),
    /// These two do not.
    Separate(KeyId, KeyId),
}

// === impl ReportedCounts ===

impl ReportedCounts {
    /// Adds a report and returns what the last reports prove.
    pub(super) fn add(&mut self, report: ReportedCount) -> Proof {
        let known = self.0.iter_mut().find(|it| it.limit == report.limit);
        if let Some(window) = known {
            return window.add(report);
        }
        if self.0.len() == MAX_LIMITS {
            self.0.remove(0);
        }
        self.0.push(CountedWindow {
            limit: report.limit,
            ends_at: report.ends_at,
            reports: VecDeque::from([report]),
            chances: Vec::new(),
            shared: Vec::new(),
            separate_until: None,
        });
        Proof::None
    }

    /// Forgets the reports of removed keys.
    pub(super) fn retain(&mut self, keep: impl Fn(KeyId) -> bool) {
        for window in &mut self.0 {
            window.reports.retain(|report| keep(report.key));
            window.chances.retain(|(key, _)| keep(*key));
            window.shared.retain(|key| keep(*key));
        }
    }
}

// === impl CountedWindow ===

impl CountedWindow {
    fn add(&mut self, report: ReportedCount) -> Proof {
        if self.separate_until.is_some_and(|until| report.came < until) {
            return Proof::None;
        }
        if self.ends_at + SAME_WINDOW_SLACK <= report.ends_at {
            self.chances = self.chances();
            self.ends_at = report.ends_at;
            self.reports.clear();
        } else if report.ends_at + SAME_WINDOW_SLACK <= self.ends_at {
            return Proof::None;
        }
        let mut reports = self.reports.iter();
        if let Some(other) = reports.find(|other| other.contradicts(&report)) {
            let proof = Proof::Separate(other.key, report.key);
            self.chances.clear();
            self.shared.clear();
            if other.key == report.key {
                // This limit refills within its window, so its counts prove nothing.
                self.reports = VecDeque::from([report]);
                return Proof::None;
            }
            self.separate_until = Some(report.came + DISTRUST);
            self.reports.clear();
            return proof;
        }
        if self.reports.len() == MAX_REPORTS {
            self.reports.pop_front();
        }
        self.reports.push_back(report);
        if self.shared.contains(&report.key) {
            return Proof::None;
        }
        let chances = self.chances();
        let below = |most: f64| chances.iter().filter(move |(_, chance)| *chance <= most);
        match below(MAX_CHANCE).count() {
            0 | 1 => Proof::None,
            _ => {
                self.shared = below(MAX_CHANCE_OF_THIRD).map(|(key, _)| *key).collect();
                Proof::Shared(self.shared.clone())
            }
        }
    }

    /// Returns for each key the chance that with a limit of its own it would have reported none of the counts
    /// that the others have.
    fn chances(&self) -> Vec<(KeyId, f64)> {
        let mut chances = self.chances.clone();
        for report in &self.reports {
            if chances.iter().all(|(key, _)| *key != report.key) {
                chances.push((report.key, 1.0));
            }
        }
        for (key, chance) in &mut chances {
            *chance *= self.chance(*key);
        }
        chances
    }

    fn chance(&self, key: KeyId) -> f64 {
        let others = || self.reports.iter().filter(|report| report.key != key);
        let least = others().map(|report| report.remaining).min();
        let most = others().map(|report| report.remaining).max();
        let (Some(least), Some(most)) = (least, most) else {
            return 1.0;
        };
        let is_own = |report: &&ReportedCount| report.key == key;
        let among = |report: &&ReportedCount| (least..=most).contains(&report.remaining);
        let own = self.reports.iter().filter(is_own).filter(among).count();
        let (taken, size) = (others().count() as u64, most - least + 1);
        // Each of its counts is one that it has not reported before, and not one of the others.
        (0..own as u64)
            .map(|own| 1.0 - ratio(taken, size - own))
            .product()
    }
}

// === impl ReportedCount ===

impl ReportedCount {
    /// Reads a bucket; `None` if it does not say how much of what is left until when.
    pub(super) fn new(
        key: KeyId,
        bucket: &Bucket,
        (sent, came): (Instant, Instant),
    ) -> Option<Self> {
        let reset = bucket.reset.filter(|reset| !reset.is_zero())?;
        let admitted = came.min(sent + ADMISSION_SLACK);
        Some(Self {
            key,
            limit: bucket.limit?,
            remaining: bucket.remaining?,
            ends_at: admitted + reset.min(MAX_COOLDOWN),
            sent,
            came,
        })
    }

    /// Returns whether a later report cannot be of the same count of one window: each count is reported
    /// once, and what is sent after a response finds less left than that response reports.
    fn contradicts(&self, later: &Self) -> bool {
        let is_same = self.remaining == later.remaining;
        is_same || (later.sent > self.came && later.remaining > self.remaining)
    }
}

#[allow(clippy::cast_precision_loss)] // a chance need not be exact
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}
