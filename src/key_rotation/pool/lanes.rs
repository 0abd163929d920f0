//! The limits that keys run on: one for each group of keys, and one for each model of a group.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::number::ByNumber;
use crate::{
    allowance::{Allowance, End, Forgettable, Habits, Remembered, Room},
    rejection::{Bucket, Reason, Rejection, Scope},
};

/// Keys that share their limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct GroupId(pub(super) u64);

/// Which limits a request runs on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lane {
    group: GroupId,
    /// The place of the model; `None` if it is not known, which it is where it stands in the path or in
    /// a body in memory.
    model: Option<usize>,
}

#[derive(Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Lanes {
    /// The limits of the groups, whatever the model.
    of_all: OfModel,
    models: Remembered<Arc<str>, OfModel>,
}

/// The limits that apply to one model, looked up once for all keys.
pub(super) struct OfWant<'a> {
    pub(super) model: Option<&'a Arc<str>>,
    of_all: &'a mut OfModel,
    /// `None` if the model is not known; without limits if nothing is known of it.
    of_model: Option<Option<&'a mut OfModel>>,
}

#[derive(Default)]
#[cfg_attr(test, derive(Clone))]
struct OfModel {
    habits: Habits,
    groups: HashMap<GroupId, Allowance, ByNumber>,
}

// === impl Lanes ===

impl Lanes {
    /// The limits that apply to a model.
    pub(super) fn of<'a>(&'a mut self, model: Option<&'a Arc<str>>) -> OfWant<'a> {
        OfWant {
            model,
            of_all: &mut self.of_all,
            of_model: model.map(|model| self.models.get_mut(self.models.place_of(model)?)),
        }
    }

    /// The limits that a group runs on for a model; those of the group if nothing is known of the model.
    pub(super) fn lane(&self, group: GroupId, model: Option<&Arc<str>>) -> Lane {
        let model = model.and_then(|model| self.models.place_of(model));
        Lane { group, model }
    }

    /// Until when none of it may be used, and why; `None` if some may.
    pub(super) fn end(&self, lane: Lane, now: Instant) -> Option<End> {
        let limits = self.limits(lane);
        let ends = limits.filter_map(|limits| limits.end(lane.group, now));
        ends.reduce(End::later)
    }

    /// Whether a request may find out now whether the guesses that close it are too long.
    pub(super) fn allows_early_probe(&self, lane: Lane, now: Instant) -> bool {
        self.limits(lane).all(|limits| {
            let allowance = limits.groups.get(&lane.group);
            allowance.is_none_or(|allowance| allowance.allows_early_probe(&limits.habits, now))
        })
    }

    /// The hints of a lane's limits.
    pub(super) fn hints(&self, lane: Lane, now: Instant) -> impl Iterator<Item = Instant> {
        self.limits(lane).flat_map(move |limits| {
            let allowance = limits.groups.get(&lane.group);
            allowance
                .into_iter()
                .flat_map(move |allowance| allowance.hints(&limits.habits, now))
        })
    }

    /// Whether a rejection that came since `moment` forbids to send now.
    pub(super) fn was_refused_since(&self, lane: Lane, moment: Instant, now: Instant) -> bool {
        let mut allowances = self
            .limits(lane)
            .filter_map(|limits| limits.groups.get(&lane.group));
        allowances.any(|allowance| allowance.was_refused_since(moment, now))
    }

    /// The models of a group that are limited by themselves.
    pub(super) fn limited_models(
        &self,
        group: GroupId,
        now: Instant,
    ) -> impl Iterator<Item = (Arc<str>, End)> {
        self.models
            .iter()
            .filter_map(move |(model, of_model)| Some((model.clone(), of_model.end(group, now)?)))
    }

    pub(super) fn take(&mut self, group: GroupId, model: Option<&Arc<str>>, now: Instant) -> Lane {
        let model = model.map(|model| {
            let place = self.models.place_of(model);
            place.unwrap_or_else(|| self.models.add(model.clone(), now))
        });
        let lane = Lane { group, model };
        for (limits, _) in self.limits_mut(lane) {
            limits.take(group, now);
        }
        lane
    }

    /// Does this to all limits that apply to a lane.
    pub(super) fn each(&mut self, lane: Lane, mut change: impl FnMut(&mut Allowance)) {
        for (limits, _) in self.limits_mut(lane) {
            limits.groups.get_mut(&lane.group).map(&mut change);
        }
    }

    pub(super) fn succeeded(&mut self, lane: Lane, told: &[Bucket], sent: Instant, now: Instant) {
        for (limits, is_narrowest) in self.limits_mut(lane) {
            if let Some(allowance) = limits.groups.get_mut(&lane.group) {
                let told = of_lane(told, is_narrowest, lane);
                allowance.succeeded(&mut limits.habits, told, (sent, now));
            }
        }
    }

    pub(super) fn refused(
        &mut self,
        lane: Lane,
        rejection: &Rejection,
        told: &[Bucket],
        when: (Instant, Instant),
        longest_guess: Duration,
    ) {
        let limits = match lane.model {
            Some(place) if !is_of_group(rejection) => self.models.get_mut(place),
            _ => Some(&mut self.of_all),
        };
        if let Some(OfModel { habits, groups }) = limits {
            if let Some(allowance) = groups.get_mut(&lane.group) {
                allowance.refused(habits, rejection, told, when, longest_guess);
            }
        }
    }

