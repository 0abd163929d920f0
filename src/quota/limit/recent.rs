//! How many requests were sent within the time of the last window. Pure.
//!
//! Where windows begin is not known. If no more than a window's worth is sent within any time as long, no
//! window gets more, wherever it begins.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// Requests that are sent within this part of a window are counted together.
const PARTS: u32 = 32;

#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    sent: VecDeque<(Instant, u64)>,
}

// === impl Recent ===

impl Recent {
    /// Counts a request; `length` is that of a window.
    pub(super) fn send(&mut self, length: Duration, now: Instant) {
        self.forget_old(length, now);
        match self.sent.back_mut() {
            Some((from, count)) if now < *from + length / PARTS => *count += 1,
            _ => self.sent.push_back((now, 1)),
        }
    }

    /// Uncounts a request that was rejected.
    pub(super) fn reject(&mut self, sent: Instant) {
        let mut groups = self.sent.iter_mut().rev();
        if let Some((_, count)) = groups.find(|(from, _)| *from <= sent) {
            *count = count.saturating_sub(1);
        }
    }

    /// Returns how many were sent in the last window's time, and when the first of these no longer counts.
    pub(super) fn count(&mut self, length: Duration, now: Instant) -> (u64, Option<Instant>) {
        self.forget_old(length, now);
        let count = self.sent.iter().map(|(_, count)| count).sum();
        (count, self.sent.front().map(|(from, _)| *from + length))
    }

    fn forget_old(&mut self, length: Duration, now: Instant) {
        while self
            .sent
            .front()
            .is_some_and(|(from, _)| *from + length <= now)
        {
            self.sent.pop_front();
        }
    }
}
