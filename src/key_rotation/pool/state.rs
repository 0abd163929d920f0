//! Which key is next: a plain state over `now`, with no clock, no lock and no future inside.

mod choice;
mod sessions;

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Badge, PoolError,
    builder::Usable,
    denied::Denied,
    lanes::{GroupId, Lane, Lanes, is_of_group},
    number::ByNumber,
    queue::Queue,
};
use crate::{
    allowance::{Cooldown, End},
    rejection::{Bucket, Reason, Rejection, Scope},
};

pub(crate) use choice::{Exhausted, Prospect};
pub(super) use sessions::score;

/// A key for as long as it is in the pool; never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeyId(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The same key until it is limited.
    Sticky,
    RoundRobin,
    /// The one with the most room, of two that are drawn.
    LeastLoaded,
}

#[cfg_attr(test, derive(Clone))]
pub(super) struct State {
    /// Never empty once the pool is built.
    keys: Vec<Entry>,
    places: HashMap<KeyId, usize, ByNumber>,
    groups: HashMap<Arc<str>, GroupId>,
    lanes: Lanes,
    pub(super) queue: Queue,
    order: Order,
    longest_guess: Duration,
    pub(super) random: fastrand::Rng,
    /// Where the key that is used now stands in `keys`.
    current: usize,
    next_id: u64,
}

#[cfg_attr(test, derive(Clone))]
pub(super) struct Entry {
    pub(super) id: KeyId,
    pub(super) badge: Arc<Badge>,
    pub(super) group: Option<Arc<str>>,
    pub(super) rejections: u64,
    pub(super) in_flight: usize,
    group_id: GroupId,
    cooldown: Cooldown,
    denied: Denied,
}

/// What a call asks of the pool.
#[derive(Clone, Debug, Default)]
pub(crate) struct Want {
    pub(crate) model: Option<Arc<str>>,
    /// The keys that the call has asked with already.
    pub(crate) tried: Vec<KeyId>,
    /// What keeps a session on its key.
    pub(crate) session: Option<u64>,
}

/// A key that was taken: what is needed to say later what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Loan {
    pub(crate) id: KeyId,
    pub(super) lane: Lane,
    model: Option<Arc<str>>,
    lent: Instant,
    /// When the request goes out, or went.
    pub(super) sent: Instant,
    /// Whether it waits for its turn, or for the client.
    pub(super) is_set_aside: bool,
    /// Whether it finds out before the end of a guess whether that is too long.
    is_early_probe: bool,
}

// === impl State: keys ===

impl State {
    pub(super) fn new(order: Order, longest_guess: Duration, seed: u64) -> Self {
        Self {
            keys: Vec::new(),
            places: HashMap::default(),
            groups: HashMap::new(),
            lanes: Lanes::default(),
            queue: Queue::default(),
            order,
            longest_guess,
            random: fastrand::Rng::with_seed(seed),
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
        self.places.insert(entry.id, self.keys.len());
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
        self.forget_the_removed();
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
        self.forget_the_removed();
        Ok(())
    }

    fn find(&self, label: &str) -> Option<usize> {
        self.keys
            .iter()
            .position(|entry| *entry.badge.label == *label)
    }

    fn entry(&mut self, key: Usable) -> Entry {
        let number = self.next_id;
        self.next_id += 1;
        let own = GroupId(number);
        let group_id = match &key.group {
            Some(name) => *self.groups.entry(name.clone()).or_insert(own),
            None => own,
        };
        Entry {
            id: KeyId(number),
            badge: Arc::new(Badge::new(key.label, key.credential)),
            group: key.group,
            rejections: 0,
            in_flight: 0,
            group_id,
            cooldown: Cooldown::default(),
            denied: Denied::default(),
        }
    }

    fn forget_the_removed(&mut self) {
        let places = self.keys.iter().enumerate();
        self.places = places.map(|(index, entry)| (entry.id, index)).collect();
        let keys = &self.keys;
        let has_keys = |group| keys.iter().any(|entry| entry.group_id == group);
        self.groups.retain(|_, group| has_keys(*group));
        self.lanes.retain_groups(has_keys);
    }
}

// === impl State: what became of it ===

impl State {
    /// A key was given back, whether a request went out with it or not; whether its call was answered is
    /// told by itself.
    pub(super) fn give_back(&mut self, loan: &Loan) {
        self.lanes.each(loan.lane, |allowance| {
            allowance.give_back(loan.lent, loan.sent);
            if loan.is_early_probe {
                allowance.end_early_probe();
            }
        });
        if let Some(entry) = self.entry_mut(loan.id) {
            entry.in_flight = entry.in_flight.saturating_sub(1);
            entry.cooldown.give_back(loan.lent);
            entry.cooldown.give_back(loan.sent);
            if loan.is_early_probe {
                entry.cooldown.end_early_probe();
            }
        }
    }

