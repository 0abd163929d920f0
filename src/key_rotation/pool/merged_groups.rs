//! Which groups were merged into which, until nothing is left of the old ones. Pure.

use std::iter;

use tokio::time::Instant;

use super::ids::GroupId;

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
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, group: GroupId) -> bool {
        self.next(group).is_some()
    }

    /// Notes that a group that is closed until `opens_at` is merged into another.
    pub(super) fn add(&mut self, old: GroupId, new: GroupId, opens_at: Instant, now: Instant) {
        let into_old = self.0.iter().filter(|merged| self.last(merged.old) == old);
        let before = into_old.map(|merged| merged.opens_at).max();
        self.0.push(MergedGroup {
            old,
            new,
            at: now,
            opens_at: before.map_or(opens_at, |before| before.max(opens_at)),
        });
    }

    /// Returns the group into which this one was merged, and when.
    pub(super) fn next(&self, group: GroupId) -> Option<(GroupId, Instant)> {
        let merged = self.0.iter().find(|merged| merged.old == group)?;
        Some((merged.new, merged.at))
    }

    /// Returns the group into which this one was merged in the end, or itself.
    fn last(&self, group: GroupId) -> GroupId {
        let next = |group: &GroupId| self.next(*group).map(|(next, _)| next);
        iter::successors(Some(group), next).last().unwrap_or(group)
    }

    /// Returns the groups that were merged into this one.
    pub(super) fn merged_into(&self, group: GroupId) -> impl Iterator<Item = GroupId> {
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

    /// Forgets the old groups that are open and have no requests in flight, and returns them.
    pub(super) fn take_over(
        &mut self,
        in_use: impl Fn(GroupId) -> u64,
        now: Instant,
    ) -> Vec<GroupId> {
        let mut over = Vec::new();
        self.0.retain(|merged| {
            let is_left = merged.opens_at > now || in_use(merged.old) > 0;
            over.extend((!is_left).then_some(merged.old));
            is_left
        });
        over
    }
}
