//! The calls that wait, first come first served. Knows nothing of what they wait for. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    mem,
    task::Waker,
};

use tokio::time::Instant;

use super::{
    demand::Demand,
    timing::{HEAD_TIMEOUT, MAX_SLIP},
};

/// So many calls behind the first are looked at for one that needs less.
const MAX_BACKFILL: usize = 64;

/// A place in the queue; the smaller one came first. No two calls have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WaiterId {
    place: i64,
    number: u64,
}

/// Which place a call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// The last.
    New,
    /// In front of all calls that have not waited before.
    Again,
    /// The one that it had before it was rejected.
    Kept(WaiterId),
    /// Behind so many of the first.
    Behind(usize),
}

/// When a call that waits may be served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Prospect {
    /// A response may show capacity at any time.
    #[default]
    AnyTime,
    At(Instant),
    /// Time alone does not help: the keys that are left are rejected, or their quota is exhausted.
    Never,
}

/// What a call that cannot be served now may expect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Forecast {
    /// When there may be capacity; `None` if only a response can tell.
    pub(crate) free_at: Option<Instant>,
    pub(crate) prospect: Prospect,
    /// Whether a call that needs less may be served before, without a delay for this one.
    pub(crate) less_may_go: bool,
}

/// A call that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) since: Instant,
    pub(crate) demand: Demand,
}

/// Waiters of one class are equivalent: what one cannot get, another cannot get either.
#[cfg_attr(test, derive(Clone))]
pub(super) struct WaitQueue<C, R> {
    classes: HashMap<C, Line>,
    /// Reservations for waiters that have not polled since, and when each departs.
    granted: HashMap<WaiterId, (R, Instant)>,
    wakers: HashMap<WaiterId, Waker>,
    wakeups: Wakeups,
    joined: i64,
    rejoined: i64,
    numbers: u64,
}

/// The waiters of one class.
#[derive(Default)]
#[cfg_attr(test, derive(Clone))]
struct Line {
    waiting: BTreeMap<WaiterId, Waiting>,
    forecast: Forecast,
    /// What was not served though a call that needs less may be.
    not_served: Option<Demand>,
    /// The head that has a timer for the forecast, and until when.
    notified: Option<(WaiterId, Option<Instant>)>,
}

/// Wakers that are used once the lock is released: to wake or to drop one may take the lock again.
#[must_use]
#[derive(Default)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Wakeups {
    woken: Vec<Waker>,
    dropped: Vec<Waker>,
}

// === impl WaiterId ===

impl WaiterId {
    /// No call that has not waited before comes before this.
    const FIRST_NEW: Self = Self {
        place: 0,
        number: 0,
    };
}

// === impl Prospect ===

impl Prospect {
    /// Returns whether a call that waits until `end` may be served by then.
    pub(crate) fn is_before(self, end: Instant) -> bool {
        match self {
            Self::AnyTime => true,
            Self::At(at) => at < end,
            Self::Never => false,
        }
    }
}

// === impl Forecast ===

impl Forecast {
    /// Time alone brings nothing.
    pub(crate) const NEVER: Self = Self {
        free_at: None,
        prospect: Prospect::Never,
        less_may_go: false,
    };

    /// There may be capacity at that moment.
    pub(crate) fn at(at: Instant) -> Self {
        Self {
            free_at: Some(at),
            prospect: Prospect::At(at),
            less_may_go: false,
        }
    }
}

// === impl WaitQueue ===

impl<C: Clone + Eq + Hash, R> WaitQueue<C, R> {
    pub(super) fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Returns how many have a place.
    pub(super) fn len(&self) -> usize {
        self.classes.values().map(|line| line.waiting.len()).sum()
    }

    /// Returns how many have a place in this line.
    pub(super) fn waiting(&self, class: &C) -> usize {
        let line = self.classes.get(class);
        line.map_or(0, |line| line.waiting.len())
    }

    pub(super) fn take_wakeups(&mut self) -> Wakeups {
        mem::take(&mut self.wakeups)
    }

    pub(super) fn enqueue(
        &mut self,
        class: &C,
        (priority, demand): (Priority, Demand),
        now: Instant,
    ) -> WaiterId {
        let id = match priority {
            Priority::Kept(id) => id,
            Priority::New => {
                self.joined += 1;
                self.id_at(self.joined)
            }
            Priority::Again => self.first_id(),
            Priority::Behind(count) => match self.place_of(class, count) {
                Some(place) => self.id_at(place),
                None => self.first_id(),
            },
        };
        self.insert(id, class, demand, now);
        id
    }

    fn first_id(&mut self) -> WaiterId {
        self.rejoined += 1;
        self.id_at(i64::MIN + self.rejoined)
    }