    /// A key was taken for a request that has to wait: for its turn, or for the client.
    pub(super) fn set_aside(&mut self, loan: &mut Loan) {
        loan.is_set_aside = true;
        let lent = loan.lent;
        self.lanes
            .each(loan.lane, |allowance| allowance.set_aside(lent));
        if let Some(entry) = self.entry_mut(loan.id) {
            entry.cooldown.set_aside(lent);
        }
    }

    /// It goes out now.
    pub(super) fn goes_out(&mut self, loan: &Loan, now: Instant) {
        let lent = loan.lent;
        self.lanes
            .each(loan.lane, |allowance| allowance.goes_out(lent, now));
        if let Some(entry) = self.entry_mut(loan.id) {
            entry.cooldown.goes_out(lent, now);
        }
    }

    /// The call was dropped after its request had gone out: before the key is given back.
    pub(super) fn given_up(&mut self, loan: &Loan) {
        self.lanes
            .each(loan.lane, |allowance| allowance.given_up(loan.sent));
    }

    /// A request with the key passed, which went out and came back at these moments.
    pub(super) fn succeeded(
        &mut self,
        loan: &Loan,
        told: &[Bucket],
        (sent, now): (Instant, Instant),
    ) {
        // An answer that comes after its key was removed says nothing about those that are left.
        if let Some(entry) = self.entry_mut(loan.id) {
            entry.cooldown.succeed(sent);
            entry.denied.succeed(loan.model.as_ref(), sent);
            self.lanes.succeeded(loan.lane, told, sent, now);
        }
    }

    pub(super) fn refused(
        &mut self,
        loan: &Loan,
        rejection: &Rejection,
        told: &[Bucket],
        when: (Instant, Instant),
    ) {
        let longest_guess = self.longest_guess;
        let Some(entry) = self.entry_mut(loan.id) else {
            return;
        };
        entry.rejections += 1;
        if rejection.is_denial() {
            if let Some(model) = denied_model(rejection, loan.model.as_ref()) {
                entry.denied.refuse(model, rejection, when, longest_guess);
            }
        } else if is_of_key(rejection) {
            let (sent, now) = when;
            entry.cooldown.refuse(rejection, sent, now, longest_guess);
        } else {
            self.lanes
                .refused(loan.lane, rejection, told, when, longest_guess);
        }
    }

    /// Until when a key cools for every model, and why.
    pub(super) fn end_of_all(&self, entry: &Entry, now: Instant) -> Option<End> {
        let index = *self.places.get(&entry.id)?;
        self.end(index, &Want::default(), now)
    }

    /// The models for which a key is limited, while it is free for others.
    pub(super) fn limited_models<'a>(
        &'a self,
        entry: &'a Entry,
        now: Instant,
    ) -> impl Iterator<Item = (Arc<str>, End)> + 'a {
        let of_group = self.lanes.limited_models(entry.group_id, now);
        of_group.chain(entry.denied.models(now))
    }

    /// The hints of all limits that a key runs on.
    pub(super) fn hints(&self, loan: &Loan, now: Instant) -> impl Iterator<Item = Instant> {
        let of_key = self.entry_of(loan).and_then(|entry| entry.cooldown.hint());
        of_key.into_iter().chain(self.lanes.hints(loan.lane, now))
    }

    pub(super) fn entry_of(&self, loan: &Loan) -> Option<&Entry> {
        self.keys.get(*self.places.get(&loan.id)?)
    }

    fn entry_mut(&mut self, id: KeyId) -> Option<&mut Entry> {
        self.keys.get_mut(*self.places.get(&id)?)
    }
}

/// The model for which a key cools that may not do this; `None` if it cools for none: what it lacks is no
/// model, or the model is not known.
pub(crate) fn denied_model<'a>(
    rejection: &Rejection,
    model: Option<&'a Arc<str>>,
) -> Option<&'a Arc<str>> {
    model.filter(|_| rejection.may_deny_model())
}

fn is_of_key(rejection: &Rejection) -> bool {
    rejection.reason == Reason::KeyRejected || rejection.scope == Some(Scope::Key)
}

/// Whether it limits the key, or its group, whatever the model. A key may also be none for one model only.
pub(crate) fn is_of_every_model(rejection: &Rejection) -> bool {
    let is_of_model = rejection.remedies.model == Some(true);
    !is_of_model && !rejection.is_denial() && (is_of_key(rejection) || is_of_group(rejection))
}

#[cfg(test)]
impl State {
    /// Of how many groups anything is known, each counted once for each model.
    pub(super) fn known_groups(&self) -> usize {
        self.lanes.out().count()
    }

    /// How many are out, by whoever counts most.
    pub(super) fn out(&self) -> u64 {
        let keys = self.keys.iter().map(|entry| entry.in_flight as u64);
        keys.chain(self.lanes.out()).max().unwrap_or_default()
    }
}

#[cfg(test)]
impl KeyId {
    pub(super) fn number(self) -> u64 {
        self.0
    }
}
