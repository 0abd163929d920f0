//! The limits of groups that turned out to share them with another. Pure.
//!
//! A request is counted by the group that it was reserved on, and is released there. So the old group stays
//! until its requests have ended and what closes it is over. Until then its requests count on the new group
//! too, and what closes it closes the new group. Nothing more is learned of it, so a guess that closes it
//! ends with its time.

use std::iter;

use tokio::time::Instant;

use super::{
    ids::{GroupId, KeyScope},
    limits::KeyLimits,
};
use crate::{
    quota::{Capacity, Demand, End, LimitMap, LimitState, ProviderTraits},
    request::Cost,
};

// === impl KeyLimits ===

impl KeyLimits {
    /// Merges a group that has no keys any more into another.
    pub(super) fn merge(&mut self, old: GroupId, new: GroupId, now: Instant) {
        self.closed.forget();
        let models = self.models.iter();
        let of_models = models.filter_map(|(_, model)| model.groups.get(old));
        let limits = of_models.chain(self.groups.get(old));
        let ends = limits.filter_map(|(limit, traits)| limit.end(traits, now));
        let opens_at = ends.map(|end| end.at).max().unwrap_or(now);
        self.merged.add(old, new, opens_at, now);
        let models = self.models.values_mut();
        let of_models = models.map(|model| &mut model.groups);
        for limits in iter::once(&mut self.groups).chain(of_models) {
            count_too(limits, old, new, now);
        }
    }

    /// A request of a group has ended: it ends on the groups into which that was merged, too.
    pub(super) fn release_merged(&mut self, scope: KeyScope) {
        self.for_each_merged(scope, |limit, traits, at| {
            limit.release(traits, Cost::default(), Some(at));
        });
    }

    /// Changes the limits into which those of a scope were merged, and says when that was.
    pub(super) fn for_each_merged(
        &mut self,
        scope: KeyScope,
        mut change: impl FnMut(&mut LimitState, &mut ProviderTraits, Instant),
    ) {
        let mut group = scope.group;
        while let Some((next, at)) = self.merged.next(group) {
            group = next;
            let model = scope.model.and_then(|slot| self.models.get_mut(slot));
            let of_model = model.and_then(|model| model.groups.get_mut(group));
            for (limit, traits) in self.groups.get_mut(group).into_iter().chain(of_model) {
                change(limit, traits, at);
            }
        }
    }

    /// Forgets the merged groups that have no limit left.
    pub(super) fn forget_merged(&mut self, now: Instant) {
        if self.merged.is_empty() {
            return;
        }
        let groups = &self.groups;
        // Each request is counted on the group for all models too.
        let in_use = |group| groups.get(group).map_or(0, |(limit, _)| limit.in_use());
        let over = self.merged.take_over(in_use, now);
        if over.is_empty() {
            return;
        }
        self.groups.retain(|group| !over.contains(&group));
        for model in self.models.values_mut() {
            model.groups.retain(|group| !over.contains(&group));
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
        if self.merged.is_empty() {
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

/// Counts the requests of one group on another too, as if they were sent now. Those of other processes are counted when
/// these publish them again.
fn count_too(limits: &mut LimitMap<GroupId>, old: GroupId, new: GroupId, now: Instant) {
    let (in_flight, open) = limits.get(old).map_or((0, 0), |(limit, _)| {
        let open = limit.in_use() - limit.in_flight();
        (limit.own_in_flight(), open)
    });
    if let Some((limit, _)) = limits.get_mut(new) {
        // It was the share of one key.
        limit.forget_estimate();
    }
    for _ in 0..in_flight {
        let (limit, traits) = limits.get_or_insert(new);
        limit.reserve(traits, Cost::default(), now);
        limit.mark_sent(traits, Demand::default(), now);
    }
    for _ in 0..open {
        limits.get_or_insert(new).0.open_body();
    }
}