    /// Forgets the groups that have no keys any more.
    pub(super) fn retain_groups(&mut self, has_keys: impl Fn(GroupId) -> bool) {
        for of_model in self.models.values_mut().chain([&mut self.of_all]) {
            of_model.groups.retain(|group, _| has_keys(*group));
        }
    }

    /// The limits that apply to a lane.
    fn limits(&self, lane: Lane) -> impl Iterator<Item = &OfModel> {
        let of_model = lane.model.and_then(|place| self.models.get(place));
        [&self.of_all].into_iter().chain(of_model)
    }

    /// As [`limits`](Self::limits), the narrowest last; whether each is the narrowest.
    fn limits_mut(&mut self, lane: Lane) -> impl Iterator<Item = (&mut OfModel, bool)> {
        let of_model = lane.model.and_then(|place| self.models.get_mut(place));
        let of_model = of_model.map(|of_model| (of_model, true));
        [(&mut self.of_all, lane.model.is_none())]
            .into_iter()
            .chain(of_model)
    }
}

#[cfg(test)]
impl Lanes {
    /// How many are out by each limit.
    pub(super) fn out(&self) -> impl Iterator<Item = u64> {
        let models = self.models.iter().map(|(_, of_model)| of_model);
        let groups = models
            .chain([&self.of_all])
            .flat_map(|of_model| of_model.groups.values());
        groups.map(Allowance::out)
    }
}

// === impl OfWant ===

impl OfWant<'_> {
    /// How much room there is by all limits that apply.
    pub(super) fn room(&mut self, group: GroupId, now: Instant) -> Room {
        let room = self.of_all.room(group, self.of_model.is_none(), now);
        match &mut self.of_model {
            None => room,
            Some(Some(of_model)) => room.tighter(of_model.room(group, true, now)),
            Some(None) => room.tighter(Allowance::default().room(&Habits::default(), true, now)),
        }
    }
}

// === impl OfModel ===

impl OfModel {
    fn take(&mut self, group: GroupId, now: Instant) {
        let allowance = self.groups.entry(group).or_default();
        allowance.take(&mut self.habits, now);
    }

    fn room(&mut self, group: GroupId, is_narrowest: bool, now: Instant) -> Room {
        match self.groups.get_mut(&group) {
            Some(allowance) => allowance.room(&self.habits, is_narrowest, now),
            None => Allowance::default().room(&self.habits, is_narrowest, now),
        }
    }

    fn end(&self, group: GroupId, now: Instant) -> Option<End> {
        self.groups.get(&group)?.end(&self.habits, now)
    }
}

impl Forgettable for OfModel {
    fn is_unused(&self) -> bool {
        self.groups.values().all(Allowance::is_unused)
    }

    /// When the last of its groups frees.
    fn frees_at(&self, now: Instant) -> Option<Instant> {
        let groups = self.groups.values();
        let ends = groups.filter_map(|allowance| allowance.end(&self.habits, now));
        ends.map(|end| end.at).max()
    }
}

/// Whether it limits a group whatever the model: where another model helps, it is one model's.
pub(super) fn is_of_group(rejection: &Rejection) -> bool {
    if rejection.remedies.model == Some(true) {
        return false;
    }
    match rejection.scope {
        Some(Scope::Account | Scope::Project) => true,
        Some(_) => false,
        // Most providers count per model, all bill per account.
        None => rejection.reason == Reason::QuotaExhausted,
    }
}

/// The limits that an answer tells of and that are this lane's: an account's own are the group's.
fn of_lane(
    told: &[Bucket],
    is_narrowest: bool,
    lane: Lane,
) -> impl Iterator<Item = &Bucket> + Clone {
    let has_model = lane.model.is_some();
    told.iter().filter(move |bucket| {
        let of_group = matches!(
            bucket.scope,
            Some(Scope::Account | Scope::Project | Scope::Key)
        );
        !has_model || of_group != is_narrowest
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use super::*;
    use crate::allowance::MOST;

    #[test]
    fn what_is_remembered_of_models_is_bounded_though_each_is_limited() {
        let (mut lanes, now) = (Lanes::default(), Instant::now());
        let (group, name) = (GroupId(1), |number: usize| Arc::from(number.to_string()));
        let rejection = Rejection {
            retry_after: Some(Duration::from_secs(60)),
            ..Rejection::new(Reason::RateLimited)
        };
        for number in 0..MOST + 10 {
            let at = now + Duration::from_millis(number as u64);
            let lane = lanes.take(group, Some(&name(number)), at);
            lanes.refused(lane, &rejection, &[], (at, at), Duration::from_secs(60));
            // The first is still asked.
            if number > 0 {
                lanes.each(lane, |allowance| allowance.give_back(at, at));
            }
        }
        assert_eq!(lanes.models.iter().count(), MOST);
        let later = now + Duration::from_secs(2);
        let end = |number| lanes.end(lanes.lane(group, Some(&name(number))), later);
        assert!(end(0).is_some(), "it is under way");
        assert!(
            end(1).is_none(),
            "the one that frees first is forgotten first"
        );
        assert!(end(MOST + 9).is_some());
    }
}
