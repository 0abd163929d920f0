//! Which keys share their limits: given by the caller, named by responses, or inferred from their counts.
//! Pure.

use std::{collections::HashMap, mem, sync::Arc};

use tokio::time::Instant;

use super::{
    group::{GroupSource, KeyAccount},
    ids::GroupId,
    keys::{Entry, KeyReservation, Keys},
    reported_counts::{Proof, ReportedCount},
};
use crate::{
    rejection::{Bucket, Dimension, NamedAccount, is_same_organization},
    telemetry::KeyNotice,
};

/// A key whose responses name another account more often than this is behind a proxy with several, so that
/// their names say nothing of the key.
const MAX_RENAMED: u8 = 4;

// === impl Keys ===

impl Keys {
    /// Returns a group that has no keys yet.
    pub(super) fn new_group(&mut self) -> GroupId {
        self.next_group += 1;
        GroupId::new(self.next_group)
    }

    /// Returns the group of a key, and from where it is known. A group that is only inferred has the label
    /// of its first key.
    pub(super) fn group_of(&self, index: usize) -> Option<(Arc<str>, GroupSource)> {
        let entry = &self.entries[index];
        let given = entry.group.clone().map(|name| (name, GroupSource::Given));
        let named = || Some((entry.account.name.clone()?, GroupSource::Named));
        let inferred = || {
            let mut keys = self
                .entries
                .iter()
                .filter(|it| it.group_id == entry.group_id);
            let (first, _) = (keys.next()?, keys.next()?);
            let label = first.info.label().clone();
            let is_inferred = entry.account.is_inferred;
            is_inferred.then_some((label, GroupSource::Inferred))
        };
        given.or_else(named).or_else(inferred)
    }

    /// Returns what has become known of keys since the last call, and should be logged.
    pub(crate) fn take_notices(&mut self) -> Vec<KeyNotice> {
        mem::take(&mut self.notices)
    }

    /// Notes the account that a response to a key's request names. Keys of one account share their limits
    /// from then on.
    pub(crate) fn named(
        &mut self,
        reservation: &KeyReservation,
        account: &NamedAccount,
        now: Instant,
    ) {
        let Some(index) = self.index(reservation.candidate.id) else {
            return;
        };
        let entry = &self.entries[index];
        let known = entry.account.name.clone();
        let is_known = known.as_deref().is_some_and(|name| account.is_named(name));
        if is_known || entry.group.is_some() || entry.account.renamed > MAX_RENAMED {
            return;
        }
        let renamed = entry.account.renamed + u8::from(known.is_some());
        let name = (renamed <= MAX_RENAMED).then(|| Arc::<str>::from(account.name()));
        let own = entry.group_id;
        // A first response may not name the project yet.
        let is_same = match (&known, &name) {
            (Some(known), Some(name)) => is_same_organization(known, name),
            (known, _) => known.is_none(),
        };
        let mut others = (0..self.entries.len()).filter(|other| *other != index);
        let belongs = is_same
            && others.all(|other| {
                let other = &self.entries[other];
                let is_of_name = other.account.name.is_none() || other.account.name == name;
                other.group_id != own || is_of_name
            });
        let target = name.as_ref().and_then(|name| self.accounts.get(name));
        let group = match target {
            Some(group) => *group,
            None if belongs => own,
            None => self.new_group(),
        };
        self.entries[index].account = KeyAccount {
            name: name.clone(),
            renamed,
            is_inferred: belongs && self.entries[index].account.is_inferred,
        };
        if belongs {
            self.accounts.retain(|_, group| *group != own);
        }
        self.accounts.extend(name.map(|name| (name, group)));
        let moves = |at: usize, entry: &Entry| at == index || (belongs && entry.group_id == own);
        self.move_keys(moves, group, GroupSource::Named, now);
    }

