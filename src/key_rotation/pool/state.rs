//! Which key is next: a plain state over `now`, with no clock, no lock and no future inside.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    PoolError,
    builder::Usable,
    lanes::{GroupId, Lane, Lanes},
    queue::Queue,
};
use crate::{
    allowance::{Cooldown, Gate, Room},
    credentials::Credential,
    refusal::{Bucket, Reason, Refusal, Scope},
};

/// A key for as long as it is in the pool; never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KeyId(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The same key until it is limited.
    Sticky,
    RoundRobin,
    /// The one with the most room, of two that are drawn.
    Spread,
}

#[cfg_attr(test, derive(Clone))]
pub(super) struct State {
    /// Never empty once the pool is built.
    keys: Vec<Entry>,
    places: HashMap<KeyId, usize>,
    groups: HashMap<Arc<str>, GroupId>,
    lanes: Lanes,
    pub(super) queue: Queue,
    order: Order,
    no_hint: Duration,
    random: fastrand::Rng,
    /// Where the key that is used now stands in `keys`.
    current: usize,
    next_id: u64,
}

#[cfg_attr(test, derive(Clone))]
pub(super) struct Entry {
    pub(super) id: KeyId,
    pub(super) label: Arc<str>,
    pub(super) group: Option<Arc<str>>,
    pub(super) credential: Credential,
    pub(super) uses: u64,
    pub(super) refusals: u64,
    pub(super) in_flight: usize,
    group_id: GroupId,
    cooldown: Cooldown,
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
    lent: Instant,
    /// When the request goes out, or went.
    pub(super) sent: Instant,
}

/// No key has room now.
#[derive(Clone, Debug)]
pub(crate) struct Exhausted {
    /// A key that is not known to refuse, though enough are out with it.
    pub(super) busy: Option<KeyId>,
    /// When there is more room, an answer coming first or not; in the past if a key that was tried is free.
    pub(crate) free_at: Option<Instant>,
    /// What the key that frees first waits for.
    pub(crate) refusal: Option<Refusal>,
}

// === impl Exhausted ===

impl Exhausted {
    /// Whether a key is not known to refuse, though enough are out with it.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// Keys have room, but others wait for them already.
    pub(super) fn now(now: Instant) -> Self {
        Self {
            busy: None,
            free_at: Some(now),
            refusal: None,
        }
    }
}

// === impl State: keys ===

