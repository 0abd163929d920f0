//! The limits that keys run on: one for each group of keys, and one for each model of a group.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

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

/// By model; `None`: the limits of the groups, whatever the model.
#[derive(Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Lanes(HashMap<Option<Arc<str>>, OfModel>);

#[derive(Default)]
#[cfg_attr(test, derive(Clone))]
struct OfModel {
    habits: Habits,
    groups: HashMap<GroupId, Allowance>,
}

// === impl Lanes ===

impl Lanes {
    /// How much room there is by all limits that apply.
    pub(super) fn room(&mut self, lane: &Lane, now: Instant) -> Room {
        let mut room = Room::Open(u64::MAX);
        for (model, is_narrowest) in lane.models() {
            let here = match self.0.get_mut(model) {
                Some(of_model) => of_model.room(lane.group, is_narrowest, now),
                None if is_narrowest => Allowance::default().room(&Habits::default(), true, now),
                None => continue,
            };
            room = room.tighter(here);
        }
        room
    }

    /// Until when none of it may be used, and why; `None` if some may.
    pub(super) fn end(&self, lane: &Lane, now: Instant) -> Option<(Instant, Refusal)> {
        let ends = lane.models().filter_map(|(model, _)| {
            let of_model = self.0.get(model)?;
            of_model.end(lane.group, now)
        });
        ends.max_by_key(|(end, _)| *end)
    }

    /// Whether a refusal that came since `moment` forbids to send now.
    pub(super) fn was_refused_since(&self, lane: &Lane, moment: Instant, now: Instant) -> bool {
        let mut allowances = lane
            .models()
            .filter_map(|(model, _)| self.0.get(model)?.groups.get(&lane.group));
        allowances.any(|allowance| allowance.was_refused_since(moment, now))
    }

    /// The models of a group that are limited by themselves.
    pub(super) fn limited_models(
        &self,
        group: GroupId,
        now: Instant,
    ) -> impl Iterator<Item = (Arc<str>, Instant, Refusal)> {
        self.0.iter().filter_map(move |(model, of_model)| {
            let (end, refusal) = of_model.end(group, now)?;
            Some((model.clone()?, end, refusal))
        })
    }

    pub(super) fn take(&mut self, lane: &Lane, now: Instant) {
        if self.0.len() >= MOST && !self.0.contains_key(&lane.model) {
            self.forget_one(now);
        }
        for (model, _) in lane.models() {
            let of_model = match self.0.get_mut(model) {
                Some(of_model) => of_model,
                None => self.0.entry(model.clone()).or_default(),
            };
            let allowance = of_model.groups.entry(lane.group).or_default();
            allowance.take(&mut of_model.habits, now);
        }
    }

    /// Makes room: the models that are idle go, or else the one that frees first of those that nobody asks.
    fn forget_one(&mut self, now: Instant) {
        self.0
            .retain(|model, of_model| model.is_none() || !of_model.is_idle(now));
        if self.0.len() < MOST {
            return;
        }
        let unused = self
            .0
            .iter()
            .filter(|(model, of_model)| model.is_some() && of_model.is_unused());
        let ends = unused.map(|(model, of_model)| (of_model.last_end(now), model));
        if let Some(model) = ends.min_by_key(|(end, _)| *end).map(|(_, it)| it.clone()) {
            self.0.remove(&model);
        }
    }

    pub(super) fn give_back(&mut self, lane: &Lane, sent: Instant) {
        for (model, _) in lane.models() {
            if let Some((allowance, _)) = self.get_mut(model, lane.group) {
                allowance.give_back(sent);
            }
        }
    }

    pub(super) fn given_up(&mut self, lane: &Lane, sent: Instant) {
        for (model, _) in lane.models() {
            if let Some((allowance, _)) = self.get_mut(model, lane.group) {
                allowance.given_up(sent);
            }
        }
    }

    pub(super) fn succeeded(&mut self, lane: &Lane, told: &[Bucket], sent: Instant, now: Instant) {
        for (model, is_narrowest) in lane.models() {
            if let Some((allowance, habits)) = self.get_mut(model, lane.group) {
                let told = of_lane(told, is_narrowest, lane);
                allowance.succeeded(habits, told, (sent, now));
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
        let model = if of_group { &None } else { &lane.model };
        if let Some((allowance, habits)) = self.get_mut(model, lane.group) {
            allowance.refused(habits, refusal, told, when, no_hint);
        }
    }

    /// Forgets the groups that have no keys any more.
    pub(super) fn retain_groups(&mut self, has_keys: impl Fn(GroupId) -> bool) {
        for of_model in self.0.values_mut() {
            of_model.groups.retain(|group, _| has_keys(*group));
        }
    }

    fn get_mut(
        &mut self,
        model: &Option<Arc<str>>,
        group: GroupId,
    ) -> Option<(&mut Allowance, &mut Habits)> {
        let OfModel { habits, groups } = self.0.get_mut(model)?;
        Some((groups.get_mut(&group)?, habits))
    }
}

#[cfg(test)]
impl Lanes {
    /// How many are out by each limit.
    pub(super) fn out(&self) -> impl Iterator<Item = u64> {
        let groups = self
            .0
            .values()
            .flat_map(|of_model| of_model.groups.values());
        groups.map(Allowance::out)
    }
}

// === impl OfModel ===

impl OfModel {
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

// === impl Lane ===

impl Lane {
    /// The limits, the narrowest last; whether each is the narrowest.
    fn models(&self) -> impl Iterator<Item = (&Option<Arc<str>>, bool)> {
        let group = [(&None, self.model.is_none())];
        let of_model = self.model.is_some().then_some((&self.model, true));
        group.into_iter().chain(of_model)
    }
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
        assert!(lanes.0.len() <= MOST + 1, "{}", lanes.0.len());
        let later = now + Duration::from_secs(2);
        assert!(lanes.end(&lane(0), later).is_some(), "it is under way");
        assert!(
            lanes.end(&lane(1), later).is_none(),
            "the one that frees first is forgotten first"
        );
        assert!(lanes.end(&lane(MOST + 9), later).is_some());
    }
}
