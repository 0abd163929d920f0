//! The three kinds of rate limits that providers use. Pure: `now` is an argument.

use std::{collections::VecDeque, time::Duration};

/// The rate limit of one key for one model.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// A number in each window. The windows follow each other from the start.
    Fixed(u32, Duration),
    /// A number in any time of this length.
    Sliding(u32, Duration),
    /// A number at once. The bucket fills evenly, from empty to full in this time.
    Bucket(u32, Duration),
}

/// The used part of a limit.
#[derive(Debug)]
pub(crate) struct Meter {
    limit: Limit,
    /// The times and costs of admitted requests. For a fixed window, only those in the current window.
    admitted: VecDeque<(Duration, u32)>,
    /// The sum of the costs of `admitted`.
    used: u32,
    tokens: f64,
    counted: Duration,
}

/// What a meter reports after a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    /// The time until the window ends. For a bucket, the time until it is full again, as OpenAI reports it.
    pub(crate) reset: Duration,
}

// === impl Limit ===

impl Limit {
    pub(crate) fn size(self) -> u32 {
        let (Self::Fixed(size, _) | Self::Sliding(size, _) | Self::Bucket(size, _)) = self;
        size
    }

    pub(crate) fn window(self) -> Duration {
        let (Self::Fixed(_, window) | Self::Sliding(_, window) | Self::Bucket(_, window)) = self;
        window
    }

    /// Returns the most that can be admitted in a time.
    pub(crate) fn most_in(self, time: Duration) -> f64 {
        let size = f64::from(self.size());
        let windows = time.as_secs_f64() / self.window().as_secs_f64();
        match self {
            Self::Fixed(..) | Self::Sliding(..) => size * windows.ceil(),
            Self::Bucket(..) => size * (1.0 + windows),
        }
    }

    /// Returns the same limit with another size.
    pub(crate) fn of_size(self, size: u32) -> Self {
        match self {
            Self::Fixed(_, window) => Self::Fixed(size, window),
            Self::Sliding(_, window) => Self::Sliding(size, window),
            Self::Bucket(_, window) => Self::Bucket(size, window),
        }
    }

    /// Returns the least time in which `calls` can be admitted, if the first is admitted at once.
    pub(crate) fn least_time(self, calls: f64) -> f64 {
        let size = f64::from(self.size());
        match self {
            Self::Fixed(_, window) | Self::Sliding(_, window) => {
                ((calls / size).ceil() - 1.0).max(0.0) * window.as_secs_f64()
            }
            Self::Bucket(_, window) => (calls / size - 1.0).max(0.0) * window.as_secs_f64(),
        }
    }
}

// === impl Meter ===

impl Meter {
    pub(crate) fn new(limit: Limit) -> Self {
        Self {
            limit,
            admitted: VecDeque::new(),
            used: 0,
            tokens: f64::from(limit.size()),
            counted: Duration::ZERO,
        }
    }

    pub(crate) fn limit(&self) -> Limit {
        self.limit
    }

    /// Returns how long a request that needs `need` must wait. Returns `None` if it passes at `now`.
    pub(crate) fn wait(&mut self, now: Duration, need: u32) -> Option<Duration> {
        self.advance(now);
        match self.limit {
            Limit::Bucket(..) => {
                let passes = self.tokens >= f64::from(need);
                (!passes).then(|| self.missing(f64::from(need)))
            }
            Limit::Fixed(size, _) => {
                (self.used.saturating_add(need) > size).then(|| self.window_end(now) - now)
            }
            Limit::Sliding(size, window) => {
                let mut used = self.used;
                let mut wait = None;
                for (at, cost) in &self.admitted {
                    if used.saturating_add(need) <= size {
                        break;
                    }
                    used -= cost;
                    wait = Some(*at + window - now);
                }
                wait
            }
        }
    }

    /// Counts `cost` at `now`, even if less is left.
    pub(crate) fn take(&mut self, now: Duration, cost: u32) {
        self.advance(now);
        match self.limit {
            Limit::Bucket(..) => self.tokens -= f64::from(cost),
            Limit::Fixed(..) | Limit::Sliding(..) => {
                self.admitted.push_back((now, cost));
                self.used = self.used.saturating_add(cost);
            }
        }
    }

    pub(crate) fn reading(&mut self, now: Duration) -> Reading {
        self.advance(now);
        let limit = self.limit.size();
        let (remaining, reset) = match self.limit {
            Limit::Bucket(..) => (self.tokens.max(0.0) as u32, self.missing(f64::from(limit))),
            Limit::Fixed(..) => (limit.saturating_sub(self.used), self.window_end(now) - now),
            Limit::Sliding(_, window) => {
                let oldest = self.admitted.front().map_or(now, |(at, _)| *at);
                (limit.saturating_sub(self.used), oldest + window - now)
            }
        };
        Reading {
            limit,
            remaining,
            reset,
        }
    }

    /// Forgets expired requests, and fills the bucket.
    fn advance(&mut self, now: Duration) {
        match self.limit {
            Limit::Bucket(size, _) => {
                let since = (now - self.counted).as_secs_f64();
                self.tokens = (self.tokens + since / self.each()).min(f64::from(size));
                self.counted = now;
            }
            Limit::Fixed(_, window) => {
                let opened = self.window_end(now) - window;
                self.forget(|at| at < opened);
            }
            Limit::Sliding(_, window) => self.forget(|at| now - at >= window),
        }
    }

    /// Returns the end of the window that contains `now`.
    fn window_end(&self, now: Duration) -> Duration {
        let window = self.limit.window();
        let number = now.as_nanos() / window.as_nanos();
        window * (number as u32 + 1)
    }

    /// Returns the seconds in which a bucket fills by one.
    fn each(&self) -> f64 {
        self.limit.window().as_secs_f64() / f64::from(self.limit.size())
    }

    /// Returns the time in which a bucket fills to `level`.
    fn missing(&self, level: f64) -> Duration {
        Duration::from_secs_f64((level - self.tokens).max(0.0) * self.each())
    }

    /// Forgets the oldest requests while they are expired.
    fn forget(&mut self, is_over: impl Fn(Duration) -> bool) {
        while let Some((_, cost)) = self.admitted.front().filter(|(at, _)| is_over(*at)) {
            self.used -= cost;
            self.admitted.pop_front();
        }
    }
}
