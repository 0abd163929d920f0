//! How much passes where the provider does not report it: slow start, and what rejections have shown. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::in_flight::InFlight;
use crate::quota::timing::doublings;

/// So many requests start a limit of which nothing is known; a dead key wastes no more.
const START: u64 = 2;

#[derive(Clone, Debug, Default)]
pub(super) struct Estimate {
    /// When the first request was sent since the last rejection, or since the count began again.
    opened: Option<Instant>,
    /// When the cooldown of the last rejection ended.
    ended: Option<Instant>,
    /// How many have passed since `opened`.
    passed: u64,
    /// How many have passed since the last rejection.
    successes: u64,
    /// How many passed before the last rejection.
    capacity: Option<u64>,
    /// From the first request of that time to when the next could pass.
    window: Option<Duration>,
}

/// How many more may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Headroom {
    Some(u64),
    /// None until a response comes, or until this moment.
    Later(Instant),
    /// None until a response comes.
    AfterResponse,
}

// === impl Estimate ===

impl Estimate {
    /// Returns how many may be sent by what rejections have shown, of this limit or else of `typical` ones;
    /// with `slow_start`, few if neither is known.
    pub(super) fn headroom(
        &mut self,
        in_flight: &InFlight,
        typical: Option<u64>,
        slow_start: bool,
        now: Instant,
    ) -> Headroom {
        self.roll(now);
        match self.capacity.or(typical) {
            Some(capacity) => {
                let in_flight = self
                    .opened
                    .map_or(in_flight.reserved(), |opened| in_flight.since(opened));
                // One more than is known to pass finds out whether there is more by now, then two, then four.
                let beyond = self.passed.saturating_sub(capacity);
                let ceiling = self.passed.max(capacity).saturating_add(beyond + 1);
                let used = self.passed.saturating_add(in_flight);
                match ceiling.saturating_sub(used) {
                    0 => self
                        .window_end()
                        .map_or(Headroom::AfterResponse, Headroom::Later),
                    more => Headroom::Some(more),
                }
            }
            None if slow_start => self.slow_start(in_flight.all(), now),
            None => Headroom::Some(u64::MAX),
        }
    }

    /// Each success allows half a request more, so that few are in flight when the limit is met. Responses
    /// may take long, so the allowance also doubles with time.
    fn slow_start(&self, in_flight: u64, now: Instant) -> Headroom {
        let since = self.opened.or(self.ended);
        let (doublings, next) = doublings(since.unwrap_or(now), now);
        let allowed = (START << doublings).saturating_add(self.successes / 2);
        match (allowed.saturating_sub(in_flight), since) {
            (0, Some(_)) => Headroom::Later(next),
            (0, None) => Headroom::AfterResponse,
            (more, _) => Headroom::Some(more),
        }
    }

    pub(super) fn sent(&mut self, now: Instant) {
        self.roll(now);
        self.opened.get_or_insert(now);
    }

    /// Counts a success; `is_cooling` if it was sent before a rejection that has come already.
    pub(super) fn passed(&mut self, is_cooling: bool) {
        self.successes = self.successes.saturating_add(1);
        match &mut self.capacity {
            Some(capacity) if is_cooling => *capacity = capacity.saturating_add(1),
            _ => self.passed = self.passed.saturating_add(1),
        }
    }

    /// Records a rejection whose cooldown ends at `until`; returns how many had passed, if any.
    pub(super) fn rejected(&mut self, until: Instant) -> Option<u64> {
        let passed = Some(self.passed).filter(|passed| *passed > 0);
        // If nothing has passed, somebody else uses the same limit, and its size is not known.
        if passed.is_some() {
            self.capacity = passed;
            self.window = self
                .opened
                .map(|opened| until.saturating_duration_since(opened));
        }
        self.passed = 0;
        self.successes = 0;
        self.opened = None;
        self.ended = Some(until);
        passed
    }

    fn window_end(&self) -> Option<Instant> {
        self.opened?.checked_add(self.window?)
    }

    /// Counts again from zero once the window of the last count has ended.
    fn roll(&mut self, now: Instant) {
        if self.window_end().is_some_and(|end| end <= now) {
            self.opened = None;
            self.passed = 0;
        }
    }
}
