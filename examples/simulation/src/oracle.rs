//! A client that knows every cost and every limit. Pure.
//!
//! It serves in FIFO order: a call is sent as soon as a key has capacity for it besides all earlier calls. So a smaller
//! call is sent before a waiting larger one only if that does not delay the larger one. In a fixed window it does not,
//! because the larger one waits for the next window anyway. In a bucket it would.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use tower_429::Cost;

use crate::provider::{limits::Limit, meters::Unit};

/// What the oracle knows in addition to the calls.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// The limits of each key for each model that may serve.
    pub(crate) candidates: Vec<Vec<(Unit, Limit)>>,
    /// The limit in requests in flight of each candidate.
    pub(crate) at_once: Option<usize>,
    pub(crate) workers: usize,
    /// The time to the provider, and the time back.
    pub(crate) way: Duration,
    /// The time from a call to the next, if a worker is free.
    pub(crate) apart: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) cost: Cost,
    /// From the admission to the end of the response.
    pub(crate) answer: Duration,
}

/// The times of a served job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    /// When the provider admits it.
    pub(crate) at: Duration,
    /// When the client has the complete response.
    pub(crate) answered: Duration,
}

/// The part of a limit that is in use.
enum Level {
    /// The used part of each window.
    Windows(u32, Duration, Vec<u32>),
    /// The level of a bucket at a time, after all calls so far. No further call is sent before that time.
    Bucket {
        size: u32,
        window: Duration,
        since: Duration,
        level: f64,
    },
}

/// The limits of a key for a model.
struct Candidate {
    levels: Vec<(Unit, Level)>,
    /// When the slot of each request in flight is free. Empty if requests in flight are not limited.
    slots: Vec<Duration>,
}

/// Serves the jobs in their order, and returns the times.
pub(crate) fn serve(terms: &Terms, jobs: &[Job]) -> Vec<Served> {
    let at_once = terms.at_once.unwrap_or(0);
    let candidates = terms.candidates.iter();
    let mut candidates: Vec<_> = candidates
        .map(|limits| Candidate::new(limits, at_once))
        .collect();
    let mut workers: BinaryHeap<_> = (0..terms.workers)
        .map(|_| Reverse(Duration::ZERO))
        .collect();
    let mut due = Duration::ZERO;
    let serve_one = |job: &Job| {
        let Reverse(free) = workers.pop()?;
        let comes = free.max(due) + terms.way;
        due += terms.apart;
        let earliest = |candidate: &&mut Candidate| candidate.earliest(comes, job.cost);
        let candidate = candidates.iter_mut().min_by_key(earliest)?;
        let at = candidate.earliest(comes, job.cost);
        // The slot is free when the client has the response, and the next request takes its time to the provider.
        candidate.take(at, job.cost, at + job.answer + terms.way * 2);
        let answered = at + job.answer + terms.way;
        workers.push(Reverse(answered));
        Some(Served { at, answered })
    };
    jobs.iter().filter_map(serve_one).collect()
}

// === impl Candidate ===

impl Candidate {
    fn new(limits: &[(Unit, Limit)], at_once: usize) -> Self {
        let limits = limits.iter();
        Self {
            levels: limits
                .map(|(unit, limit)| (*unit, Level::new(*limit)))
                .collect(),
            slots: vec![Duration::ZERO; at_once],
        }
    }

    /// Returns the first time from `at` on at which every limit has capacity.
    fn earliest(&self, mut at: Duration, cost: Cost) -> Duration {
        at = self.slots.iter().min().map_or(at, |free| at.max(*free));
        loop {
            let levels = self.levels.iter();
            let times = levels.map(|(unit, level)| level.earliest(at, unit.need(cost)));
            let latest = times.fold(at, Duration::max);
            if latest == at {
                return at;
            }
            at = latest;
        }
    }

    /// Reserves capacity at `at`, and a slot until `until`.
    fn take(&mut self, at: Duration, cost: Cost, until: Duration) {
        for (unit, level) in &mut self.levels {
            level.take(at, unit.total(cost));
        }
        if let Some(slot) = self.slots.iter_mut().min() {
            *slot = until;
        }
    }
}

// === impl Level ===

impl Level {
    /// Treats a sliding window as a fixed one, because it admits no more.
    fn new(limit: Limit) -> Self {
        match limit {
            Limit::Fixed(size, window) | Limit::Sliding(size, window) => {
                Self::Windows(size, window, Vec::new())
            }
            Limit::Bucket(size, window) => Self::Bucket {
                size,
                window,
                since: Duration::ZERO,
                level: f64::from(size),
            },
        }
    }

