//! A caller with many requests, and a provider that reports nothing.

use super::*;

/// A limit and its caller, which sends as much as the limit allows.
pub(super) struct Dialogue<P> {
    pub(super) limit: Limit,
    /// Returns the rejection, if any, of a request at this time after the start.
    provider: P,
    start: Instant,
    now: Instant,
    /// How many requests may be in flight.
    workers: usize,
    answers_in: Duration,
    pending: Vec<Answer>,
    /// When the requests were sent that passed, and those that were rejected.
    pub(super) passed: Vec<Duration>,
    pub(super) rejected: Vec<Duration>,
}

#[derive(Debug)]
struct Answer {
    at: Instant,
    sent: Instant,
    rejection: Option<Rejection>,
}

/// A rejection takes this long.
pub(super) const REJECTED_IN: Duration = Duration::from_millis(50);

// === impl Dialogue ===

impl<P: FnMut(Duration) -> Option<Rejection>> Dialogue<P> {
    pub(super) fn new(provider: P) -> Self {
        let start = Instant::now() + secs(1_000);
        Self {
            limit: Limit::default(),
            provider,
            start,
            now: start,
            workers: 64,
            answers_in: Duration::from_millis(350),
            pending: Vec::new(),
            passed: Vec::new(),
            rejected: Vec::new(),
        }
    }

    pub(super) fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// Sets how long successes take.
    pub(super) fn answers_in(self, answers_in: Duration) -> Self {
        Self { answers_in, ..self }
    }

    pub(super) fn start(&self) -> Instant {
        self.start
    }

    /// Sets the start, because several limits need one clock.
    pub(super) fn start_at(&mut self, start: Instant) {
        (self.start, self.now) = (start, start);
    }

    /// Sends requests and processes responses until `end` after the start.
    pub(super) fn run_until(&mut self, end: Duration) {
        let end = self.start + end;
        let mut rounds = 0_u64;
        while self.now < end {
            rounds += 1;
            assert!(rounds < 5_000_000, "it polls again and again");
            self.answer();
            let looks_at = self.send();
            let answers = self.pending.iter().map(|answer| answer.at);
            let next = answers.chain(looks_at).min();
            let next = next.expect("a waiter polls later, or a response arrives");
            self.now = next.max(self.now + Duration::from_millis(1)).min(end);
        }
    }

    /// Sends nothing until `end` after the start.
    pub(super) fn idle_until(&mut self, end: Duration) {
        let workers = std::mem::take(&mut self.workers);
        while let Some(at) = self.pending.iter().map(|answer| answer.at).min() {
            self.now = self.now.max(at);
            self.answer();
        }
        (self.now, self.workers) = (self.start + end, workers);
    }

    fn answer(&mut self) {
        let now = self.now;
        self.pending.sort_by_key(|answer| answer.at);
        let later = self.pending.partition_point(|answer| answer.at <= now);
        for answer in self.pending.drain(..later) {
            let sent = answer.sent - self.start;
            match &answer.rejection {
                Some(rejection) => {
                    self.rejected.push(sent);
                    self.limit.rejected(rejection, &[], answer.sent, now);
                }
                None => self.limit.succeeded(&[], answer.sent, now),
            }
        }
    }

    /// Sends as much as the limit allows. Returns when the next caller polls.
    fn send(&mut self) -> Option<Instant> {
        while self.pending.len() < self.workers {
            match self.limit.capacity(self.now) {
                Capacity::Available(0) => panic!("a capacity of zero must not be `Available`"),
                Capacity::Available(_) => self.send_one(),
                Capacity::Short { more_at: at, .. }
                | Capacity::Probing(at)
                | Capacity::Full(at) => return at,
                Capacity::Verify(at) | Capacity::Closed(at) | Capacity::Unusable(at) => {
                    assert!(at > self.now && at <= self.now + MAX_COOLDOWN, "{at:?}");
                    return Some(at);
                }
            }
        }
        None
    }

    fn send_one(&mut self) {
        let sent = self.now;
        self.limit.take(sent);
        let rejection = (self.provider)(sent - self.start);
        let takes = match rejection {
            Some(_) => REJECTED_IN,
            None => self.answers_in,
        };
        if rejection.is_none() {
            self.passed.push(sent - self.start);
        }
        self.pending.push(Answer {
            at: sent + takes,
            sent,
            rejection,
        });
    }

    pub(super) fn passed_between(&self, from: Duration, to: Duration) -> usize {
        between(&self.passed, from, to)
    }

    pub(super) fn rejected_between(&self, from: Duration, to: Duration) -> usize {
        between(&self.rejected, from, to)
    }

    /// Returns the estimated length of a window.
    pub(super) fn period(&self) -> Option<Duration> {
        self.limit.traits.period.length()
    }
}

fn between(moments: &[Duration], from: Duration, to: Duration) -> usize {
    let within = moments.iter().filter(|it| (from..to).contains(*it));
    within.count()
}

/// Returns a rejection that reports nothing.
pub(super) fn silent() -> Rejection {
    Rejection::new(Reason::RateLimited)
}

/// Returns a provider that admits `size` requests in a window, which begins with the first one.
pub(super) fn window(size: u64, length: Duration) -> impl FnMut(Duration) -> Option<Rejection> {
    let (mut opened, mut used) = (Duration::ZERO, 0);
    move |at| {
        if at >= opened + length {
            (opened, used) = (at, 0);
        }
        used += 1;
        (used > size).then(silent)
    }
}

/// Returns a provider with a bucket of `size` requests, which refills continuously in `length`.
pub(super) fn bucket(size: u32, length: Duration) -> impl FnMut(Duration) -> Option<Rejection> {
    let (mut level, mut last) = (f64::from(size), Duration::ZERO);
    move |at| {
        let refilled = (at - last).as_secs_f64() / length.as_secs_f64() * f64::from(size);
        level = (level + refilled).min(f64::from(size));
        last = at;
        match level >= 1.0 {
            true => {
                level -= 1.0;
                None
            }
            false => Some(silent()),
        }
    }
}
