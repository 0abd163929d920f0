//! Which key each waiting session waits for: its own. All that wait for one key wait in one line, so a
//! thousand sessions cost no more to serve than the keys that they wait for. Pure.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tokio::time::Instant;

use super::{
    number::ByNumber,
    queue::WaiterId,
    state::{KeyId, score},
};

/// The sessions that wait, by model.
#[derive(Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Sessions(HashMap<Option<Arc<str>>, OfModel>);

#[derive(Default)]
#[cfg_attr(test, derive(Clone))]
struct OfModel {
    waiting: HashMap<WaiterId, Waiting>,
    /// What their own keys were chosen from.
    open: Open,
}

/// The keys that are not closed.
#[derive(Clone, Default)]
pub(super) struct Open {
    pub(super) keys: HashSet<KeyId, ByNumber>,
    /// When the next key may open.
    pub(super) next_at: Option<Instant>,
}

#[cfg_attr(test, derive(Clone))]
struct Waiting {
    session: u64,
    /// `None` while all keys are closed.
    own: Option<KeyId>,
}

/// A waiter whose own key is another now.
pub(super) struct Moved {
    pub(super) id: WaiterId,
    pub(super) from: Option<KeyId>,
    pub(super) to: Option<KeyId>,
}

// === impl Sessions ===

impl Sessions {
    /// The models that they wait for.
    pub(super) fn models(&self) -> Vec<Option<Arc<str>>> {
        self.0.keys().cloned().collect()
    }

    /// Whether others wait for this model already, of whom it is known which keys are open.
    pub(super) fn have(&self, model: &Option<Arc<str>>) -> bool {
        self.0.contains_key(model)
    }

    /// The key that a waiter waits for; `None` if any will do.
    pub(super) fn own(&self, id: WaiterId, model: &Option<Arc<str>>) -> Option<KeyId> {
        self.0.get(model)?.waiting.get(&id)?.own
    }

    /// When the next key opens, which may be the own one of some who wait for another.
    pub(super) fn next_at(&self, model: &Option<Arc<str>>) -> Option<Instant> {
        self.0.get(model)?.open.next_at
    }

    pub(super) fn join(&mut self, id: WaiterId, session: u64, model: &Option<Arc<str>>) {
        let of_model = self.0.entry(model.clone()).or_default();
        let own = best(session, of_model.open.keys.iter());
        of_model.waiting.insert(id, Waiting { session, own });
    }

    pub(super) fn leave(&mut self, id: WaiterId, model: &Option<Arc<str>>) {
        if let Some(of_model) = self.0.get_mut(model) {
            of_model.waiting.remove(&id);
            if of_model.waiting.is_empty() {
                self.0.remove(model);
            }
        }
    }

    /// Takes in which keys are open now; who waits for another key from now on.
    pub(super) fn choose(&mut self, model: &Option<Arc<str>>, open: Open) -> Vec<Moved> {
        let OfModel {
            waiting,
            open: known,
        } = self.0.entry(model.clone()).or_default();
        let before = std::mem::replace(known, open);
        if before.keys == known.keys {
            return Vec::new();
        }
        let opened: Vec<_> = known.keys.difference(&before.keys).collect();
        let mut moved = Vec::new();
        for (id, Waiting { session, own }) in waiting {
            let from = *own;
            *own = match own {
                Some(own) if known.keys.contains(own) => {
                    best(*session, opened.iter().copied().chain([&*own]))
                }
                _ => best(*session, known.keys.iter()),
            };
            if *own != from {
                moved.push(Moved {
                    id: *id,
                    from,
                    to: *own,
                });
            }
        }
        moved
    }
}

#[cfg(test)]
impl Sessions {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn best<'a>(session: u64, keys: impl Iterator<Item = &'a KeyId>) -> Option<KeyId> {
    keys.copied().max_by_key(|id| score(session, *id))
}
