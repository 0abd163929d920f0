//! The limits of keys that other processes share.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::{ids::GroupId, keys::Keys};
use crate::{
    quota::{FleetCounts, SharedCandidates, SharedLimit},
    share::Id,
};

/// Keys that share their limits.
struct SharedGroup {
    id: Id,
    has_open_key: bool,
}

// === impl Keys ===

impl SharedCandidates for Keys {
    const ARE_LEASED: bool = true;

    fn longest_guess(&self) -> Duration {
        self.longest_guess
    }

    fn position(&self) -> usize {
        self.current
    }

    fn set_position(&mut self, position: usize) {
        self.current = position;
    }

    fn limits_have_changed(&mut self) {
        self.limits.closed.forget();
    }

    /// Visits the limits of each key from the current one on: those of the key, of its group, and of both for each
    /// model.
    fn visit_shared(&mut self, now: Instant, visit: &mut dyn FnMut(SharedLimit<'_>)) {
        let groups = self.shared_groups(now);
        let (count, first) = (self.entries.len(), self.current);
        for index in (0..count).map(|step| (first + step) % count) {
            let entry = &self.entries[index];
            let (key, group) = (entry.info.id, entry.group_id);
            let (Some(ids), Some(of_group)) = (entry.share_ids, groups.get(&group)) else {
                continue;
            };
            let limits = &mut self.limits;
            let cooldowns = (FleetCounts::Cooldowns, ids.key);
            let requests = (FleetCounts::Leases, of_group.id);
            let mut visit = |(limit, traits), (counts, base), extra| {
                visit(SharedLimit {
                    limit,
                    traits,
                    counts,
                    is_of_use: of_group.has_open_key,
                    base,
                    extra,
                });
            };
            if let Some(limit) = limits.keys.get_mut(key) {
                visit(limit, cooldowns, None);
            }
            for (name, model) in limits.models.iter_mut() {
                let extra = Some(name.as_bytes());
                if let Some(limit) = model.groups.get_mut(group) {
                    visit(limit, requests, extra);
                }
                if let Some(limit) = model.denied.get_mut(key) {
                    visit(limit, cooldowns, extra);
                }
            }
            visit(limits.groups.get_or_insert(group), requests, None);
        }
    }
}

impl Keys {
    /// Returns the groups by what others know them. Keys that are known to share their limits have the id of the
    /// least of them, whatever their order is.
    fn shared_groups(&self, now: Instant) -> HashMap<GroupId, SharedGroup> {
        let mut groups = HashMap::new();
        for entry in &self.entries {
            let Some(ids) = entry.share_ids else {
                continue;
            };
            let limits = [
                self.limits.keys.get(entry.info.id),
                self.limits.groups.get(entry.group_id),
            ];
            let mut limits = limits.into_iter().flatten();
            let is_open = limits.all(|(limit, traits)| limit.end(traits, now).is_none());
            let group = groups.entry(entry.group_id).or_insert(SharedGroup {
                id: ids.group,
                has_open_key: false,
            });
            group.id = ids.group.min(group.id);
            group.has_open_key |= is_open;
        }
        groups
    }
}