    /// Returns a new id behind all that have the same place.
    fn id_at(&mut self, place: i64) -> WaiterId {
        self.numbers += 1;
        WaiterId {
            place,
            number: self.numbers,
        }
    }

    /// Returns the place of the last of so many in a line.
    fn place_of(&self, class: &C, count: usize) -> Option<i64> {
        let line = self.classes.get(class)?;
        line.waiting
            .keys()
            .take(count)
            .next_back()
            .map(|id| id.place)
    }

    /// Takes the place of a number.
    pub(super) fn insert(&mut self, id: WaiterId, class: &C, demand: Demand, now: Instant) {
        let line = self.classes.entry(class.clone()).or_default();
        line.waiting.insert(id, Waiting { since: now, demand });
    }

    /// Gives up a place; returns the reservation that was granted for it.
    pub(super) fn remove(&mut self, id: WaiterId, class: &C) -> Option<R> {
        self.forget_waker(id);
        if let Some(line) = self.classes.get_mut(class) {
            line.waiting.remove(&id);
            if line.waiting.is_empty() {
                self.classes.remove(class);
            }
        }
        self.take_granted(id)
    }

    /// Stores a reservation for a waiter that has left its line.
    pub(super) fn grant(&mut self, id: WaiterId, reservation: R, at: Instant) {
        self.granted.insert(id, (reservation, at));
        self.wake(id);
    }

    pub(super) fn granted(&self, id: WaiterId) -> Option<&R> {
        self.granted.get(&id).map(|(reservation, _)| reservation)
    }

    pub(super) fn take_granted(&mut self, id: WaiterId) -> Option<R> {
        self.granted.remove(&id).map(|(reservation, _)| reservation)
    }

    /// Returns whether this waiter has to find out who can be served.
    pub(super) fn is_due(&self, id: WaiterId, class: &C, now: Instant) -> bool {
        self.classes.get(class).is_some_and(|line| {
            let free_at = line.forecast.free_at;
            let is_overdue = free_at.is_some_and(|at| at + HEAD_TIMEOUT <= now);
            let is_time = free_at.is_none_or(|at| at <= now);
            (is_time && line.head() == Some(id)) || is_overdue || line.may_go_before(id)
        })
    }

    /// Returns the reservation of a waiter and when it departs, or when to poll again; it is woken before
    /// that if something changes.
    pub(super) fn poll(
        &mut self,
        id: WaiterId,
        class: &C,
        waker: &Waker,
    ) -> Result<(R, Instant), Forecast> {
        if let Some(granted) = self.granted.remove(&id) {
            return Ok(granted);
        }
        self.wakers.insert(id, waker.clone());
        let Some(line) = self.classes.get_mut(class) else {
            return Err(Forecast::default());
        };
        let mut forecast = line.forecast;
        if line.head() == Some(id) {
            line.notified = Some((id, forecast.free_at));
        } else {
            // It was the head when it was notified, and polls later now.
            line.notified = line.notified.filter(|(notified, _)| *notified != id);
            forecast.free_at = forecast.free_at.map(|at| at + HEAD_TIMEOUT);
        }
        Err(forecast)
    }

    /// Reserves for as many waiters as possible, in their order, and returns these. Wakes each head whose
    /// timer is too late, and all of a line whose wait has become much longer.
    pub(super) fn serve(
        &mut self,
        now: Instant,
        mut reserve: impl FnMut(&C, Waiting) -> Result<R, Forecast>,
    ) -> Vec<(WaiterId, R)> {
        let lines = self.classes.iter();
        let mut heads: BTreeMap<_, _> = lines
            .filter_map(|(class, line)| Some((line.head()?, class.clone())))
            .collect();
        let (mut served, mut to_wake) = (Vec::new(), Vec::new());
        while let Some((id, class)) = heads.pop_first() {
            let Some(line) = self.classes.get_mut(&class) else {
                continue;
            };
            let Some(waiting) = line.first(now) else {
                continue;
            };
            match reserve(&class, waiting) {
                Ok(reservation) => {
                    served.push((id, reservation));
                    line.waiting.remove(&id);
                    line.not_served = None;
                    match line.head() {
                        Some(next) => drop(heads.insert(next, class)),
                        None => drop(self.classes.remove(&class)),
                    }
                }
                Err(forecast) => {
                    let has_slipped = line.has_slipped(forecast.prospect, now);
                    line.forecast = forecast;
                    line.not_served = forecast.less_may_go.then_some(waiting.demand);
                    if forecast.less_may_go {
                        served.extend(line.backfill(|waiting| reserve(&class, waiting)));
                    }
                    match has_slipped {
                        true => to_wake.extend(line.waiting.keys().copied()),
                        false => to_wake.extend((!line.head_is_notified(id)).then_some(id)),
                    }
                }
            }
        }
        to_wake.into_iter().for_each(|id| self.wake(id));
        served
    }

