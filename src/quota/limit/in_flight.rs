//! The requests in flight, by when they were sent. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    quota::timing::{COUNTED_TOGETHER, SEND_RESOLUTION},
    request::Cost,
};

#[derive(Clone, Debug, Default)]
pub(super) struct InFlight {
    /// How many have a place and were not sent yet.
    reserved: u64,
    /// How many tokens these cost.
    reserved_cost: Cost,
    /// The sent ones, the oldest first.
    sent: Vec<Group>,
    /// How many were sent.
    all_sent: u64,
    /// How many responses have begun whose bodies are open. These no longer have a place.
    open: u64,
}

/// Requests that were sent at about the same time.
#[derive(Clone, Copy, Debug)]
struct Group {
    from: Instant,
    count: u64,
    cost: Cost,
}

// === impl InFlight ===

impl InFlight {
    pub(super) fn all(&self) -> u64 {
        self.reserved + self.all_sent
    }

    pub(super) fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Returns how many have a place or an open body.
    pub(super) fn in_use(&self) -> u64 {
        self.all().saturating_add(self.open)
    }

    /// Returns how many the provider counts besides one that was sent.
    pub(super) fn others(&self) -> u64 {
        self.all_sent.saturating_sub(1).saturating_add(self.open)
    }

    /// Returns how many others than the one that was sent at `sent` are in flight, and would have been rejected
    /// by now.
    pub(super) fn admitted(&self, sent: Instant, latency: Duration, now: Instant) -> u64 {
        if self.all_sent <= 1 {
            // It is alone, but for open bodies: those that are not admitted yet are at most itself.
            return self.open;
        }
        let young = self.younger(latency, now);
        let itself = u64::from(sent + COUNTED_TOGETHER + latency <= now);
        let admitted = self.all_sent.saturating_sub(young.saturating_add(itself));
        admitted.saturating_add(self.open)
    }

    #[cfg(feature = "share")]
    pub(super) fn open(&self) -> u64 {
        self.open
    }

    pub(super) fn open_body(&mut self) {
        self.open = self.open.saturating_add(1);
    }

    pub(super) fn close_body(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// Returns how many are sent after `moment`, or so shortly before that they may arrive after it.
    pub(super) fn since(&self, moment: Instant) -> u64 {
        let sent = self.groups_since(moment);
        self.reserved + sent.map(|group| group.count).sum::<u64>()
    }

    /// Returns how many tokens those cost that [`since`](Self::since) counts.
    pub(super) fn cost_since(&self, moment: Instant) -> Cost {
        let costs = self.groups_since(moment).map(|group| group.cost);
        costs.fold(self.reserved_cost, Cost::saturating_add)
    }

    /// Returns how many tokens all of them cost.
    #[cfg(feature = "share")]
    pub(super) fn all_cost(&self) -> Cost {
        let costs = self.sent.iter().map(|group| group.cost);
        costs.fold(self.reserved_cost, Cost::saturating_add)
    }

    fn groups_since(&self, moment: Instant) -> impl Iterator<Item = &Group> {
        let after = move |group: &&Group| group.from + SEND_RESOLUTION > moment;
        self.sent.iter().rev().take_while(after)
    }

    /// Returns how many may have been sent within the last `time`.
    pub(super) fn younger(&self, time: Duration, now: Instant) -> u64 {
        let sent = self.sent.iter().rev();
        let young = sent.take_while(|group| group.from + COUNTED_TOGETHER + time > now);
        young.map(|group| group.count).sum()
    }

    /// Returns when the first of these was sent longer ago.
    pub(super) fn grown_at(&self, time: Duration, now: Instant) -> Option<Instant> {
        let grown = |from: Instant| from + COUNTED_TOGETHER + time;
        let first = self.sent.partition_point(|group| grown(group.from) <= now);
        self.sent.get(first).map(|group| grown(group.from))
    }

    /// Returns how many were sent after one moment and before another.
    pub(super) fn between(&self, from: Instant, to: Instant) -> u64 {
        let first = self.sent.partition_point(|group| group.from <= from);
        let sent = self.sent.iter().skip(first);
        let before = sent.take_while(|group| group.from + COUNTED_TOGETHER < to);
        before.map(|group| group.count).sum()
    }

    /// Returns when the first was sent of those that were not sent before `moment`.
    pub(super) fn first_since(&self, moment: Instant) -> Option<Instant> {
        let first = self
            .sent
            .partition_point(|group| group.from + COUNTED_TOGETHER <= moment);
        self.sent.get(first).map(|group| group.from)
    }

    pub(super) fn reserve(&mut self, cost: Cost) {
        self.reserved += 1;
        self.reserved_cost = self.reserved_cost.saturating_add(cost);
    }

    /// Sends one that was reserved. A task that was held up between the clock and the lock comes with a
    /// `now` in the past.
    pub(super) fn send(&mut self, cost: Cost, now: Instant) {
        self.unreserve(cost);
        self.all_sent += 1;
        let after = self.after(now);
        match after.checked_sub(1).and_then(|at| self.sent.get_mut(at)) {
            Some(group) if now < group.from + COUNTED_TOGETHER => {
                group.count += 1;
                group.cost = group.cost.saturating_add(cost);
            }
            _ => {
                let group = Group {
                    from: now,
                    count: 1,
                    cost,
                };
                self.sent.insert(after, group);
            }
        }
    }

    /// Removes one that was sent at `sent`, or that was only reserved.
    pub(super) fn remove(&mut self, sent: Option<Instant>, cost: Cost) {
        let Some(sent) = sent else {
            return self.unreserve(cost);
        };
        let Some(at) = self.after(sent).checked_sub(1) else {
            return;
        };
        if let Some(group) = self.sent.get_mut(at) {
            self.all_sent -= 1;
            group.count -= 1;
            group.cost = group.cost.saturating_sub(cost);
            if group.count == 0 {
                self.sent.remove(at);
            }
        }
    }

    fn unreserve(&mut self, cost: Cost) {
        self.reserved = self.reserved.saturating_sub(1);
        self.reserved_cost = match self.reserved {
            0 => Cost::default(),
            _ => self.reserved_cost.saturating_sub(cost),
        };
    }

    /// Returns the index after those that were sent at `moment` or before.
    fn after(&self, moment: Instant) -> usize {
        match self.sent.last() {
            Some(newest) if moment < newest.from => {
                self.sent.partition_point(|group| group.from <= moment)
            }
            _ => self.sent.len(),
        }
    }
}

#[cfg(test)]
impl InFlight {
    pub(super) fn of_all_times(&self) -> u64 {
        self.reserved + self.sent.iter().map(|group| group.count).sum::<u64>()
    }
}

#[cfg(test)]
mod tests;
