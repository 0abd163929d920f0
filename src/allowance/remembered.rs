//! What is known under names that strangers may choose, such as those of models: a bounded number of them.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

use slab::Slab;
use tokio::time::Instant;

pub(crate) const MOST: usize = 1024;

/// Each name has a place, so that it is hashed once for a request. The place stays while requests are out.
#[derive(Clone)]
pub(crate) struct Remembered<N, T> {
    places: HashMap<N, usize>,
    known: Slab<T>,
}

/// What may be forgotten, and in which order.
pub(crate) trait Forgettable {
    /// Whether nothing is out that an answer will tell of.
    fn is_unused(&self) -> bool;

    /// When nothing that is known of it forbids to send any more; `None` if nothing does.
    fn frees_at(&self, now: Instant) -> Option<Instant>;
}

// === impl Remembered ===

impl<N: Clone + Eq + Hash, T: Forgettable + Default> Remembered<N, T> {
    /// Where the name is, if anything is known of it.
    pub(crate) fn place_of<Q>(&self, name: &Q) -> Option<usize>
    where
        N: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.places.get(name).copied()
    }

    /// Where a name is from now on, of which nothing was known.
    pub(crate) fn add(&mut self, name: N, now: Instant) -> usize {
        if self.places.len() >= MOST {
            self.forget(now);
        }
        let place = self.known.insert(T::default());
        self.places.insert(name, place);
        place
    }

    pub(crate) fn get(&self, place: usize) -> Option<&T> {
        self.known.get(place)
    }

    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.known.get_mut(place)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&N, &T)> {
        let places = self.places.iter();
        places.filter_map(|(name, place)| Some((name, self.known.get(*place)?)))
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.known.iter_mut().map(|(_, known)| known)
    }

    /// Makes room: those that are idle go, or else the one that frees first of those that are unused.
    fn forget(&mut self, now: Instant) {
        let known = &mut self.known;
        self.places.retain(|_, place| {
            let it = &known[*place];
            let is_idle = it.is_unused() && it.frees_at(now).is_none();
            if is_idle {
                known.remove(*place);
            }
            !is_idle
        });
        if self.places.len() < MOST {
            return;
        }
        let unused = self.iter().filter(|(_, known)| known.is_unused());
        let first = unused.min_by_key(|(_, known)| known.frees_at(now));
        let first = first.map(|(name, _)| name.clone());
        if let Some(place) = first.and_then(|name| self.places.remove(&name)) {
            self.known.remove(place);
        }
    }
}

impl<N, T> Default for Remembered<N, T> {
    fn default() -> Self {
        Self {
            places: HashMap::new(),
            known: Slab::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Known {
        is_used: bool,
        frees_at: Option<Instant>,
    }

    impl Forgettable for Known {
        fn is_unused(&self) -> bool {
            !self.is_used
        }

        fn frees_at(&self, now: Instant) -> Option<Instant> {
            self.frees_at.filter(|at| *at > now)
        }
    }

    fn full(now: Instant) -> Remembered<usize, Known> {
        let mut remembered: Remembered<usize, Known> = Remembered::default();
        for name in 0..MOST {
            let place = remembered.add(name, now);
            let known = remembered.get_mut(place).unwrap();
            known.is_used = name == 0;
            known.frees_at = Some(now + Duration::from_secs(1 + name as u64));
        }
        remembered
    }

    #[test]
    fn what_frees_first_makes_room_and_what_is_used_never_does() {
        let now = Instant::now();
        let mut remembered = full(now);
        let used = remembered.place_of(&0);
        for name in MOST..MOST + 10 {
            let place = remembered.add(name, now);
            remembered.get_mut(place).unwrap().is_used = true;
        }
        assert_eq!(remembered.iter().count(), MOST);
        assert_eq!(remembered.place_of(&0), used, "it is used");
        for name in 1..=10 {
            assert_eq!(remembered.place_of(&name), None, "{name} freed first");
        }
        assert!(remembered.place_of(&11).is_some());
    }

    #[test]
    fn what_is_idle_goes_at_once() {
        let now = Instant::now();
        let mut remembered = full(now);
        let later = now + Duration::from_secs(500);
        remembered.add(MOST, later);
        let left: Vec<_> = remembered.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            left.len(),
            MOST - 499 + 1,
            "used, limited still, and the new one"
        );
        assert!(!left.contains(&1) && left.contains(&500));
    }

    #[test]
    fn where_all_are_used_there_is_room_for_one_more() {
        let now = Instant::now();
        let mut remembered = full(now);
        remembered
            .values_mut()
            .for_each(|known| known.is_used = true);
        remembered.add(MOST, now);
        assert_eq!(remembered.iter().count(), MOST + 1);
    }
}
