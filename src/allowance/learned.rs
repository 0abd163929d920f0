//! How much passes where the provider does not say: slow start, and what refusals have taught. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// So many go out with a key about which nothing is known; a dead one wastes no more.
const START: u64 = 2;

/// An answer may take long, so what is allowed also doubles with time.
const DOUBLES_EACH: Duration = Duration::from_millis(250);

/// Beyond this a start is not slow any more.
const DOUBLINGS: u32 = 20;

#[derive(Clone, Debug, Default)]
pub(super) struct Learned {
    /// When the first request went out since the last refusal, or since what passed was counted anew.
    opened: Option<Instant>,
    /// How many have passed since.
    passed: u64,
    /// How many have passed at all, until a refusal came.
    answers: u64,
    /// How many passed before the last refusal.
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
    /// How many may go out by what refusals have taught, and with `slow_start` by what is unknown.
    pub(super) fn more(&mut self, in_flight: u64, slow_start: bool, now: Instant) -> More {
        self.roll(now);
        match self.capacity {
            Some(capacity) => {
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
            None if slow_start => self.start(in_flight, now),
            None => More::Some(u64::MAX),
        }
    }

    fn start(&self, in_flight: u64, now: Instant) -> More {
        let since = self
            .opened
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let doublings = since.as_millis() / DOUBLES_EACH.as_millis();
        let doublings = u32::try_from(doublings).unwrap_or(DOUBLINGS).min(DOUBLINGS);
        let allowed = (START << doublings).saturating_add(self.answers);
        match (allowed.saturating_sub(in_flight), self.opened) {
            (0, Some(opened)) => More::Later(opened + DOUBLES_EACH * (doublings + 1)),
            (0, None) => More::AfterAnswer,
            (more, _) => More::Some(more),
        }
    }

    pub(super) fn sent(&mut self, now: Instant) {
        self.roll(now);
        self.opened.get_or_insert(now);
    }

    /// A request passed; `cooling` if it was sent before a refusal that has come already.
    pub(super) fn passed(&mut self, cooling: bool) {
        self.answers = self.answers.saturating_add(1);
        match &mut self.capacity {
            Some(capacity) if cooling => *capacity = capacity.saturating_add(1),
            _ => self.passed = self.passed.saturating_add(1),
        }
    }

    /// A limit was hit, and ends at `until`.
    pub(super) fn refused(&mut self, until: Instant) {
        // Nothing has passed: somebody else uses the same limit, which says nothing of what it holds.
        if self.passed > 0 {
            self.capacity = Some(self.passed);
            self.period = self
                .opened
                .map(|opened| until.saturating_duration_since(opened));
        }
        self.passed = 0;
        self.answers = 0;
        self.opened = None;
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
