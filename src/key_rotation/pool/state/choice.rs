//! Which key is taken: the next in turn, the one with more room of two, or the session's own.

use tokio::time::Instant;

use super::{Entry, KeyId, Loan, Order, State, Want};
use crate::{
    allowance::{Allowance, End, Gate, Room},
    key_rotation::pool::lanes::OfWant,
    rejection::Rejection,
};

/// No key has room now.
#[derive(Clone, Debug)]
pub(crate) struct Exhausted {
    /// A key that is not known to refuse, though enough are out with it.
    pub(in crate::key_rotation::pool) busy: Option<KeyId>,
    /// When there is more room, an answer coming first or not; in the past if a key that was tried is free.
    pub(crate) free_at: Option<Instant>,
    /// The key that frees first, and when; one that time frees before one that is only checked again.
    first: Option<(Frees, KeyId)>,
    /// What the key that frees first waits for.
    pub(crate) rejection: Option<Rejection>,
}

/// When a key frees, those that time frees before those that are only checked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Frees {
    ByTime(Instant),
    Checked(Instant),
}

/// When a call that waits may get a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Prospect {
    /// An answer may show capacity at any time.
    #[default]
    AnyTime,
    At(Instant),
    /// Time alone brings no key: those that are left are rejected, or their quota is spent.
    Never,
}

// === impl Prospect ===

impl Prospect {
    /// Whether a call that waits until `end` may get a key by then.
    pub(crate) fn is_before(self, end: Instant) -> bool {
        match self {
            Self::AnyTime => true,
            Self::At(at) => at < end,
            Self::Never => false,
        }
    }
}

// === impl Entry ===

impl Entry {
    /// How many may go out with it, by what is known of itself and of the limits that apply.
    pub(super) fn room(&self, limits: &mut OfWant<'_>, now: Instant) -> Room {
        let room = limits.room(self.group_id, now);
        let room = match self.denied.ends_at(limits.model, now) {
            Some(until) => room.tighter(Room::Unusable(until)),
            None => room,
        };
        match self.cooldown.gate(now) {
            Gate::Open => room,
            Gate::Probe => room.tighter(Room::Open(1)),
            Gate::Probed(at) => room.tighter(Room::Learning(Some(at))),
            Gate::Closed(until) => room.tighter(Room::Closed(until)),
            Gate::Unusable(until) => room.tighter(Room::Unusable(until)),
        }
    }
}

// === impl Exhausted ===

impl Exhausted {
    /// Whether a key is not known to refuse, though enough are out with it.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// When a key may be had.
    pub(crate) fn prospect(&self) -> Prospect {
        match self.first {
            Some((Frees::ByTime(at), _)) if !self.is_busy() => Prospect::At(at),
            Some((Frees::Checked(_), _)) if !self.is_busy() => Prospect::Never,
            _ => Prospect::AnyTime,
        }
    }

    /// Enough are out with this key.
    pub(super) fn busy(id: KeyId, free_at: Option<Instant>) -> Self {
        Self {
            busy: Some(id),
            free_at,
            first: None,
            rejection: None,
        }
    }

    /// Keys have room, but others wait for them already.
    pub(in crate::key_rotation::pool) fn now(now: Instant) -> Self {
        Self {
            busy: None,
            free_at: Some(now),
            first: None,
            rejection: None,
        }
    }
}

// === impl State ===

impl State {
    /// Takes the next key that has room.
    pub(in crate::key_rotation::pool) fn take(
        &mut self,
        want: &Want,
        now: Instant,
    ) -> Result<(Loan, &Entry), Exhausted> {
        let index = self.choose(want, now)?;
        Ok(self.lend(index, want, now))
    }

    /// The key that would be taken.
    pub(in crate::key_rotation::pool) fn choose(
        &mut self,
        want: &Want,
        now: Instant,
    ) -> Result<usize, Exhausted> {
        if let Some(own) = want
            .session
            .and_then(|session| self.of_session(session, want, now))
        {
            return own;
        }
        if self.order == Order::LeastLoaded {
            if let Some(index) = self.of_two(want, now) {
                return Ok(index);
            }
        }
        self.in_turn(want, now)
    }

    /// Takes the key of which enough are out, or else the one that frees first.
    pub(in crate::key_rotation::pool) fn take_anyway(
        &mut self,
        exhausted: &Exhausted,
        want: &Want,
        now: Instant,
    ) -> (Loan, &Entry) {
        // It may have been removed meanwhile.
        let id = exhausted.busy.or(exhausted.first.map(|(_, id)| id));
        let index = id.and_then(|id| self.places.get(&id).copied());
        let index = index.unwrap_or(self.current);
        self.lend(index, want, now)
    }