impl State {
    pub(super) fn new(order: Order, no_hint: Duration, seed: u64) -> Self {
        Self {
            keys: Vec::new(),
            places: HashMap::new(),
            groups: HashMap::new(),
            lanes: Lanes::default(),
            queue: Queue::default(),
            order,
            no_hint,
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
        self.keys.iter().position(|entry| *entry.label == *label)
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
            label: key.label,
            group: key.group,
            credential: key.credential,
            uses: 0,
            refusals: 0,
            in_flight: 0,
            group_id,
            cooldown: Cooldown::default(),
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

// === impl State: choice ===

impl State {
    /// Takes the next key that has room.
    pub(super) fn take(&mut self, want: &Want, now: Instant) -> Result<(Loan, &Entry), Exhausted> {
        let index = self.choose(want, now)?;
        Ok(self.lend(index, want, now))
    }

    /// The key that would be taken.
    pub(super) fn choose(&mut self, want: &Want, now: Instant) -> Result<usize, Exhausted> {
        if let Some(own) = want
            .session
            .and_then(|session| self.of_session(session, want, now))
        {
            return own;
        }
        if self.order == Order::Spread {
            if let Some(index) = self.of_two(want, now) {
                return Ok(index);
            }
        }
        self.in_turn(want, now)
    }

    /// Takes the key of which enough are out, or else the one that frees first.
    pub(super) fn take_anyway(
        &mut self,
        exhausted: &Exhausted,
        want: &Want,
        now: Instant,
    ) -> (Loan, &Entry) {
        // It may have been removed meanwhile.
        let busy = exhausted.busy.and_then(|id| self.places.get(&id).copied());
        let index = busy.unwrap_or_else(|| {
            let ends = (0..self.keys.len()).map(|index| (self.end(index, want, now), index));
            let first = ends.min_by_key(|(end, _)| end.as_ref().map(|(end, _)| *end));
            first.map_or(0, |(_, index)| index)
        });
        self.lend(index, want, now)
    }

    /// The first with room, from the current one on.
    fn in_turn(&mut self, want: &Want, now: Instant) -> Result<usize, Exhausted> {
        let count = self.keys.len();
        let mut exhausted = Exhausted {
            busy: None,
            free_at: None,
            refusal: None,
        };
        let current = self.current;
        for index in (0..count).map(|step| (current + step) % count) {
            let is_tried = want.tried.contains(&self.keys[index].id);
            let frees_at = match self.room(index, want, now) {
                Room::Open(_) if is_tried => Some(now),
                Room::Open(_) => return Ok(index),
                Room::Closed(until) => Some(until),
                Room::Learning(more_at) | Room::Full(more_at) => {
                    if !is_tried {
                        exhausted.busy.get_or_insert(self.keys[index].id);
                    }
                    more_at
                }
            };
            let is_sooner =
                frees_at.is_some_and(|at| exhausted.free_at.is_none_or(|first| at < first));
            if is_sooner {
                exhausted.free_at = frees_at;
                exhausted.refusal = self.end(index, want, now).map(|(_, refusal)| refusal);
            }
        }
        Err(exhausted)
    }

    /// The one with more room of two that are drawn: as even as the best of all, without asking all.
    fn of_two(&mut self, want: &Want, now: Instant) -> Option<usize> {
        let count = self.keys.len();
        let drawn = [self.random.usize(..count), self.random.usize(..count)];
        let [one, other] = drawn.map(|index| match self.room(index, want, now) {
            Room::Open(room) if !want.tried.contains(&self.keys[index].id) => Some(room),
            _ => None,
        });
        let out = drawn.map(|index| self.keys[index].in_flight);
        match (one, other) {
            // Where both are alike, the one that fewer are out with.
            (Some(one), Some(other)) if one == other && out[0] > out[1] => Some(drawn[1]),
            (Some(one), Some(other)) if one < other => Some(drawn[1]),
            (Some(_), _) => Some(drawn[0]),
            (None, other) => other.map(|_| drawn[1]),
        }
    }

    /// The session's own key (rendezvous hashing), or the next of its keys if that one is closed: only
    /// the sessions of a key that cools move. One that is busy is waited for.
    fn of_session(
        &mut self,
        session: u64,
        want: &Want,
        now: Instant,
    ) -> Option<Result<usize, Exhausted>> {
        let mut best: Option<(u64, usize, Room)> = None;
        for index in 0..self.keys.len() {
            let score = self.score(session, index);
            let is_better = best.is_none_or(|(highest, ..)| score > highest);
            if !is_better || want.tried.contains(&self.keys[index].id) {
                continue;
            }
            match self.room(index, want, now) {
                Room::Closed(_) => {}
                room => best = Some((score, index, room)),
            }
        }
        let (score, index, room) = best?;
        Some(match room {
            Room::Learning(more_at) | Room::Full(more_at) => Err(Exhausted {
                busy: Some(self.keys[index].id),
                free_at: more_at
                    .into_iter()
                    .chain(self.better_opens(session, score, want, now))
                    .min(),
                refusal: None,
            }),
            Room::Open(_) | Room::Closed(_) => Ok(index),
        })
    }

    /// When the first key opens that is the session's rather than the one with this score.
    fn better_opens(
        &mut self,
        session: u64,
        score: u64,
        want: &Want,
        now: Instant,
    ) -> Option<Instant> {
        let mut first = None;
        for index in 0..self.keys.len() {
            if self.score(session, index) <= score || want.tried.contains(&self.keys[index].id) {
                continue;
            }
            if let Room::Closed(until) = self.room(index, want, now) {
                first = Some(first.map_or(until, |first: Instant| first.min(until)));
            }
        }
        first
    }

    fn score(&self, session: u64, index: usize) -> u64 {
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        hasher.hash_one((session, self.keys[index].id))
    }

    /// Whether a key that was set aside was refused to others since, or is no more.
    pub(super) fn is_stale(&self, loan: &Loan, now: Instant) -> bool {
        self.entry_of(loan).is_none_or(|entry| {
            entry.cooldown.began_since(loan.lent, now)
                || self.lanes.was_refused_since(&loan.lane, loan.lent, now)
        })
    }

    fn lane(&self, index: usize, want: &Want) -> Lane {
        Lane {
            group: self.keys[index].group_id,
            model: want.model.clone(),
        }
    }

    fn room(&mut self, index: usize, want: &Want, now: Instant) -> Room {
        let lane = self.lane(index, want);
        let room = self.lanes.room(&lane, now);
        match self.keys[index].cooldown.gate(now) {
            Gate::Open => room,
            Gate::Probe => room.tighter(Room::Open(1)),
            Gate::Probed(at) => room.tighter(Room::Learning(Some(at))),
            Gate::Closed(until) => room.tighter(Room::Closed(until)),
        }
    }

    /// Until when a key is closed, and why: its own cooldown, its group's, or the model's.
    fn end(&self, index: usize, want: &Want, now: Instant) -> Option<(Instant, Refusal)> {
        let of_key = self.keys[index].cooldown.end(now);
        let of_key = of_key.map(|(end, refusal)| (end, refusal.clone()));
        let of_lane = self.lanes.end(&self.lane(index, want), now);
        of_key
            .into_iter()
            .chain(of_lane)
            .max_by_key(|(end, _)| *end)
    }

    fn lend(&mut self, index: usize, want: &Want, now: Instant) -> (Loan, &Entry) {
        self.current = match self.order {
            Order::Sticky | Order::Spread => index,
            Order::RoundRobin => (index + 1) % self.keys.len(),
        };
        let lane = self.lane(index, want);
        self.lanes.take(&lane, now);
        let entry = &mut self.keys[index];
        entry.cooldown.take(now);
        entry.uses += 1;
        entry.in_flight += 1;
        let loan = Loan {
            id: entry.id,
            lane,
            lent: now,
            sent: now,
        };
        (loan, entry)
    }
}

// === impl State: what became of it ===

impl State {
    /// A key was given back; whether its call was answered is told by itself.
    pub(super) fn give_back(&mut self, loan: &Loan) {
        self.lanes.give_back(&loan.lane, loan.lent);
        if let Some(entry) = self.entry_mut(loan.id) {
            entry.in_flight = entry.in_flight.saturating_sub(1);
        }
    }

    pub(super) fn succeeded(&mut self, loan: &Loan, told: &[Bucket], now: Instant) {
        // An answer that comes after its key was removed says nothing about those that are left.
        if let Some(entry) = self.entry_mut(loan.id) {
            entry.cooldown.succeed(loan.sent);
            self.lanes.succeeded(&loan.lane, told, loan.sent, now);
        }
    }

    pub(super) fn refused(
        &mut self,
        loan: &Loan,
        refusal: &Refusal,
        told: &[Bucket],
        now: Instant,
    ) {
        let no_hint = self.no_hint;
        let Some(entry) = self.entry_mut(loan.id) else {
            return;
        };
        entry.refusals += 1;
        if refusal.reason == Reason::KeyRejected || refusal.scope == Some(Scope::Key) {
            entry.cooldown.refuse(refusal, loan.sent, now, no_hint);
        } else {
            let when = (loan.sent, now);
            self.lanes.refused(&loan.lane, refusal, told, when, no_hint);
        }
    }

    /// Until when a key cools for every model, and why.
    pub(super) fn end_of_all(&self, entry: &Entry, now: Instant) -> Option<(Instant, Refusal)> {
        let index = *self.places.get(&entry.id)?;
        self.end(index, &Want::default(), now)
    }

    /// The models for which a key is limited, while it is free for others.
    pub(super) fn limited_models(
        &self,
        entry: &Entry,
        now: Instant,
    ) -> impl Iterator<Item = (Arc<str>, Instant, Refusal)> {
        self.lanes.limited_models(entry.group_id, now)
    }

    pub(super) fn entry_of(&self, loan: &Loan) -> Option<&Entry> {
        self.keys.get(*self.places.get(&loan.id)?)
    }

    fn entry_mut(&mut self, id: KeyId) -> Option<&mut Entry> {
        self.keys.get_mut(*self.places.get(&id)?)
    }
}

#[cfg(test)]
impl State {
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
