//! The limits that keys run on: one for each group of keys, and one for each model of a group.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::number::ByNumber;
use crate::{
    allowance::{Allowance, Habits, Room},
    refusal::{Bucket, Reason, Refusal, Scope},
};

/// A model's name may come from a stranger's request, so what is remembered is bounded.
const MOST: usize = 1024;

/// Keys that share their limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct GroupId(pub(super) u64);

/// Which limits a request runs on.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(super) group: GroupId,
    /// Known where it stands in the path or in a body in memory.
    pub(super) model: Option<Arc<str>>,
}

#[derive(Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Lanes {
    /// The limits of the groups, whatever the model.
    of_all: OfModel,
    by_model: HashMap<Arc<str>, OfModel>,
}

/// The limits that apply to one model, looked up once for all keys.
pub(super) struct OfWant<'a> {
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
    pub(super) fn of(&mut self, model: Option<&Arc<str>>) -> OfWant<'_> {
        OfWant {
            of_all: &mut self.of_all,
            of_model: model.map(|model| self.by_model.get_mut(model)),
        }
    }

    /// Until when none of it may be used, and why; `None` if some may.
    pub(super) fn end(&self, lane: &Lane, now: Instant) -> Option<(Instant, Refusal)> {
        let ends = self.limits(lane);
        ends.filter_map(|limits| limits.end(lane.group, now))
            .max_by_key(|(end, _)| *end)
    }

    /// Whether a refusal that came since `moment` forbids to send now.
    pub(super) fn was_refused_since(&self, lane: &Lane, moment: Instant, now: Instant) -> bool {
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
    ) -> impl Iterator<Item = (Arc<str>, Instant, Refusal)> {
        self.by_model.iter().filter_map(move |(model, of_model)| {
            let (end, refusal) = of_model.end(group, now)?;
            Some((model.clone(), end, refusal))
        })
    }

    pub(super) fn take(&mut self, lane: &Lane, now: Instant) {
        self.of_all.take(lane.group, now);
        let Some(model) = &lane.model else {
            return;
        };
        if let Some(of_model) = self.by_model.get_mut(model) {
            return of_model.take(lane.group, now);
        }
        if self.by_model.len() >= MOST {
            self.forget_one(now);
        }
        let of_model = self.by_model.entry(model.clone()).or_default();
        of_model.take(lane.group, now);
    }

    /// Makes room: the models that are idle go, or else the one that frees first of those that nobody asks.
    fn forget_one(&mut self, now: Instant) {
        self.by_model.retain(|_, of_model| !of_model.is_idle(now));
        if self.by_model.len() < MOST {
            return;
        }
        let models = self.by_model.iter();
        let unused = models.filter(|(_, of_model)| of_model.is_unused());
        let ends = unused.map(|(model, of_model)| (of_model.last_end(now), model));
        if let Some(model) = ends.min_by_key(|(end, _)| *end).map(|(_, it)| it.clone()) {
            self.by_model.remove(&model);
        }
    }

    pub(super) fn give_back(&mut self, lane: &Lane, sent: Instant) {
        for (limits, _) in self.limits_mut(lane) {
            if let Some(allowance) = limits.groups.get_mut(&lane.group) {
                allowance.give_back(sent);
            }
        }
    }

    pub(super) fn given_up(&mut self, lane: &Lane, sent: Instant) {
        for (limits, _) in self.limits_mut(lane) {
            if let Some(allowance) = limits.groups.get_mut(&lane.group) {
                allowance.given_up(sent);
            }
        }
    }

    pub(super) fn succeeded(&mut self, lane: &Lane, told: &[Bucket], sent: Instant, now: Instant) {
        for (limits, is_narrowest) in self.limits_mut(lane) {
            if let Some(allowance) = limits.groups.get_mut(&lane.group) {
                let told = of_lane(told, is_narrowest, lane);
                allowance.succeeded(&mut limits.habits, told, (sent, now));
            }
        }
    }

    pub(super) fn refused(
        &mut self,
        lane: &Lane,
        refusal: &Refusal,
        told: &[Bucket],
        when: (Instant, Instant),
        no_hint: Duration,
    ) {
        let of_group = match refusal.scope {
            Some(Scope::Account | Scope::Project) => true,
            Some(_) => false,
            // Most providers count per model, all bill per account.
            None => refusal.reason == Reason::QuotaExhausted,
        };
        let limits = match &lane.model {
            Some(model) if !of_group => self.by_model.get_mut(model),
            _ => Some(&mut self.of_all),
        };
        if let Some(OfModel { habits, groups }) = limits {
            if let Some(allowance) = groups.get_mut(&lane.group) {
                allowance.refused(habits, refusal, told, when, no_hint);
            }
        }
    }

    /// Forgets the groups that have no keys any more.
    pub(super) fn retain_groups(&mut self, has_keys: impl Fn(GroupId) -> bool) {
        for of_model in self.by_model.values_mut().chain([&mut self.of_all]) {
            of_model.groups.retain(|group, _| has_keys(*group));
        }
    }

    /// The limits that apply to a lane.
    fn limits(&self, lane: &Lane) -> impl Iterator<Item = &OfModel> {
        let of_model = lane.model.as_ref();
        let of_model = of_model.and_then(|model| self.by_model.get(model));
        [&self.of_all].into_iter().chain(of_model)
    }

    /// As [`limits`](Self::limits), the narrowest last; whether each is the narrowest.
    fn limits_mut(&mut self, lane: &Lane) -> impl Iterator<Item = (&mut OfModel, bool)> {
        let model = lane.model.as_ref();
        let of_model = model.and_then(|model| self.by_model.get_mut(model));
        let of_model = of_model.map(|of_model| (of_model, true));
        [(&mut self.of_all, model.is_none())]
            .into_iter()
            .chain(of_model)
    }
}

