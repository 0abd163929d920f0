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
mod tests {
    #![allow(clippy::disallowed_methods)]

    use std::time::Duration;

    use super::*;

    impl InFlight {
        fn take(&mut self, now: Instant) {
            self.reserve();
            self.send(now);
        }
    }

    #[test]
    fn requests_sent_well_before_a_moment_do_not_count_after_it() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut in_flight = InFlight::default();
        for millis in [0, 10, 5_000, 5_900, 6_100] {
            in_flight.take(at(millis));
        }
        assert_eq!(in_flight.all(), 5);
        assert_eq!(in_flight.since(at(0)), 5);
        assert_eq!(in_flight.since(at(3_000)), 3);
        assert_eq!(in_flight.since(at(20_000)), 0);
        in_flight.remove(Some(at(5_900)));
        in_flight.remove(Some(at(0)));
        in_flight.remove(Some(at(10)));
        assert_eq!((in_flight.all(), in_flight.since(at(0))), (2, 2));
        assert_eq!(in_flight.since(at(7_050)), 1);
    }

    #[test]
    fn request_without_a_response_does_not_keep_completed_ones() {
        let start = Instant::now();
        let mut in_flight = InFlight::default();
        in_flight.take(start);
        for second in 2..1_000 {
            in_flight.take(start + Duration::from_secs(second));
            in_flight.remove(Some(start + Duration::from_secs(second)));
        }
        assert_eq!((in_flight.sent.len(), in_flight.all()), (1, 1));
    }

    #[test]
    fn request_with_a_late_clock_is_removed_where_it_was_counted() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut in_flight = InFlight::default();
        for millis in [0, 5_000, 4_998] {
            in_flight.take(at(millis));
        }
        in_flight.remove(Some(at(4_998)));
        in_flight.remove(Some(at(5_000)));
        assert_eq!((in_flight.all(), in_flight.since(at(4_000))), (1, 0));
        in_flight.remove(Some(at(0)));
        assert!(in_flight.sent.is_empty());
    }
}
