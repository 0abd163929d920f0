//! The calls that wait, first come first served, and interactive ones before those in the background. Knows
//! nothing of what they wait for. Pure.
//!
//! [`place`] is a place in the queue. [`line`] has the calls that wait for the same. [`serve`] says who is served,
//! and [`forecast`] what the others may expect.

mod forecast;
mod line;
mod place;
mod serve;
mod wakeups;

use std::{collections::HashMap, hash::Hash, mem, task::Waker};

use tokio::time::Instant;

use super::{
    background::{Floor, Share},
    demand::Demand,
    timing::HEAD_TIMEOUT,
};
pub(crate) use forecast::{Forecast, Prospect};
use line::Line;
pub(crate) use line::Waiting;
pub(crate) use place::{QueuePlace, WaiterId};
pub(crate) use wakeups::Wakeups;

/// Waiters of one class differ only in what they need: what one cannot get, another that needs as much cannot get
/// either.
#[cfg_attr(test, derive(Clone))]
pub(super) struct WaitQueue<C, R> {
    interactive: HashMap<C, Line>,
    background: HashMap<C, Line>,
    floor: Floor,
    /// Reservations for waiters that have not polled since, and when each departs.
    granted: HashMap<WaiterId, (R, Instant)>,
    wakers: HashMap<WaiterId, Waker>,
    wakeups: Wakeups,
    joined: i64,
    rejoined: i64,
    numbers: u64,
}

// === impl WaitQueue ===

impl<C: Clone + Eq + Hash, R> WaitQueue<C, R> {
    pub(super) fn new(floor: Share) -> Self {
        Self {
            interactive: HashMap::new(),
            background: HashMap::new(),
            floor: Floor::new(floor),
            granted: HashMap::new(),
            wakers: HashMap::new(),
            wakeups: Wakeups::default(),
            joined: 0,
            rejoined: 0,
            numbers: 0,
        }
    }

    fn classes(&self, is_background: bool) -> &HashMap<C, Line> {
        match is_background {
            true => &self.background,
            false => &self.interactive,
        }
    }

    fn classes_mut(&mut self, is_background: bool) -> &mut HashMap<C, Line> {
        match is_background {
            true => &mut self.background,
            false => &mut self.interactive,
        }
    }

    fn line(&self, class: &C, is_background: bool) -> Option<&Line> {
        self.classes(is_background).get(class)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.interactive.is_empty() && self.background.is_empty()
    }

    /// Returns whether a call waits that one of this priority may not overtake.
    pub(super) fn has_before(&self, is_background: bool) -> bool {
        !self.interactive.is_empty() || (is_background && !self.background.is_empty())
    }

    /// Returns how many have a place.
    pub(super) fn len(&self) -> usize {
        let lines = self.interactive.values().chain(self.background.values());
        lines.map(Line::len).sum()
    }

    /// Returns how many of one class have a place, of this priority.
    pub(super) fn waiting(&self, class: &C, is_background: bool) -> usize {
        self.line(class, is_background).map_or(0, Line::len)
    }

    pub(super) fn take_wakeups(&mut self) -> Wakeups {
        mem::take(&mut self.wakeups)
    }

    pub(super) fn enqueue(
        &mut self,
        class: &C,
        (place, demand): (QueuePlace, Demand),
        now: Instant,
    ) -> WaiterId {
        let is_background = demand.is_background();
        let id = match place {
            QueuePlace::Kept(id) => id,
            QueuePlace::New => {
                self.joined += 1;
                self.id_at(self.joined, is_background)
            }
            QueuePlace::Again => self.first_id(is_background),
            QueuePlace::Behind(count) => {
                let line = self.line(class, is_background);
                match line.and_then(|line| line.last_of(count)) {
                    Some(last) => self.id_at(last.place, is_background),
                    None => self.first_id(is_background),
                }
            }
        };
        self.insert(id, class, demand, now);
        id
    }

    fn first_id(&mut self, is_background: bool) -> WaiterId {
        self.rejoined += 1;
        self.id_at(i64::MIN + self.rejoined, is_background)
    }

    /// Returns a new id behind all that have the same place.
    fn id_at(&mut self, place: i64, is_background: bool) -> WaiterId {
        self.numbers += 1;
        WaiterId {
            is_background,
            place,
            number: self.numbers,
        }
    }

    /// Takes the place of a number.
    pub(super) fn insert(&mut self, id: WaiterId, class: &C, demand: Demand, now: Instant) {
        let classes = self.classes_mut(id.is_background);
        let line = classes.entry(class.clone()).or_default();
        line.insert(id, Waiting { since: now, demand });
    }

    /// Gives up a place; returns the reservation that was granted for it.
    pub(super) fn remove(&mut self, id: WaiterId, class: &C) -> Option<R> {
        self.forget_waker(id);
        self.leave_line(id, class);
        self.take_granted(id)
    }

    fn leave_line(&mut self, id: WaiterId, class: &C) {
        let classes = self.classes_mut(id.is_background);
        if let Some(line) = classes.get_mut(class) {
            line.remove(id);
            if line.head().is_none() {
                classes.remove(class);
            }
        }
        if self.background.is_empty() {
            self.floor.settle();
        }
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
        self.line(class, id.is_background).is_some_and(|line| {
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
        let Some(line) = self.classes_mut(id.is_background).get_mut(class) else {
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

    fn wake(&mut self, id: WaiterId) {
        self.wakeups.woken.extend(self.wakers.remove(&id));
    }

    /// Drops the waker of a call that is here, or gone.
    pub(super) fn forget_waker(&mut self, id: WaiterId) {
        self.wakeups.dropped.extend(self.wakers.remove(&id));
    }
}

#[cfg(test)]
impl<C: Clone + Eq + Hash, R> WaitQueue<C, R> {
    fn all_lines(&self) -> impl Iterator<Item = &Line> {
        self.interactive.values().chain(self.background.values())
    }

    pub(super) fn lines(&self) -> usize {
        self.all_lines().count()
    }

    pub(super) fn is_head(&self, id: WaiterId) -> bool {
        self.all_lines().any(|line| line.head() == Some(id))
    }

    pub(super) fn waiter(&self, id: WaiterId) -> Option<Waiting> {
        self.all_lines().find_map(|line| line.waiter(id))
    }

    pub(super) fn has_granted(&self) -> bool {
        !self.granted.is_empty()
    }

    /// Returns whether no call has left anything behind.
    pub(super) fn is_clean(&self) -> bool {
        self.is_empty() && self.granted.is_empty() && self.wakers.is_empty()
    }
}

#[cfg(test)]
mod tests;
