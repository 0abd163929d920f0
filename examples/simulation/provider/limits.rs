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
    /// When what was admitted came; of a fixed window, in this window.
    admitted: VecDeque<Duration>,
    tokens: f64,
    counted: Duration,
}

/// What a meter says after a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// `Err`: refused, and when the next would pass.
    pub(crate) admitted: Result<(), Duration>,
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    /// Until the window ends; of a bucket, until it is full again, as OpenAI tells it.
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
            tokens: f64::from(limit.size()),
            counted: Duration::ZERO,
        }
    }

    /// Counts a request that comes at `now`.
    pub(crate) fn ask(&mut self, now: Duration) -> Reading {
        match self.limit {
            Limit::Fixed(size, window) => {
                let number = now.as_nanos() / window.as_nanos();
                let end = window * (number as u32 + 1);
                let opened = end - window;
                self.forget(|at| at < opened);
                self.count(size, now, end - now, end - now)
            }
            Limit::Sliding(size, window) => {
                self.forget(|at| now - at >= window);
                let oldest = self.admitted.front().copied().unwrap_or(now);
                let frees = oldest + window - now;
                self.count(size, now, frees, frees)
            }
            Limit::Bucket(size, window) => {
                let each = window.as_secs_f64() / f64::from(size);
                let since = (now - self.counted).as_secs_f64();
                self.tokens = (self.tokens + since / each).min(f64::from(size));
                self.counted = now;
                let admitted = self.tokens >= 1.0;
                self.tokens -= f64::from(u8::from(admitted));
                let missing = |of: f64| Duration::from_secs_f64((of - self.tokens).max(0.0) * each);
                Reading {
                    admitted: if admitted { Ok(()) } else { Err(missing(1.0)) },
                    limit: size,
                    remaining: self.tokens as u32,
                    reset: missing(f64::from(size)),
                }
            }
        }
    }

    /// Forgets the oldest requests that are over.
    fn forget(&mut self, is_over: impl Fn(Duration) -> bool) {
        while self.admitted.front().is_some_and(|at| is_over(*at)) {
            self.admitted.pop_front();
        }
    }

    fn count(&mut self, size: u32, now: Duration, frees: Duration, reset: Duration) -> Reading {
        let used = u32::try_from(self.admitted.len()).unwrap_or(u32::MAX);
        let is_free = used < size;
        if is_free {
            self.admitted.push_back(now);
        }
        Reading {
            admitted: if is_free { Ok(()) } else { Err(frees) },
            limit: size,
            remaining: size - used - u32::from(is_free),
            reset,
        }
    }
}
