//! The requests in flight, by when they were sent. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::quota::timing::{COUNTED_TOGETHER, SEND_RESOLUTION};

#[derive(Clone, Debug, Default)]
pub(super) struct InFlight {
    /// How many have a place and were not sent yet.
    reserved: u64,
    /// How many were sent from each moment on, the oldest first.
    sent: Vec<(Instant, u64)>,
    /// How many were sent.
    all_sent: u64,
}

// === impl InFlight ===

impl InFlight {
    pub(super) fn all(&self) -> u64 {
        self.reserved + self.all_sent
    }

    pub(super) fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Returns how many are sent after `moment`, or so shortly before that they may arrive after it.
    pub(super) fn since(&self, moment: Instant) -> u64 {
        let after = |from: &Instant| *from + SEND_RESOLUTION > moment;
        let sent = self.sent.iter().rev();
        let sent = sent.take_while(|(from, _)| after(from));
        self.reserved + sent.map(|(_, count)| count).sum::<u64>()
    }

    /// Returns how many may have been sent within the last `time`.
    pub(super) fn younger(&self, time: Duration, now: Instant) -> u64 {
        let sent = self.sent.iter().rev();
        let young = sent.take_while(|(from, _)| *from + COUNTED_TOGETHER + time > now);
        young.map(|(_, count)| count).sum()
    }

    /// Returns when the first of these was sent longer ago.
    pub(super) fn grown_at(&self, time: Duration, now: Instant) -> Option<Instant> {
        let grown = |from: Instant| from + COUNTED_TOGETHER + time;
        let first = self.sent.partition_point(|(from, _)| grown(*from) <= now);
        self.sent.get(first).map(|(from, _)| grown(*from))
    }

    /// Returns how many were sent after one moment and before another.
    pub(super) fn between(&self, from: Instant, to: Instant) -> u64 {
        let first = self.sent.partition_point(|(sent, _)| *sent <= from);
        let sent = self.sent.iter().skip(first);
        let before = sent.take_while(|(sent, _)| *sent + COUNTED_TOGETHER < to);
        before.map(|(_, count)| count).sum()
    }

    /// Returns when the first was sent of those that were not sent before `moment`.
    pub(super) fn first_since(&self, moment: Instant) -> Option<Instant> {
        let first = self
            .sent
            .partition_point(|(from, _)| *from + COUNTED_TOGETHER <= moment);
        self.sent.get(first).map(|(from, _)| *from)
    }

    pub(super) fn reserve(&mut self) {
        self.reserved += 1;
    }

    /// Sends one that was reserved. A task that was held up between the clock and the lock comes with a
    /// `now` in the past.
    pub(super) fn send(&mut self, now: Instant) {
        self.reserved = self.reserved.saturating_sub(1);
        self.all_sent += 1;
        let after = self.after(now);
        match after.checked_sub(1).and_then(|at| self.sent.get_mut(at)) {
            Some((from, count)) if now < *from + COUNTED_TOGETHER => *count += 1,
            _ => self.sent.insert(after, (now, 1)),
        }
    }

    /// Removes one that was sent at `sent`, or that was only reserved.
    pub(super) fn remove(&mut self, sent: Option<Instant>) {
        let Some(sent) = sent else {
            self.reserved = self.reserved.saturating_sub(1);
            return;
        };
        let Some(at) = self.after(sent).checked_sub(1) else {
            return;
        };
        if let Some((_, count)) = self.sent.get_mut(at) {
            self.all_sent -= 1;
            *count -= 1;
            if *count == 0 {
                self.sent.remove(at);
            }
        }
    }

    /// Returns the index after those that were sent at `moment` or before.
    fn after(&self, moment: Instant) -> usize {
        match self.sent.last() {
            Some((newest, _)) if moment < *newest => {
                self.sent.partition_point(|(from, _)| *from <= moment)
            }
            _ => self.sent.len(),
        }
    }
}

#[cfg(test)]
impl InFlight {
    pub(super) fn of_all_times(&self) -> u64 {
        self.reserved + self.sent.iter().map(|(_, count)| count).sum::<u64>()
    }
}

#[cfg(test)]
mod tests;
