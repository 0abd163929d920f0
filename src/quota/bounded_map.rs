//! A map with a bounded number of entries, because callers choose the names, such as those of models.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

use slab::Slab;
use tokio::time::Instant;

pub(crate) const MAX_ENTRIES: usize = 1024;

/// Each name has a slot, so that it is hashed once per request. A slot lasts while requests are out.
#[derive(Clone)]
pub(crate) struct BoundedMap<N, T> {
    slots: HashMap<N, usize>,
    /// The name that was looked up last: most requests have the same, which is then not hashed.
    last: Option<(N, usize)>,
    values: Slab<T>,
}

/// An entry that may be evicted, and in which order.
pub(crate) trait Evictable {
    /// Returns whether no request is out whose outcome will be recorded here.
    fn is_unused(&self) -> bool;

    /// Returns when the entry no longer forbids to send; `None` if it does not.
    fn frees_at(&self, now: Instant) -> Option<Instant>;
}

// === impl BoundedMap ===

impl<N: Clone + Eq + Hash, T: Evictable + Default> BoundedMap<N, T> {
    /// Returns the slot of a name that has an entry.
    pub(crate) fn slot<Q>(&self, name: &Q) -> Option<usize>
    where
        N: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.slots.get(name).copied()
    }

    /// As [`slot`](Self::slot), for a request: the next one is expected to have the same name.
    pub(crate) fn find(&mut self, name: &N) -> Option<usize> {
        if let Some((last, slot)) = &self.last {
            if last == name {
                return Some(*slot);
            }
        }
        let slot = self.slot(name)?;
        self.last = Some((name.clone(), slot));
        Some(slot)
    }

    /// Returns the slot of a name, with a new entry if it has none.
    pub(crate) fn slot_or_insert(&mut self, name: &N, now: Instant) -> usize {
        if let Some(slot) = self.find(name) {
            return slot;
        }
        if self.slots.len() >= MAX_ENTRIES {
            self.evict(now);
        }
        let slot = self.values.insert(T::default());
        self.slots.insert(name.clone(), slot);
        slot
    }

    pub(crate) fn get(&self, slot: usize) -> Option<&T> {
        self.values.get(slot)
    }

    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut T> {
        self.values.get_mut(slot)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&N, &T)> {
        let slots = self.slots.iter();
        slots.filter_map(|(name, slot)| Some((name, self.values.get(*slot)?)))
    }

    #[cfg(feature = "share")]
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&N, &mut T)> {
        let mut names: Vec<_> = self
            .slots
            .iter()
            .map(|(name, slot)| (*slot, name))
            .collect();
        names.sort_unstable_by_key(|(slot, _)| *slot);
        let values = self.values.iter_mut();
        values.filter_map(move |(slot, value)| {
            let at = names.binary_search_by_key(&slot, |(slot, _)| *slot).ok()?;
            Some((names[at].1, value))
        })
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.values.iter_mut().map(|(_, value)| value)
    }

    /// Removes the idle entries, or else the unused one that frees first.
    fn evict(&mut self, now: Instant) {
        self.last = None;
        let values = &mut self.values;
        self.slots.retain(|_, slot| {
            let value = &values[*slot];
            let is_idle = value.is_unused() && value.frees_at(now).is_none();
            if is_idle {
                values.remove(*slot);
            }
            !is_idle
        });
        if self.slots.len() < MAX_ENTRIES {
            return;
        }
        let unused = self.iter().filter(|(_, value)| value.is_unused());
        let first = unused.min_by_key(|(_, value)| value.frees_at(now));
        let first = first.map(|(name, _)| name.clone());
        if let Some(slot) = first.and_then(|name| self.slots.remove(&name)) {
            self.values.remove(slot);
        }
    }
}

impl<N, T> Default for BoundedMap<N, T> {
    fn default() -> Self {
        Self {
            slots: HashMap::new(),
            last: None,
            values: Slab::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Entry {
        is_used: bool,
        frees_at: Option<Instant>,
    }

    impl Evictable for Entry {
        fn is_unused(&self) -> bool {
            !self.is_used
        }

        fn frees_at(&self, now: Instant) -> Option<Instant> {
            self.frees_at.filter(|at| *at > now)
        }
    }

    fn full(now: Instant) -> BoundedMap<usize, Entry> {
        let mut map: BoundedMap<usize, Entry> = BoundedMap::default();
        for name in 0..MAX_ENTRIES {
            let slot = map.slot_or_insert(&name, now);
            let entry = map.get_mut(slot).unwrap();
            entry.is_used = name == 0;
            entry.frees_at = Some(now + Duration::from_secs(1 + name as u64));
        }
        map
    }

    #[test]
    fn full_map_evicts_what_frees_first_and_never_what_is_used() {
        let now = Instant::now();
        let mut map = full(now);
        let used = map.slot(&0);
        for name in MAX_ENTRIES..MAX_ENTRIES + 10 {
            let slot = map.slot_or_insert(&name, now);
            map.get_mut(slot).unwrap().is_used = true;
        }
        assert_eq!(map.iter().count(), MAX_ENTRIES);
        assert_eq!(map.slot(&0), used, "the entry is in use");
        for name in 1..=10 {
            assert_eq!(map.slot(&name), None, "{name} freed first");
        }
        assert!(map.slot(&11).is_some());
    }

    #[test]
    fn full_map_evicts_all_idle_entries() {
        let now = Instant::now();
        let mut map = full(now);
        let later = now + Duration::from_secs(500);
        map.slot_or_insert(&MAX_ENTRIES, later);
        let left: Vec<_> = map.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            left.len(),
            MAX_ENTRIES - 499 + 1,
            "the used, the limited and the new entry"
        );
        assert!(!left.contains(&1) && left.contains(&500));
    }

    #[test]
    fn map_grows_if_all_entries_are_used() {
        let now = Instant::now();
        let mut map = full(now);
        map.values_mut().for_each(|entry| entry.is_used = true);
        map.slot_or_insert(&MAX_ENTRIES, now);
        assert_eq!(map.iter().count(), MAX_ENTRIES + 1);
    }
}