    /// Takes the key that cools by guesses alone and frees first, unless a request finds out already
    /// whether they are too long.
    pub(in crate::key_rotation::pool) fn take_early(
        &mut self,
        want: &Want,
        now: Instant,
    ) -> Option<(Loan, &Entry)> {
        let allowed =
            (0..self.keys.len()).filter(|index| self.allows_early_probe(*index, want, now));
        let ends = allowed.filter_map(|index| Some((self.end(index, want, now)?.at, index)));
        let (_, index) = ends.min()?;
        let (mut loan, _) = self.lend(index, want, now);
        loan.is_early_probe = true;
        self.lanes.each(loan.lane, Allowance::begin_early_probe);
        let entry = &mut self.keys[index];
        entry.cooldown.begin_early_probe();
        Some((loan, entry))
    }

    fn allows_early_probe(&self, index: usize, want: &Want, now: Instant) -> bool {
        let entry = &self.keys[index];
        let lane = self.lanes.lane(entry.group_id, want.model.as_ref());
        !want.tried.contains(&entry.id)
            && entry.cooldown.allows_early_probe(now)
            && self.lanes.allows_early_probe(lane, now)
    }

    /// The first with room, from the current one on.
    fn in_turn(&mut self, want: &Want, now: Instant) -> Result<usize, Exhausted> {
        let count = self.keys.len();
        let mut exhausted = Exhausted {
            busy: None,
            free_at: None,
            first: None,
            rejection: None,
        };
        let mut testable = None;
        let mut limits = self.lanes.of(want.model.as_ref());
        for index in (0..count).map(|step| (self.current + step) % count) {
            let entry = &self.keys[index];
            let is_tried = want.tried.contains(&entry.id);
            let frees_at = match entry.room(&mut limits, now) {
                Room::Open(_) if is_tried => Some(Frees::ByTime(now)),
                Room::Open(_) => return Ok(index),
                Room::Closed(until) => Some(Frees::ByTime(until)),
                Room::Unusable(until) => Some(Frees::Checked(until)),
                Room::Testable(until) => {
                    if !is_tried {
                        testable.get_or_insert(index);
                    }
                    Some(Frees::ByTime(until))
                }
                Room::Learning(more_at) | Room::Full(more_at) => {
                    if !is_tried {
                        exhausted.busy.get_or_insert(entry.id);
                    }
                    more_at.map(Frees::ByTime)
                }
            };
            if let Some(frees) = frees_at {
                let (Frees::ByTime(at) | Frees::Checked(at)) = frees;
                exhausted.free_at = Some(exhausted.free_at.map_or(at, |first| first.min(at)));
                if exhausted.first.is_none_or(|(first, _)| frees < first) {
                    exhausted.first = Some((frees, entry.id));
                }
            }
        }
        if let (None, Some(index)) = (exhausted.busy, testable) {
            return Ok(index);
        }
        let first = exhausted.first.and_then(|(_, id)| self.places.get(&id));
        let end = first.and_then(|index| self.end(*index, want, now));
        exhausted.rejection = end.map(|end| end.rejection);
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

    /// Whether a key that was set aside was refused to others since, or is no more.
    pub(in crate::key_rotation::pool) fn is_stale(&self, loan: &Loan, now: Instant) -> bool {
        self.entry_of(loan).is_none_or(|entry| {
            entry.cooldown.began_since(loan.lent, now)
                || entry
                    .denied
                    .began_since(loan.model.as_ref(), loan.lent, now)
                || self.lanes.was_refused_since(loan.lane, loan.lent, now)
        })
    }

    pub(super) fn room(&mut self, index: usize, want: &Want, now: Instant) -> Room {
        let mut limits = self.lanes.of(want.model.as_ref());
        self.keys[index].room(&mut limits, now)
    }

    /// Until when a key is closed, and why: its own cooldown, its group's, or the model's.
    pub(super) fn end(&self, index: usize, want: &Want, now: Instant) -> Option<End> {
        let entry = &self.keys[index];
        let of_key = entry.cooldown.end(now).into_iter();
        let of_key = of_key.chain(entry.denied.end(want.model.as_ref(), now));
        let lane = self.lanes.lane(entry.group_id, want.model.as_ref());
        of_key.chain(self.lanes.end(lane, now)).reduce(End::later)
    }

    pub(super) fn lend(&mut self, index: usize, want: &Want, now: Instant) -> (Loan, &Entry) {
        self.current = match self.order {
            Order::Sticky | Order::LeastLoaded => index,
            Order::RoundRobin => (index + 1) % self.keys.len(),
        };
        let group = self.keys[index].group_id;
        let lane = self.lanes.take(group, want.model.as_ref(), now);
        let entry = &mut self.keys[index];
        entry.cooldown.take(now);
        entry.in_flight += 1;
        let loan = Loan {
            id: entry.id,
            lane,
            model: want.model.clone(),
            lent: now,
            sent: now,
            is_set_aside: false,
            is_early_probe: false,
        };
        (loan, entry)
    }
}
