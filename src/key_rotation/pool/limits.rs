//! The limits of keys: of a key, of its group, and of both for one model. Pure.

use std::{mem, sync::Arc};

use tokio::time::Instant;

use super::{
    closed::ClosedKeys,
    ids::{GroupId, KeyId, KeyScope},
    level::{LimitLevel, is_reported_of_group, level},
    merged_groups::MergedGroups,
    reported_counts::ReportedCounts,
};
use crate::{
    quota::{
        BoundedMap, Capacity, Demand, End, Evictable, LimitMap, LimitState, LimitTable,
        ProviderTraits, SlowStart,
    },
    rejection::{Bucket, Rejection},
    request::Cost,
};

#[derive(Default)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct KeyLimits {
    pub(super) keys: LimitMap<KeyId>,
    /// Keys of one group share their limits.
    pub(super) groups: LimitMap<GroupId>,
    pub(super) models: BoundedMap<Arc<str>, ModelLimits>,
    pub(super) merged: MergedGroups,
    /// What was reported without a known model.
    pub(super) counts: ReportedCounts,
    pub(super) closed: ClosedKeys,
    /// Whether limits were created that are not shared yet.
    pub(super) has_new: bool,
}

/// The limits for one model.
#[derive(Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct ModelLimits {
    pub(super) groups: LimitMap<GroupId>,
    /// The keys that may not use the model.
    pub(super) denied: LimitMap<KeyId>,
    pub(super) counts: ReportedCounts,
}

// === impl KeyLimits ===

impl KeyLimits {
    /// Returns the slot of a model, with a new entry if nothing is known of it.
    pub(super) fn slot(&mut self, model: Option<&Arc<str>>, now: Instant) -> Option<usize> {
        let model = model?;
        let known = self.models.find(model);
        Some(known.unwrap_or_else(|| {
            // The slot may have been that of another model.
            self.closed.forget();
            self.has_new = true;
            self.models.slot_or_insert(model, now)
        }))
    }

    pub(super) fn capacity(&mut self, scope: KeyScope, demand: Demand, now: Instant) -> Capacity {
        let KeyScope { key, group, model } = scope;
        let of_all = match model {
            Some(_) => SlowStart::Off,
            None => SlowStart::Careful,
        };
        let of_all = self.groups.capacity(group, (demand, of_all), now);
        let capacity = self
            .keys
            .capacity(key, (demand, SlowStart::Off), now)
            .min(of_all);
        let capacity = match model.and_then(|slot| self.models.get_mut(slot)) {
            Some(ModelLimits { groups, denied, .. }) => capacity
                .min(groups.capacity(group, (demand, SlowStart::Careful), now))
                .min(denied.capacity(key, (demand, SlowStart::Off), now)),
            None => capacity,
        };
        self.with_merged(capacity, scope, now)
    }

    /// Returns the models for which a key is limited, while it may be free for others.
    pub(super) fn limited_models(
        &self,
        key: KeyId,
        group: GroupId,
        now: Instant,
    ) -> impl Iterator<Item = (Arc<str>, End)> {
        self.models.iter().filter_map(move |(name, model)| {
            let groups = self.merged.with_merged(group);
            let limits = groups.filter_map(|group| model.groups.get(group));
            let limits = limits.chain(model.denied.get(key));
            let ends = limits.filter_map(|(limit, traits)| limit.end(traits, now));
            Some((name.clone(), ends.reduce(End::later)?))
        })
    }

    pub(super) fn succeeded(
        &mut self,
        scope: KeyScope,
        (cost, reports): (Cost, &[Bucket]),
        when: (Instant, Instant),
    ) {
        self.closed.forget();
        for (level, limit, traits) in self.levels_mut(scope) {
            let is_of_level = |bucket: &&Bucket| match level {
                LimitLevel::Key | LimitLevel::KeyOnModel => false,
                // What an account reports is the group's, whatever the model.
                LimitLevel::Group => scope.model.is_none() || is_reported_of_group(bucket),
                LimitLevel::Model => !is_reported_of_group(bucket),
            };
            limit.succeeded(traits, (cost, reports.iter().filter(is_of_level)), when);
        }
    }

    /// Returns the limit that a rejection closes, and whether what its response reports is of that limit;
    /// `None` if it closes none.
    pub(super) fn closed_by(
        &mut self,
        scope: KeyScope,
        rejection: &Rejection,
    ) -> Option<(&mut LimitState, &mut ProviderTraits, bool)> {
        let level = level(rejection, scope.model.is_some())?;
        if let (LimitLevel::KeyOnModel, Some(slot)) = (level, scope.model) {
            self.models.get_mut(slot)?.denied.get_or_insert(scope.key);
        }
        let (_, limit, traits) = self.levels_mut(scope).find(|(of, ..)| *of == level)?;
        Some((
            limit,
            traits,
            matches!(level, LimitLevel::Group | LimitLevel::Model),
        ))
    }

    fn levels_mut(
        &mut self,
        scope: KeyScope,
    ) -> impl Iterator<Item = (LimitLevel, &mut LimitState, &mut ProviderTraits)> {
        let model = scope.model.and_then(|slot| self.models.get_mut(slot));
        let (of_model, denied) =
            model.map_or((None, None), |ModelLimits { groups, denied, .. }| {
                (groups.get_mut(scope.group), denied.get_mut(scope.key))
            });
        let limits = [
            (LimitLevel::Key, self.keys.get_mut(scope.key)),
            (LimitLevel::Group, self.groups.get_mut(scope.group)),
            (LimitLevel::Model, of_model),
            (LimitLevel::KeyOnModel, denied),
        ];
        let limits = limits.into_iter();
        limits.filter_map(|(level, limit)| limit.map(|(limit, traits)| (level, limit, traits)))
    }