#[cfg(test)]
impl Lanes {
    /// How many are out by each limit.
    pub(super) fn out(&self) -> impl Iterator<Item = u64> {
        let groups = self
            .by_model
            .values()
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

    fn end(&self, group: GroupId, now: Instant) -> Option<(Instant, Refusal)> {
        self.groups.get(&group)?.end(&self.habits, now)
    }

    /// When the last of its groups frees.
    fn last_end(&self, now: Instant) -> Option<Instant> {
        let groups = self.groups.values();
        groups
            .filter_map(|allowance| Some(allowance.end(&self.habits, now)?.0))
            .max()
    }

    fn is_unused(&self) -> bool {
        self.groups.values().all(Allowance::is_unused)
    }

    fn is_idle(&self, now: Instant) -> bool {
        let mut groups = self.groups.values();
        groups.all(|allowance| allowance.is_idle(now))
    }
}

/// The limits that an answer tells of and that are this lane's: an account's own are the group's.
fn of_lane<'a>(
    told: &'a [Bucket],
    is_narrowest: bool,
    lane: &Lane,
) -> impl Iterator<Item = &'a Bucket> + Clone {
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

    #[test]
    fn what_is_remembered_of_models_is_bounded_though_each_is_limited() {
        let (mut lanes, now) = (Lanes::default(), Instant::now());
        let lane = |number: usize| Lane {
            group: GroupId(1),
            model: Some(number.to_string().into()),
        };
        let refusal = Refusal::new(Reason::RateLimited);
        for number in 0..MOST + 10 {
            let (lane, at) = (lane(number), now + Duration::from_millis(number as u64));
            lanes.take(&lane, at);
            lanes.refused(&lane, &refusal, &[], (at, at), Duration::from_secs(60));
            // The first is still asked.
            if number > 0 {
                lanes.give_back(&lane, at);
            }
        }
        assert!(lanes.by_model.len() <= MOST, "{}", lanes.by_model.len());
        let later = now + Duration::from_secs(2);
        assert!(lanes.end(&lane(0), later).is_some(), "it is under way");
        assert!(
            lanes.end(&lane(1), later).is_none(),
            "the one that frees first is forgotten first"
        );
        assert!(lanes.end(&lane(MOST + 9), later).is_some());
    }
}
