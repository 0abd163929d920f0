//! How much passes where the provider does not say: slow start, and what rejections have taught. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::{doublings, in_flight::InFlight};

/// So many go out with a key about which nothing is known; a dead one wastes no more.
const START: u64 = 2;

#[derive(Clone, Debug, Default)]
pub(super) struct Learned {
    /// When the first request went out since the last rejection, or since what passed was counted anew.
    opened: Option<Instant>,
    /// When the last rejection's time was over.
    ended: Option<Instant>,
    /// How many have passed since.
    passed: u64,
    /// How many have passed at all, until a rejection came.
    answers: u64,
    /// How many passed before the last rejection.
    capacity: Option<u64>,
    /// From the first request of that time to when the next could pass.
    period: Option<Duration>,
}

/// How many more may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    Some(u64),
    /// None until an answer comes, or until this moment.
    Later(Instant),
    /// None until an answer comes.
    AfterAnswer,
}

// === impl Learned ===

impl Learned {
    /// How many may go out by what rejections have taught, of this or else of others that are `typical`,
    /// and with `slow_start` by what is unknown.
    pub(super) fn more(
        &mut self,
        in_flight: &InFlight,
        typical: Option<u64>,
        slow_start: bool,
        now: Instant,
    ) -> More {
        self.roll(now);
        match self.capacity.or(typical) {
            Some(capacity) => {
                let in_flight = self.opened.map_or(0, |opened| in_flight.since(opened));
                // One more than is known to pass finds out whether there is more by now, then two, then four.
                let beyond = self.passed.saturating_sub(capacity);
                let ceiling = self
                    .passed
                    .max(capacity)
                    .saturating_add(beyond)
                    .saturating_add(1);
                match ceiling
                    .saturating_sub(self.passed)
                    .saturating_sub(in_flight)
                {
                    0 => self.period_end().map_or(More::AfterAnswer, More::Later),
                    more => More::Some(more),
                }
            }
            None if slow_start => self.start(in_flight.all(), now),
            None => More::Some(u64::MAX),
        }
    }

    /// Each answer allows half a request more, so that what is in flight when the limit is met stays
    /// small; and as an answer may take long, what is allowed also doubles with time.
    fn start(&self, in_flight: u64, now: Instant) -> More {
        let since = self.opened.or(self.ended);
        let (doublings, next) = doublings(since.unwrap_or(now), now);
        let allowed = (START << doublings).saturating_add(self.answers / 2);
        match (allowed.saturating_sub(in_flight), since) {
            (0, Some(_)) => More::Later(next),
            (0, None) => More::AfterAnswer,
            (more, _) => More::Some(more),
        }
    }

    pub(super) fn sent(&mut self, now: Instant) {
        self.roll(now);
        self.opened.get_or_insert(now);
    }

    /// A request passed; `on_cooldown` if it was sent before a rejection that has come already.
    pub(super) fn passed(&mut self, cooling: bool) {
        self.answers = self.answers.saturating_add(1);
        match &mut self.capacity {
            Some(capacity) if cooling => *capacity = capacity.saturating_add(1),
            _ => self.passed = self.passed.saturating_add(1),
        }
    }

    /// A limit was hit, and ends at `until`; how many had passed, if that says what it holds.
    pub(super) fn refused(&mut self, until: Instant) -> Option<u64> {
        let passed = Some(self.passed).filter(|passed| *passed > 0);
        // Nothing has passed: somebody else uses the same limit, which says nothing of what it holds.
        if passed.is_some() {
            self.capacity = passed;
            self.period = self
                .opened
                .map(|opened| until.saturating_duration_since(opened));
        }
        self.passed = 0;
        self.answers = 0;
        self.opened = None;
        self.ended = Some(until);
        passed
    }

    fn period_end(&self) -> Option<Instant> {
        self.opened?.checked_add(self.period?)
    }

    /// Counts anew once the time is over that the last count was for.
    fn roll(&mut self, now: Instant) {
        if self.period_end().is_some_and(|end| end <= now) {
            self.opened = None;
            self.passed = 0;
        }
    }
}
