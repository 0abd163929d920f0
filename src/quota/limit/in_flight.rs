//! What is in flight, by when it went out. Pure.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::quota::timing::SEND_RESOLUTION;

#[derive(Clone, Debug, Default)]
pub(super) struct InFlight {
    /// How many went out from each moment on, the oldest first.
    sent: VecDeque<(Instant, u64)>,
    all: u64,
}

// === impl InFlight ===

impl InFlight {
    pub(super) fn all(&self) -> u64 {
        self.all
    }

    /// Those that may have gone out after `moment`, or so shortly before that they may have arrived after it.
    pub(super) fn since(&self, moment: Instant) -> u64 {
        let after = |from: &Instant| *from + SEND_RESOLUTION * 2 > moment;
        let sent = self.sent.iter().rev();
        sent.take_while(|(from, _)| after(from))
            .map(|(_, count)| count)
            .sum()
    }

    /// A task that was held up between the clock and the lock comes with a `now` that is past already.
    pub(super) fn add(&mut self, now: Instant) {
        self.all += 1;
        let after = self.after(now);
        match after.checked_sub(1).and_then(|at| self.sent.get_mut(at)) {
            Some((from, count)) if now < *from + SEND_RESOLUTION => *count += 1,
            _ => self.sent.insert(after, (now, 1)),
        }
    }

    /// One that went out at `sent` has come back.
    pub(super) fn remove(&mut self, sent: Instant) {
        self.all = self.all.saturating_sub(1);
        let Some(at) = self.after(sent).checked_sub(1) else {
            return;
        };
        if let Some((_, count)) = self.sent.get_mut(at) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.sent.remove(at);
            }
        }
    }

    /// The place after those that went out at `moment` or before.
    fn after(&self, moment: Instant) -> usize {
        match self.sent.back() {
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
        self.sent.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use std::time::Duration;

    use super::*;

    #[test]
    fn what_went_out_well_before_a_moment_does_not_count_after_it() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut in_flight = InFlight::default();
        for millis in [0, 10, 5_000, 5_900, 6_100] {
            in_flight.add(at(millis));
        }
        assert_eq!(in_flight.all(), 5);
        assert_eq!(in_flight.since(at(0)), 5);
        assert_eq!(in_flight.since(at(3_000)), 3);
        assert_eq!(in_flight.since(at(20_000)), 0);
        in_flight.remove(at(5_900));
        in_flight.remove(at(0));
        in_flight.remove(at(10));
        assert_eq!((in_flight.all(), in_flight.since(at(0))), (2, 2));
        assert_eq!(in_flight.since(at(7_050)), 1);
    }

    #[test]
    fn one_that_is_never_answered_does_not_keep_what_came_back() {
        let start = Instant::now();
        let mut in_flight = InFlight::default();
        in_flight.add(start);
        for second in 2..1_000 {
            in_flight.add(start + Duration::from_secs(second));
            in_flight.remove(start + Duration::from_secs(second));
        }
        assert_eq!((in_flight.sent.len(), in_flight.all()), (1, 1));
    }

    #[test]
    fn one_that_comes_late_from_the_clock_is_taken_off_where_it_was_counted() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut in_flight = InFlight::default();
        for millis in [0, 5_000, 4_998] {
            in_flight.add(at(millis));
        }
        in_flight.remove(at(4_998));
        in_flight.remove(at(5_000));
        assert_eq!((in_flight.all(), in_flight.since(at(4_000))), (1, 0));
        in_flight.remove(at(0));
        assert!(in_flight.sent.is_empty());
    }
}
