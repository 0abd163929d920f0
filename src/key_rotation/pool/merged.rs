//! Groups that turned out to share their limits with another. Pure.
//!
//! A request is counted by the group that it was reserved on, and is released there. So the old group stays
//! until its requests have ended and what closes it is over. Until then its requests count on the new group
//! too, and what closes it closes the new group. Nothing more is learned of it, so a guess that closes it
//! ends with its time.

use std::iter;

use tokio::time::Instant;

use super::limits::{GroupId, KeyLimits, KeyScope};
use crate::quota::{Capacity, End, LimitMap};

#[derive(Clone, Debug, Default)]
pub(super) struct MergedGroups(Vec<MergedGroup>);

#[derive(Clone, Copy, Debug)]
struct MergedGroup {
    old: GroupId,
    new: GroupId,
    /// When they were merged, from which on the new group counts the requests of the old one.
    at: Instant,
    /// When nothing that was known at the merge closes the old group any more.
    opens_at: Instant,
}

// === impl MergedGroups ===

impl MergedGroups {
    pub(super) fn contains(&self, group: GroupId) -> bool {
        self.get(group).is_some()
    }

    fn get(&self, old: GroupId) -> Option<MergedGroup> {
        self.0.iter().find(|merged| merged.old == old).copied()
    }

    /// Returns the group into which this one was merged in the end, or itself.
    fn last(&self, group: GroupId) -> GroupId {
        let next = |group: &GroupId| self.get(*group).map(|merged| merged.new);
        let groups = iter::successors(Some(group), next);
        groups.last().unwrap_or(group)
    }

    /// Returns the groups that were merged into this one.
    fn merged_into(&self, group: GroupId) -> impl Iterator<Item = GroupId> {
        let old = self.0.iter().map(|merged| merged.old);
        old.filter(move |old| self.last(*old) == group)
    }

    /// Returns the group into which this one was merged, or itself, and all that were merged into it.
    pub(super) fn with_merged(&self, group: GroupId) -> impl Iterator<Item = GroupId> {
        let group = self.last(group);
        iter::once(group).chain(self.merged_into(group))
    }

    /// Forgets the groups that were merged into one that has no keys any more.
    pub(super) fn retain(&mut self, has_keys: impl Fn(GroupId) -> bool) {
        let before = self.clone();
        self.0.retain(|merged| has_keys(before.last(merged.old)));
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
        let before = self.merged.0.iter();
        let before = before.filter(|merged| self.merged.last(merged.old) == old);
        let opens_at = ends.map(|end| end.at);
        let opens_at = opens_at.chain(before.map(|merged| merged.opens_at)).max();
        self.merged.0.push(MergedGroup {
            old,
            new,
            at: now,
            opens_at: opens_at.unwrap_or(now),
        });
        let models = self.models.values_mut();
        let of_models = models.map(|model| &mut model.groups);
        for limits in iter::once(&mut self.groups).chain(of_models) {
            count_too(limits, old, new, now);
        }
    }

    /// A request of a group has ended: it ends on the groups into which that was merged, too.
    pub(super) fn release_merged(&mut self, scope: KeyScope) {
        let mut group = scope.group;
        while let Some(merged) = self.merged.get(group) {
            group = merged.new;
            let model = scope.model.and_then(|slot| self.models.get_mut(slot));
            let of_model = model.and_then(|model| model.groups.get_mut(group));
            for (limit, _) in self.groups.get_mut(group).into_iter().chain(of_model) {
                limit.release(Some(merged.at));
            }
        }
    }

    /// Forgets the merged groups of which nothing is left.
    pub(super) fn forget_merged(&mut self, now: Instant) {
        if self.merged.0.is_empty() {
            return;
        }
        let groups = &self.groups;
        // Each request is counted on the group for all models too.
        let in_flight = |group| groups.get(group).map_or(0, |(limit, _)| limit.in_flight());
        let before = self.merged.clone();
        let is_left = |it: &MergedGroup| it.opens_at > now || in_flight(it.old) > 0;
        self.merged.0.retain(is_left);
        if self.merged.0.len() == before.0.len() {
            return;
        }
        let kept = &self.merged;
        let is_over = |group| before.contains(group) && !kept.contains(group);
        self.groups.retain(|group| !is_over(group));
        for model in self.models.values_mut() {
            model.groups.retain(|group| !is_over(group));
        }
    }

    /// Returns a group's capacity if what closes the groups that were merged into it applies too.
    pub(super) fn with_merged(
        &self,
        capacity: Capacity,
        scope: KeyScope,
        now: Instant,
    ) -> Capacity {
        match self.end_of_merged(scope, now) {
            Some(end) if end.is_unusable => capacity.min(Capacity::Unusable(end.at)),
            Some(end) => capacity.min(Capacity::Closed(end.at)),
            None => capacity,
        }
    }

    /// Returns what closes the groups that were merged into the one of a scope.
    pub(super) fn end_of_merged(&self, scope: KeyScope, now: Instant) -> Option<End> {
        if self.merged.0.is_empty() {
            return None;
        }
        let model = scope.model.and_then(|slot| self.models.get(slot));
        let groups = self.merged.merged_into(scope.group);
        let limits = groups.flat_map(|group| {
            let of_model = model.and_then(|model| model.groups.get(group));
            [self.groups.get(group), of_model]
        });
        let limits = limits.flatten();
        let ends = limits.filter_map(|(limit, traits)| limit.end(traits, now));
        ends.reduce(End::later)
    }
}

/// Counts the requests of one group on another too, as if they were sent now.
fn count_too(limits: &mut LimitMap<GroupId>, old: GroupId, new: GroupId, now: Instant) {
    let in_flight = limits.get(old).map_or(0, |(limit, _)| limit.in_flight());
    for _ in 0..in_flight {
        let (limit, traits) = limits.get_or_insert(new);
        limit.reserve(traits, now);
        limit.mark_sent(now);
    }
}