    fn earliest(&self, at: Duration, need: u32) -> Duration {
        match self {
            Self::Windows(size, window, used) => {
                // A request that needs more than a window is admitted by a full window.
                let need = need.min(*size);
                let is_free = |number: &usize| {
                    let used = used.get(*number).copied().unwrap_or(0);
                    used.saturating_add(need) <= *size
                };
                let first = number_of(at, *window);
                let number = (first..).find(is_free).unwrap_or(first);
                at.max(*window * number as u32)
            }
            Self::Bucket {
                size,
                window,
                since,
                ..
            } => {
                let at = at.max(*since);
                let missing = f64::from(need.min(*size)) - self.level(at);
                match missing > 1e-6 {
                    true => at + window.mul_f64(missing / f64::from(*size)),
                    false => at,
                }
            }
        }
    }

    fn take(&mut self, at: Duration, cost: u32) {
        let left = self.level(at) - f64::from(cost);
        match self {
            Self::Windows(_, window, used) => {
                let number = number_of(at, *window);
                if used.len() <= number {
                    used.resize(number + 1, 0);
                }
                used[number] = used[number].saturating_add(cost);
            }
            Self::Bucket { since, level, .. } => (*since, *level) = (at, left),
        }
    }

    /// Returns the level of a bucket at a time.
    fn level(&self, at: Duration) -> f64 {
        let Self::Bucket {
            size,
            window,
            since,
            level,
        } = self
        else {
            return 0.0;
        };
        let size = f64::from(*size);
        let windows = at.saturating_sub(*since).as_secs_f64() / window.as_secs_f64();
        (level + size * windows).min(size)
    }
}

fn number_of(at: Duration, window: Duration) -> usize {
    (at.as_nanos() / window.as_nanos()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    fn terms(limits: &[(Unit, Limit)], keys: usize) -> Terms {
        Terms {
            candidates: vec![limits.to_vec(); keys],
            at_once: None,
            workers: 100,
            way: Duration::ZERO,
            apart: Duration::ZERO,
        }
    }

    /// Returns the seconds at which jobs of these costs are admitted.
    fn admitted(terms: &Terms, costs: &[u64], answer: Duration) -> Vec<f64> {
        let job = |tokens: &u64| Job {
            cost: Cost::new(*tokens, 0),
            answer,
        };
        let jobs: Vec<_> = costs.iter().map(job).collect();
        let served = serve(terms, &jobs);
        let seconds = |served: &Served| (served.at.as_secs_f64() * 1e3).round() / 1e3;
        served.iter().map(seconds).collect()
    }

    #[test]
    fn small_job_goes_before_a_large_one_in_a_fixed_window() {
        let terms = terms(&[(Unit::Tokens, Limit::Fixed(100, WINDOW))], 1);
        let at = admitted(&terms, &[70, 50, 30, 50], Duration::ZERO);
        assert_eq!(at, [0.0, 10.0, 0.0, 10.0]);
    }

    #[test]
    fn small_job_waits_for_a_large_one_in_a_bucket() {
        let terms = terms(&[(Unit::Tokens, Limit::Bucket(100, WINDOW))], 1);
        let at = admitted(&terms, &[70, 50, 10], Duration::ZERO);
        assert_eq!(at, [0.0, 2.0, 3.0]);
    }

    #[test]
    fn small_job_takes_another_bucket_than_a_large_one() {
        let terms = terms(&[(Unit::Tokens, Limit::Bucket(100, WINDOW))], 2);
        let at = admitted(&terms, &[100, 90, 90, 10], Duration::ZERO);
        assert_eq!(at, [0.0, 0.0, 8.0, 1.0]);
    }

    #[test]
    fn job_waits_for_the_later_of_two_limits() {
        let limits = [
            (Unit::Requests, Limit::Bucket(2, WINDOW)),
            (Unit::Tokens, Limit::Bucket(100, WINDOW)),
        ];
        let at = admitted(&terms(&limits, 1), &[60, 60, 10], Duration::ZERO);
        // The second waits for tokens, and the third for a request.
        assert_eq!(at, [0.0, 2.0, 5.0]);
    }

    #[test]
    fn output_is_admitted_if_any_is_left() {
        let limits = [(Unit::OutputTokens, Limit::Bucket(100, WINDOW))];
        let job = Job {
            cost: Cost::new(0, 150),
            answer: Duration::ZERO,
        };
        let served = serve(&terms(&limits, 1), &[job, job]);
        assert_eq!(served[0].at, Duration::ZERO);
        assert_eq!(served[1].at, Duration::from_millis(5_100));
    }

    #[test]
    fn slots_are_in_use_until_the_response_arrives() {
        let mut terms = terms(&[], 2);
        (terms.at_once, terms.way) = (Some(1), Duration::from_millis(50));
        let at = admitted(&terms, &[0; 5], Duration::from_secs(1));
        assert_eq!(at, [0.05, 0.05, 1.15, 1.15, 2.25]);
    }

    #[test]
    fn workers_send_one_call_after_the_other() {
        let mut terms = terms(&[(Unit::Requests, Limit::Fixed(100, WINDOW))], 1);
        (terms.workers, terms.way) = (2, Duration::from_millis(25));
        let at = admitted(&terms, &[0; 4], Duration::ZERO);
        assert_eq!(at, [0.025, 0.025, 0.075, 0.075]);
    }
}