    fn wake(&mut self, id: WaiterId) {
        self.wakeups.woken.extend(self.wakers.remove(&id));
    }

    /// Drops the waker of a call that is here, or gone.
    pub(super) fn forget_waker(&mut self, id: WaiterId) {
        self.wakeups.dropped.extend(self.wakers.remove(&id));
    }
}

impl<C, R> Default for WaitQueue<C, R> {
    fn default() -> Self {
        Self {
            classes: HashMap::new(),
            granted: HashMap::new(),
            wakers: HashMap::new(),
            wakeups: Wakeups::default(),
            joined: 0,
            rejoined: 0,
            numbers: 0,
        }
    }
}

#[cfg(test)]
impl<C: Clone + Eq + Hash, R> WaitQueue<C, R> {
    pub(super) fn lines(&self) -> usize {
        self.classes.len()
    }

    pub(super) fn is_head(&self, id: WaiterId) -> bool {
        self.classes.values().any(|line| line.head() == Some(id))
    }

    pub(super) fn waiter(&self, id: WaiterId) -> Option<Waiting> {
        let mut lines = self.classes.values();
        let line = lines.find(|line| line.waiting.contains_key(&id))?;
        let waiting = line.waiting.get(&id)?;
        Some(Waiting {
            demand: waiting.demand,
            ..line.first(waiting.since)?
        })
    }

    pub(super) fn has_granted(&self) -> bool {
        !self.granted.is_empty()
    }

    /// Returns whether no call has left anything behind.
    pub(super) fn is_clean(&self) -> bool {
        self.classes.is_empty() && self.granted.is_empty() && self.wakers.is_empty()
    }
}

// === impl Line ===

impl Line {
    fn head(&self) -> Option<WaiterId> {
        self.waiting.keys().next().copied()
    }

    /// Returns what the first call needs, and since when the line waits: a call that comes back goes first, and
    /// waits for less long than the others.
    fn first(&self, now: Instant) -> Option<Waiting> {
        let first = self.waiting.values().next()?;
        let first_new = self.waiting.range(WaiterId::FIRST_NEW..).next();
        let since = first_new.map_or(now, |(_, waiting)| waiting.since);
        Some(Waiting {
            since: since.min(first.since),
            ..*first
        })
    }

    /// Reserves for calls behind the first that need less than what could not be served.
    fn backfill<R>(
        &mut self,
        mut reserve: impl FnMut(Waiting) -> Result<R, Forecast>,
    ) -> Vec<(WaiterId, R)> {
        let mut served = Vec::new();
        for (id, waiting) in self.waiting.iter().skip(1).take(MAX_BACKFILL) {
            if self
                .not_served
                .is_some_and(|least| least.is_within(waiting.demand))
            {
                continue;
            }
            match reserve(*waiting) {
                Ok(reservation) => served.push((*id, reservation)),
                Err(forecast) => {
                    self.not_served = Some(waiting.demand);
                    if !forecast.less_may_go {
                        break;
                    }
                }
            }
        }
        for (id, _) in &served {
            self.waiting.remove(id);
        }
        served
    }

    /// Returns whether a call behind the first may need less than what could not be served.
    fn may_go_before(&self, id: WaiterId) -> bool {
        let (Some(least), Some(waiting)) = (self.not_served, self.waiting.get(&id)) else {
            return false;
        };
        !least.is_within(waiting.demand)
    }

    /// Returns whether the wait has become so much longer that some may not want to wait any more.
    fn has_slipped(&self, prospect: Prospect, now: Instant) -> bool {
        // While a response could show capacity it might have been now.
        let before = match self.forecast.prospect {
            Prospect::At(at) => at,
            Prospect::AnyTime | Prospect::Never => now,
        };
        match prospect {
            Prospect::AnyTime => false,
            Prospect::At(after) => before + MAX_SLIP < after,
            Prospect::Never => true,
        }
    }

    /// Returns whether the head polls in time by itself.
    fn head_is_notified(&self, head: WaiterId) -> bool {
        self.notified.is_some_and(|(notified, at)| {
            let in_time = |free_at| at.is_some_and(|at| at <= free_at);
            notified == head && self.forecast.free_at.is_none_or(in_time)
        })
    }
}

// === impl Wakeups ===

impl Wakeups {
    pub(crate) fn wake(self) {
        self.woken.into_iter().for_each(Waker::wake);
    }
}
