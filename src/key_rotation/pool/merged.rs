//! Groups that turned out to share their limits with another. Pure.
//!
//! A request is counted by the group that it was reserved on, and is released there. So the old group stays
//! until its requests have ended and what closes it is over, and both hold the new group back as well. Nothing
//! more is learned of it, so a guess that closes it ends with its time.

use std::iter;

use tokio::time::Instant;

use super::limits::{GroupId, KeyLimits, KeyScope};
use crate::quota::{Capacity, End, LimitState, ProviderTraits};

#[derive(Clone, Debug, Default)]
pub(super) struct MergedGroups(Vec<MergedGroup>);

#[derive(Clone, Debug)]
struct MergedGroup {
    old: GroupId,
    new: GroupId,
    /// When nothing that was known at the merge closes the old group any more.
    opens_at: Instant,
}

// === impl MergedGroups ===

impl MergedGroups {
    pub(super) fn contains(&self, group: GroupId) -> bool {
        self.0.iter().any(|merged| merged.old == group)
    }

    /// Returns the groups that were merged into this one.
    fn into_group(&self, group: GroupId) -> impl Iterator<Item = GroupId> {
        let merged = self.0.iter().filter(move |merged| merged.new == group);
        merged.map(|merged| merged.old)
    }

    /// Returns the group into which this one was merged, or itself, and all that were merged into it.
    pub(super) fn with_merged(&self, group: GroupId) -> impl Iterator<Item = GroupId> {
        let mut merged = self.0.iter();
        let group = merged
            .find(|merged| merged.old == group)
            .map_or(group, |merged| merged.new);
        iter::once(group).chain(self.into_group(group))
    }

    /// Forgets the groups that were merged into one that has no keys any more.
    pub(super) fn retain(&mut self, has_keys: impl Fn(GroupId) -> bool) {
        self.0.retain(|merged| has_keys(merged.new));
    }
}

// === impl KeyLimits ===

impl KeyLimits {
    /// Merges a group that has no keys any more into another.
    pub(super) fn merge(&mut self, old: GroupId, new: GroupId, now: Instant) {
        let models = self.models.iter();
        let of_models = models.filter_map(|(_, model)| model.groups.get(old));
        let limits = of_models.chain(self.groups.get(old));
        let ends = limits.filter_map(|(limit, traits)| limit.end(traits, now));
        let opens_at = ends.map(|end| end.at).max().unwrap_or(now);
        for merged in &mut self.merged.0 {
            if merged.new == old {
                merged.new = new;
            }
        }
        self.merged.0.push(MergedGroup { old, new, opens_at });
    }

    /// Forgets the merged groups of which nothing is left.
    pub(super) fn forget_merged(&mut self, now: Instant) {
        if self.merged.0.is_empty() {
            return;
        }
        let groups = &self.groups;
        // Each request is counted on the group for all models too.
        let in_flight = |group| groups.get(group).map_or(0, |(limit, _)| limit.in_flight());
        let (left, over): (Vec<_>, Vec<_>) = self
            .merged
            .0
            .drain(..)
            .partition(|merged| merged.opens_at > now || in_flight(merged.old) > 0);
        self.merged.0 = left;
        let is_over = |group: GroupId| over.iter().any(|merged| merged.old == group);
        if over.is_empty() {
            return;
        }
        self.groups.retain(|group| !is_over(group));
        for model in self.models.values_mut() {
            model.groups.retain(|group| !is_over(group));
        }
    }

    /// Returns a group's capacity as far as the groups allow that were merged into it.
    pub(super) fn less_merged(
        &self,
        capacity: Capacity,
        scope: KeyScope,
        now: Instant,
    ) -> Capacity {
        if self.merged.0.is_empty() {
            return capacity;
        }
        let closed = match self.end_of_merged(scope, now) {
            Some(end) if end.is_unusable => Capacity::Unusable(end.at),
            Some(end) => Capacity::Closed(end.at),
            None => Capacity::UNLIMITED,
        };
        let groups = self.merged.into_group(scope.group);
        let in_flight = groups.filter_map(|group| {
            let (limit, _) = self.innermost(group, scope.model)?;
            Some(limit.in_flight())
        });
        let in_flight = in_flight.sum::<u64>();
        match capacity.min(closed) {
            Capacity::Available(more) if more <= in_flight => Capacity::Full(None),
            Capacity::Available(more) => Capacity::Available(more - in_flight),
            capacity => capacity,
        }
    }

    /// Returns what closes the groups that were merged into the one of a scope.
    pub(super) fn end_of_merged(&self, scope: KeyScope, now: Instant) -> Option<End> {
        let groups = self.merged.into_group(scope.group);
        let limits = groups.flat_map(|group| {
            let of_model = scope.model.and_then(|_| self.innermost(group, scope.model));
            [self.groups.get(group), of_model]
        });
        let ends = limits
            .flatten()
            .filter_map(|(limit, traits)| limit.end(traits, now));
        ends.reduce(End::later)
    }

    /// Returns the limit of a group that counts only this model, or all if it is not known.
    fn innermost(
        &self,
        group: GroupId,
        model: Option<usize>,
    ) -> Option<(&LimitState, &ProviderTraits)> {
        match model {
            Some(slot) => self.models.get(slot)?.groups.get(group),
            None => self.groups.get(group),
        }
    }
}
