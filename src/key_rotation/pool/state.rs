//! Which key is next: a plain state over `now`, with no clock, no lock and no future inside.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{PoolError, builder::Usable};
use crate::{
    allowance::Cooldown,
    credentials::Credential,
    refusal::{Reason, Refusal, Scope},
};

/// A key for as long as it is in the pool; never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyId(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The same key until it is limited.
    Sticky,
    RoundRobin,
}

pub(super) struct State {
    /// Never empty once the pool is built.
    keys: Vec<Entry>,
    groups: HashMap<GroupId, Cooldown>,
    order: Order,
    no_hint: Duration,
    /// Where the key that is used now stands in `keys`.
    current: usize,
    next_id: u64,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum GroupId {
    Named(Arc<str>),
    /// A key that shares its limits with nobody.
    Own(u64),
}

pub(super) struct Entry {
    pub(super) id: KeyId,
    pub(super) label: Arc<str>,
    pub(super) group: Option<Arc<str>>,
    pub(super) credential: Credential,
    pub(super) uses: u64,
    pub(super) refusals: u64,
    pub(super) in_flight: usize,
    cooldown: Cooldown,
}

/// Every key that may be taken cools, or none is left.
#[derive(Clone, Debug)]
pub(crate) struct Exhausted {
    /// When the first key of the pool frees; in the past if a key is free that the call has tried.
    pub(crate) free_at: Instant,
    /// What that key waits for.
    pub(crate) refusal: Option<Refusal>,
}

// === impl State ===

impl State {
    pub(super) fn new(order: Order, no_hint: Duration) -> Self {
        Self {
            keys: Vec::new(),
            groups: HashMap::new(),
            order,
            no_hint,
            current: 0,
            next_id: 1,
        }
    }

    pub(super) fn keys(&self) -> &[Entry] {
        &self.keys
    }

    /// The label of the next key that has none of its own.
    pub(super) fn default_label(&self) -> Arc<str> {
        (self.next_id..)
            .map(|number| Arc::from(format!("key-{number}")))
            .find(|label| self.find(label).is_none())
            .unwrap_or_else(|| "key".into())
    }

    pub(super) fn add(&mut self, key: Usable) -> Result<(), PoolError> {
        if self.find(&key.label).is_some() {
            return Err(PoolError::DuplicateLabel { label: key.label });
        }
        let entry = self.entry(key);
        self.keys.push(entry);
        Ok(())
    }

    pub(super) fn remove(&mut self, label: &str) -> Result<(), PoolError> {
        let label = Arc::from(label);
        let Some(index) = self.find(&label) else {
            return Err(PoolError::UnknownLabel { label });
        };
        if self.keys.len() == 1 {
            return Err(PoolError::LastKey { label });
        }
        self.keys.remove(index);
        if self.current > index {
            self.current -= 1;
        }
        self.current %= self.keys.len();
        self.forget_empty_groups();
        Ok(())
    }

    /// Puts a key in the place of another; what is known of the old one does not count for it.
    pub(super) fn replace(&mut self, label: &str, key: Usable) -> Result<(), PoolError> {
        let Some(index) = self.find(label) else {
            let label = Arc::from(label);
            return Err(PoolError::UnknownLabel { label });
        };
        if self.find(&key.label).is_some_and(|other| other != index) {
            return Err(PoolError::DuplicateLabel { label: key.label });
        }
        self.keys[index] = self.entry(key);
        self.forget_empty_groups();
        Ok(())
    }

    /// Takes the next key that is free and not among those `tried`.
    pub(super) fn take(&mut self, now: Instant, tried: &[KeyId]) -> Result<&Entry, Exhausted> {
        let count = self.keys.len();
        let free = |index: &usize| {
            let entry = &self.keys[*index];
            !tried.contains(&entry.id) && self.end(entry, now).is_none()
        };
        match (0..count)
            .map(|step| (self.current + step) % count)
            .find(free)
        {
            Some(index) => Ok(self.lend(index)),
            None => Err(self.exhausted(now)),
        }
    }