    /// Forgets the keys that were removed, and the groups that have no keys any more.
    pub(super) fn retain(
        &mut self,
        keep: impl Fn(KeyId) -> bool,
        has_keys: impl Fn(GroupId) -> bool,
    ) {
        self.closed.forget();
        self.keys.retain(&keep);
        self.merged.retain(&has_keys);
        let merged = &self.merged;
        let has_keys = |group| has_keys(group) || merged.contains(group);
        self.groups.retain(has_keys);
        self.counts.retain(&keep);
        for model in self.models.values_mut() {
            model.groups.retain(has_keys);
            model.denied.retain(&keep);
            model.counts.retain(&keep);
        }
    }
}

impl LimitTable for KeyLimits {
    type Scope = KeyScope;

    fn limits(&self, scope: KeyScope) -> impl Iterator<Item = (&LimitState, &ProviderTraits)> {
        let model = scope.model.and_then(|slot| self.models.get(slot));
        let of_key = self.keys.get(scope.key);
        let denied = model.and_then(|model| model.denied.get(scope.key));
        let groups = self.merged.with_merged(scope.group);
        let of_groups = groups.flat_map(move |group| {
            let of_model = model.and_then(|model| model.groups.get(group));
            [self.groups.get(group), of_model]
        });
        [of_key, denied].into_iter().chain(of_groups).flatten()
    }

    fn limits_mut(
        &mut self,
        scope: KeyScope,
    ) -> impl Iterator<Item = (&mut LimitState, &mut ProviderTraits)> {
        self.levels_mut(scope)
            .map(|(_, limit, traits)| (limit, traits))
    }

    /// As for other limits, but a group that was merged into another is not tested: no request is counted on
    /// it that would show a test in progress.
    fn allows_early_probe(&self, scope: KeyScope, now: Instant) -> bool {
        let mut limits = self.limits(scope);
        let is_merged_open = self.end_of_merged(scope, now).is_none();
        is_merged_open && limits.all(|(limit, traits)| limit.allows_early_probe(traits, now))
    }

    fn take_new(&mut self) -> bool {
        mem::take(&mut self.has_new)
    }

    fn released(&mut self, scope: KeyScope) {
        self.closed.change(scope.key);
        self.release_merged(scope);
    }

    fn open_body(&mut self, scope: KeyScope) {
        self.limits_mut(scope)
            .for_each(|(limit, _)| limit.open_body());
        self.for_each_merged(scope, |limit, _, _| limit.open_body());
    }

    fn close_body(&mut self, scope: KeyScope) {
        self.closed.forget();
        self.limits_mut(scope)
            .for_each(|(limit, _)| limit.close_body());
        self.for_each_merged(scope, |limit, _, _| limit.close_body());
    }

    fn prepare(&mut self, scope: KeyScope) {
        self.groups.get_or_insert(scope.group);
        if let Some(model) = scope.model.and_then(|slot| self.models.get_mut(slot)) {
            model.groups.get_or_insert(scope.group);
        }
    }
}

#[cfg(test)]
impl KeyLimits {
    /// Returns of how many groups anything is known, each counted once for each model.
    pub(super) fn known_groups(&self) -> usize {
        let models = self.models.iter().map(|(_, model)| model.groups.len());
        self.groups.len() + models.sum::<usize>()
    }

    /// Returns how many requests are counted as out by each limit.
    pub(super) fn out(&self) -> impl Iterator<Item = u64> {
        let models = self.models.iter().flat_map(|(_, model)| model.groups.out());
        self.keys.out().chain(self.groups.out()).chain(models)
    }
}

// === impl ModelLimits ===

impl Evictable for ModelLimits {
    fn is_unused(&self) -> bool {
        self.groups.is_unused()
    }

    fn frees_at(&self, now: Instant) -> Option<Instant> {
        self.groups.frees_at(now).max(self.denied.frees_at(now))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use std::time::Duration;

    use super::*;
    use crate::{quota::MAX_ENTRIES, rejection::Reason};

    #[test]
    fn models_are_bounded_though_each_is_limited() {
        let (mut limits, now) = (KeyLimits::default(), Instant::now());
        let (key, group) = (KeyId::new(1), GroupId::new(1));
        let name = |number: usize| Arc::<str>::from(number.to_string());
        let rejection = Rejection {
            retry_after: Some(Duration::from_secs(60)),
            ..Rejection::new(Reason::RateLimited)
        };
        for number in 0..MAX_ENTRIES + 10 {
            let at = now + Duration::from_millis(number as u64);
            let model = limits.slot(Some(&name(number)), at);
            let reservation =
                limits.reserve(KeyScope { key, group, model }, ((), Demand::default()), at);
            let closed = limits.closed_by(reservation.scope, &rejection);
            let (limit, traits, _) = closed.expect("a limit");
            let reports = (Cost::default(), &[][..]);
            limit.rejected(
                traits,
                &rejection,
                reports,
                (at, at),
                Duration::from_secs(60),
            );
            // The first is still in flight.
            if number > 0 {
                limits.release(&reservation, None);
            }
        }
        assert_eq!(limits.models.iter().count(), MAX_ENTRIES);
        let later = now + Duration::from_secs(2);
        let end = |number| {
            let model = Some(limits.models.slot(&name(number))?);
            limits.end(KeyScope { key, group, model }, later)
        };
        assert!(end(0).is_some(), "its request is in flight");
        assert!(
            end(1).is_none(),
            "the model that frees first is evicted first"
        );
        assert!(end(MAX_ENTRIES + 9).is_some());
    }
}
