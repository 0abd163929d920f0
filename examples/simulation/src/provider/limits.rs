//! How a provider limits: the three meters that providers use. Pure: `now` is an argument.

use std::{collections::VecDeque, time::Duration};

/// What one key may ask of one model.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// So many in each window; the windows follow each other from the start.
    Fixed(u32, Duration),
    /// So many in the time before any moment.
    Sliding(u32, Duration),
    /// So many at once, and as many more over each such time, evenly.
    Bucket(u32, Duration),
}

/// What is used up of a limit.
#[derive(Debug)]
pub(crate) struct Meter {
    limit: Limit,
    /// When what was admitted came, and its cost; of a fixed window, in this window.
    admitted: VecDeque<(Duration, u32)>,
    /// The sum of the costs of `admitted`.
    used: u32,
    tokens: f64,
    counted: Duration,
}

/// What a meter says after a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    /// Until the window ends. For a bucket, until it is full again, as OpenAI reports it.
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

    /// The most that can be admitted in a time.
    pub(crate) fn most_in(self, time: Duration) -> f64 {
        let size = f64::from(self.size());
        let windows = time.as_secs_f64() / self.window().as_secs_f64();
        match self {
            Self::Fixed(..) | Self::Sliding(..) => size * windows.ceil(),
            Self::Bucket(..) => size * (1.0 + windows),
        }
    }

    /// The same with another number of requests.
    pub(crate) fn of_size(self, size: u32) -> Self {
        match self {
            Self::Fixed(_, window) => Self::Fixed(size, window),
            Self::Sliding(_, window) => Self::Sliding(size, window),
            Self::Bucket(_, window) => Self::Bucket(size, window),
        }
    }

    /// The least time in which `calls` can be admitted, the first at once.
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

    /// Returns how long a request that needs so much has to wait, if it does not pass at `now`.
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

    /// Counts so much at `now`, even if there is less left.
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

    /// Forgets what is over, and fills the bucket.
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

    /// The end of the window that `now` is in.
    fn window_end(&self, now: Duration) -> Duration {
        let window = self.limit.window();
        let number = now.as_nanos() / window.as_nanos();
        window * (number as u32 + 1)
    }

    /// The seconds in which a bucket gets one more.
    fn each(&self) -> f64 {
        self.limit.window().as_secs_f64() / f64::from(self.limit.size())
    }

    /// The time in which a bucket fills to so much.
    fn missing(&self, of: f64) -> Duration {
        Duration::from_secs_f64((of - self.tokens).max(0.0) * self.each())
    }

    /// Forgets the oldest requests that are over.
    fn forget(&mut self, is_over: impl Fn(Duration) -> bool) {
        while let Some((_, cost)) = self.admitted.front().filter(|(at, _)| is_over(*at)) {
            self.used -= cost;
            self.admitted.pop_front();
        }
    }
}