    /// Takes the key that frees first, whether it is free or not.
    pub(super) fn take_anyway(&mut self, now: Instant) -> &Entry {
        let end = |index: &usize| self.end(&self.keys[*index], now).map(|(end, _)| end);
        let first = (0..self.keys.len()).min_by_key(end);
        self.lend(first.unwrap_or_default())
    }

    /// When the first key frees, and what it waits for.
    pub(super) fn exhausted(&self, now: Instant) -> Exhausted {
        let ends = self.keys.iter().map(|entry| self.end(entry, now));
        match ends.min_by_key(|end| end.map(|(end, _)| end)).flatten() {
            Some((free_at, refusal)) => Exhausted {
                free_at,
                refusal: Some(refusal.clone()),
            },
            None => Exhausted {
                free_at: now,
                refusal: None,
            },
        }
    }

    /// A key was given back; whether its call was answered is told by itself.
    pub(super) fn give_back(&mut self, id: KeyId) {
        if let Some(entry) = self.entry_mut(id) {
            entry.in_flight = entry.in_flight.saturating_sub(1);
        }
    }

    pub(super) fn succeeded(&mut self, id: KeyId, sent: Instant) {
        let Some(entry) = self.entry_mut(id) else {
            return;
        };
        entry.cooldown.succeed(sent);
        let group = entry.group_id();
        if let Some(cooldown) = self.groups.get_mut(&group) {
            cooldown.succeed(sent);
        }
    }

    pub(super) fn refused(&mut self, id: KeyId, refusal: &Refusal, sent: Instant, now: Instant) {
        let no_hint = self.no_hint;
        // An answer that comes after its key was removed says nothing about those that are left.
        let Some(entry) = self.entry_mut(id) else {
            return;
        };
        entry.refusals += 1;
        let of_key = refusal.reason == Reason::KeyRejected || refusal.scope == Some(Scope::Key);
        if of_key {
            return entry.cooldown.refuse(refusal, sent, now, no_hint);
        }
        let group = entry.group_id();
        let cooldown = self.groups.entry(group).or_default();
        cooldown.refuse(refusal, sent, now, no_hint);
    }

    /// Until when a key cools, and what for: its own cooldown or its group's, whichever is longer.
    pub(super) fn end<'a>(
        &'a self,
        entry: &'a Entry,
        now: Instant,
    ) -> Option<(Instant, &'a Refusal)> {
        let group = self.groups.get(&entry.group_id());
        let of_group = group.and_then(|cooldown| cooldown.end(now));
        let of_key = entry.cooldown.end(now);
        of_group
            .into_iter()
            .chain(of_key)
            .max_by_key(|(end, _)| *end)
    }

    fn find(&self, label: &str) -> Option<usize> {
        self.keys.iter().position(|entry| *entry.label == *label)
    }

    fn entry_mut(&mut self, id: KeyId) -> Option<&mut Entry> {
        self.keys.iter_mut().find(|entry| entry.id == id)
    }

    fn entry(&mut self, key: Usable) -> Entry {
        let id = KeyId(self.next_id);
        self.next_id += 1;
        Entry {
            id,
            label: key.label,
            group: key.group,
            credential: key.credential,
            uses: 0,
            refusals: 0,
            in_flight: 0,
            cooldown: Cooldown::default(),
        }
    }

    fn lend(&mut self, index: usize) -> &Entry {
        self.current = match self.order {
            Order::Sticky => index,
            Order::RoundRobin => (index + 1) % self.keys.len(),
        };
        let entry = &mut self.keys[index];
        entry.uses += 1;
        entry.in_flight += 1;
        entry
    }

    fn forget_empty_groups(&mut self) {
        let keys = &self.keys;
        self.groups
            .retain(|group, _| keys.iter().any(|entry| entry.group_id() == *group));
    }
}

// === impl Entry ===

impl Entry {
    fn group_id(&self) -> GroupId {
        match &self.group {
            Some(name) => GroupId::Named(name.clone()),
            None => GroupId::Own(self.id.0),
        }
    }
}
