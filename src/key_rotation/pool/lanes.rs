//! The limits that keys run on: one for each group of keys, and one for each model of a group.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    allowance::{Allowance, Room},
    refusal::{Bucket, Reason, Refusal, Scope},
};

/// A model's name may come from a stranger's request, so what is remembered is bounded.
const MOST: usize = 4096;

/// Keys that share their limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct GroupId(pub(super) u64);

#[derive(Clone, PartialEq, Eq, Hash)]
struct LaneId {
    group: GroupId,
    /// `None`: the limit of the group, whatever the model.
    model: Option<Arc<str>>,
}

/// Which limits a request runs on.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(super) group: GroupId,
    /// Known where it stands in the path or in a body in memory.
    pub(super) model: Option<Arc<str>>,
}

#[derive(Default)]
pub(super) struct Lanes(HashMap<LaneId, Allowance>);

// === impl Lanes ===

impl Lanes {
    /// How much room there is by all limits that apply.
    pub(super) fn room(&mut self, lane: &Lane, now: Instant) -> Room {
        let mut room = Room::Open(u64::MAX);
        for (id, is_narrowest) in lane.ids() {
            let here = match self.0.get_mut(&id) {
                Some(allowance) => allowance.room(is_narrowest, now),
                None if is_narrowest => Allowance::default().room(true, now),
                None => continue,
            };
            room = room.tighter(here);
        }
        room
    }

    /// Until when none of it may be used, and why; `None` if some may.
    pub(super) fn end(&self, lane: &Lane, now: Instant) -> Option<(Instant, Refusal)> {
        let ends = lane.ids().filter_map(|(id, _)| self.0.get(&id)?.end(now));
        ends.max_by_key(|(end, _)| *end)
    }

    /// The models of a group that are limited by themselves.
    pub(super) fn limited_models(
        &self,
        group: GroupId,
        now: Instant,
    ) -> impl Iterator<Item = (Arc<str>, Instant, Refusal)> {
        let lanes = self.0.iter().filter(move |(id, _)| id.group == group);
        lanes.filter_map(move |(id, allowance)| {
            let (end, refusal) = allowance.end(now)?;
            Some((id.model.clone()?, end, refusal))
        })
    }

    pub(super) fn take(&mut self, lane: &Lane, now: Instant) {
        if self.0.len() >= MOST {
            self.0.retain(|_, allowance| !allowance.is_idle(now));
        }
        for (id, _) in lane.ids() {
            self.0.entry(id).or_default().take(now);
        }
    }

    pub(super) fn give_back(&mut self, lane: &Lane) {
        for (id, _) in lane.ids() {
            if let Some(allowance) = self.0.get_mut(&id) {
                allowance.give_back();
            }
        }
    }

    pub(super) fn succeeded(&mut self, lane: &Lane, told: &[Bucket], sent: Instant, now: Instant) {
        for (id, is_narrowest) in lane.ids() {
            if let Some(allowance) = self.0.get_mut(&id) {
                allowance.succeeded(of_lane(told, is_narrowest, lane), sent, now);
            }
        }
    }

    pub(super) fn refused(
        &mut self,
        lane: &Lane,
        refusal: &Refusal,
        told: &[Bucket],
        (sent, now): (Instant, Instant),
        no_hint: Duration,
    ) {
        let of_group = match refusal.scope {
            Some(Scope::Account | Scope::Project) => true,
            Some(_) => false,
            // Most providers count per model, all bill per account.
            None => refusal.reason == Reason::QuotaExhausted,
        };
        let id = LaneId {
            group: lane.group,
            model: lane.model.clone().filter(|_| !of_group),
        };
        let allowance = self.0.entry(id).or_default();
        allowance.refused(refusal, told, (sent, now), no_hint);
    }

    /// Forgets the groups that have no keys any more.
    pub(super) fn retain_groups(&mut self, has_keys: impl Fn(GroupId) -> bool) {
        self.0.retain(|id, _| has_keys(id.group));
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
    fn ids(&self) -> impl Iterator<Item = (LaneId, bool)> + '_ {
        let id = |model| LaneId {
            group: self.group,
            model,
        };
        let of_model = self.model.clone().map(|model| (id(Some(model)), true));
        [(id(None), self.model.is_none())]
            .into_iter()
            .chain(of_model)
    }
}