    /// Notes what a success reports to be left, and follows what the counts of all keys prove.
    pub(super) fn observe_counts(
        &mut self,
        reservation: &KeyReservation,
        reports: &[Bucket],
        (sent, now): (Instant, Instant),
    ) {
        let (key, model) = (reservation.candidate.id, reservation.scope.model);
        let counts = |bucket: &&Bucket| bucket.dimension == Dimension::Requests;
        let Some(report) = reports
            .iter()
            .find(counts)
            .and_then(|bucket| ReportedCount::new(key, bucket, (sent, now)))
        else {
            return;
        };
        let is_given = |index: usize| self.entries[index].group.is_some();
        if self.entries.len() < 2 || self.index(key).is_none_or(is_given) {
            return;
        }
        let of_model = model.and_then(|slot| self.limits.models.get_mut(slot));
        let counts = match of_model {
            Some(model) => &mut model.counts,
            None => &mut self.limits.counts,
        };
        match counts.add(report) {
            Proof::None => {}
            Proof::Separate(one, other) => {
                let groups = [one, other].map(|id| self.index(id));
                let [Some(one), Some(other)] = groups else {
                    return;
                };
                if self.entries[one].group_id == self.entries[other].group_id {
                    self.separate(self.entries[one].group_id);
                }
            }
            Proof::Shared(keys) => {
                let indexes = keys.iter().filter_map(|id| self.index(*id));
                let indexes: Vec<_> = indexes.collect();
                self.infer(&indexes, now);
            }
        }
    }

    /// The counts of these keys have shown that they share their limits.
    fn infer(&mut self, indexes: &[usize], now: Instant) {
        let mut groups: Vec<_> = indexes
            .iter()
            .map(|at| self.entries[*at].group_id)
            .collect();
        groups.sort_unstable();
        groups.dedup();
        let [group, others @ ..] = &groups[..] else {
            return;
        };
        let concerned = self
            .entries
            .iter()
            .filter(|it| groups.contains(&it.group_id));
        let mut names = concerned.filter_map(|entry| entry.account.name.as_deref());
        let first = names.next();
        // Names are facts, and counts are evidence.
        let is_of_one = names.all(|name| first.is_none_or(|one| is_same_organization(one, name)));
        if others.is_empty() || !is_of_one {
            return;
        }
        for entry in &mut self.entries {
            entry.account.is_inferred |= groups.contains(&entry.group_id);
        }
        for account in self.accounts.values_mut() {
            if groups.contains(account) {
                *account = *group;
            }
        }
        let moves = |_, entry: &Entry| groups.contains(&entry.group_id);
        self.move_keys(moves, *group, GroupSource::Inferred, now);
    }

    /// The counts of two keys have shown that they do not share their limits, as was inferred. The keys of
    /// each named account stay together, and what is known of the limits stays with the first.
    fn separate(&mut self, group: GroupId) {
        let mut first = Some(group);
        let mut named: HashMap<Arc<str>, GroupId> = HashMap::new();
        for index in 0..self.entries.len() {
            let own = self.new_group();
            let entry = &mut self.entries[index];
            if entry.group_id != group {
                continue;
            }
            entry.account.is_inferred = false;
            entry.group_id = match &entry.account.name {
                Some(name) => {
                    let known = named.entry(name.clone());
                    *known.or_insert_with(|| first.take().unwrap_or(own))
                }
                None => first.take().unwrap_or(own),
            };
        }
        self.accounts.extend(named);
    }

    /// Moves keys to another group, into which each group is merged that has no keys any more.
    fn move_keys(
        &mut self,
        moves: impl Fn(usize, &Entry) -> bool,
        new: GroupId,
        source: GroupSource,
        now: Instant,
    ) {
        let with = self.entries.iter().find(|entry| entry.group_id == new);
        let with = with.map(|entry| entry.info.label().clone());
        let mut left = Vec::new();
        for (index, entry) in self.entries.iter_mut().enumerate() {
            if entry.group_id != new && moves(index, entry) {
                left.push(mem::replace(&mut entry.group_id, new));
                self.notices
                    .extend(with.clone().map(|with| KeyNotice::Shared {
                        key: entry.info.label().clone(),
                        with,
                        source: source.as_str(),
                        is_first: !mem::replace(&mut self.has_shared, true),
                    }));
            }
        }
        left.sort_unstable();
        left.dedup();
        for old in left {
            if self.entries.iter().all(|entry| entry.group_id != old) {
                self.limits.merge(old, new, now);
            }
        }
        self.forget_removed();
    }
}
