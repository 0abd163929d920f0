//! 64 workers share one key, with the default settings: no call fails, whatever the provider reports.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio::time::Instant;
use tower::Layer as _;
use tower_429::BackoffLayer;

use super::*;

const WORKERS: usize = 64;
const CALLS: u32 = 240;

#[derive(Clone, Copy)]
enum Meter {
    Fixed(u32, Duration),
    Bucket(u32, Duration),
}

#[derive(Clone, Copy, PartialEq)]
enum Reports {
    Headers,
    Hints,
    WholeSeconds,
    Nothing,
}

impl Meter {
    /// Returns the shortest time in which all calls can be admitted.
    fn ideal(self) -> Duration {
        match self {
            Self::Fixed(size, window) => window * (CALLS.div_ceil(size) - 1),
            Self::Bucket(size, window) => window * (CALLS - size) / size,
        }
    }

    fn provider(self, reports: Reports, seed: u64) -> Provider {
        let (mut window, mut used) = (0, 0);
        let (mut tokens, mut counted) = (None, Duration::ZERO);
        let mut random = fastrand::Rng::with_seed(seed);
        Provider::new(move |seen| {
            let at = seen.at;
            let (left, wait, reset, limit) = match self {
                Self::Fixed(size, length) => {
                    let now = at.as_nanos() / length.as_nanos();
                    if window != now {
                        (window, used) = (now, 0);
                    }
                    used += 1;
                    let rest = length * (now as u32 + 1) - at;
                    (size.checked_sub(used), rest, rest, size)
                }
                Self::Bucket(size, length) => {
                    let each = length.as_secs_f64() / f64::from(size);
                    let since = (at - counted).as_secs_f64() / each;
                    counted = at;
                    let full = f64::from(size);
                    let mut now = (tokens.unwrap_or(full) + since).min(full);
                    let is_admitted = now >= 1.0;
                    if is_admitted {
                        now -= 1.0;
                    }
                    tokens = Some(now);
                    let missing = |of: f64| Duration::from_secs_f64((of - now).max(0.0) * each);
                    let left = is_admitted.then_some(now as u32);
                    (left, missing(1.0), missing(full), size)
                }
            };
            let mut headers = Vec::new();
            if reports == Reports::Headers {
                headers = vec![
                    ("x-ratelimit-limit-requests", limit.to_string()),
                    (
                        "x-ratelimit-remaining-requests",
                        left.unwrap_or(0).to_string(),
                    ),
                    (
                        "x-ratelimit-reset-requests",
                        format!("{}ms", reset.as_millis()),
                    ),
                ];
            }
            let wait_ms = wait.as_nanos().div_ceil(1_000_000);
            match (left, reports) {
                (Some(_), _) => return Answer::Slow(millis(random.u64(40..=60)), 200, headers),
                (None, Reports::Headers | Reports::Hints) => {
                    headers.push(("retry-after-ms", wait_ms.to_string()));
                }
                (None, Reports::WholeSeconds) => {
                    headers.push(("retry-after", wait_ms.div_ceil(1_000).to_string()));
                }
                (None, Reports::Nothing) => {}
            }
            Answer::Slow(millis(random.u64(40..=60)), 429, headers)
        })
    }
}

struct Herd {
    failed: usize,
    wasted: usize,
    time: Duration,
}

async fn herd(layer: &BackoffLayer, provider: &Provider) -> Herd {
    let start = Instant::now();
    let next = &AtomicU32::new(0);
    let service = &layer.layer(provider.clone());
    let worker = |_| async move {
        let mut failed = 0;
        while next.fetch_add(1, Ordering::Relaxed) < CALLS {
            let response = call(service, chat("m")).await;
            failed += usize::from(response.status() != 200);
        }
        failed
    };
    let failed = join_all((0..WORKERS).map(worker)).await.into_iter().sum();
    Herd {
        failed,
        wasted: provider.seen().len() - CALLS as usize + failed,
        time: start.elapsed(),
    }
}

/// Asserts that no call fails, that the time is near the minimum, and that at most `most_wasted` calls are rejected.
async fn check(meter: Meter, reports: Reports, most_wasted: usize, most_time: f64) {
    for seed in 1..=5 {
        let provider = meter.provider(reports, seed);
        let layer = BackoffLayer::new().seed(seed);
        let Herd {
            failed,
            wasted,
            time,
        } = herd(&layer, &provider).await;
        let share = time.as_secs_f64() / meter.ideal().as_secs_f64();
        let figures = format!("{failed} failed, {wasted} wasted, {share:.3} of the least time");
        let is_good = failed == 0 && wasted <= most_wasted && share <= most_time;
        assert!(is_good, "seed {seed}: {figures}");
    }
}

#[tokio::test(start_paused = true)]
async fn window_of_a_minute_with_headers() {
    check(Meter::Fixed(60, secs(60)), Reports::Headers, 10, 1.05).await;
}

#[tokio::test(start_paused = true)]
async fn window_of_a_minute_with_hints() {
    check(Meter::Fixed(60, secs(60)), Reports::Hints, 30, 1.05).await;
}

#[tokio::test(start_paused = true)]
async fn window_of_a_minute_without_headers() {
    check(Meter::Fixed(60, secs(60)), Reports::Nothing, 40, 1.05).await;
}

#[tokio::test(start_paused = true)]
async fn bucket_of_a_minute_with_headers() {
    check(Meter::Bucket(60, secs(60)), Reports::Headers, 30, 1.05).await;
}

#[tokio::test(start_paused = true)]
async fn window_of_a_second_without_headers() {
    check(Meter::Fixed(5, secs(1)), Reports::Nothing, 100, 1.25).await;
}

#[tokio::test(start_paused = true)]
async fn bucket_of_a_second_with_whole_seconds() {
    check(Meter::Bucket(5, secs(1)), Reports::WholeSeconds, 100, 1.25).await;
}
