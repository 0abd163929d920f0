//! One process that shares wastes no more requests than one that does not.

use std::time::Duration;

use tower_429::KeyPool;

use super::{near, pools};
use crate::{
    scheduling::{calls, left, waits, windows},
    script::*,
};

/// Admits `limit` requests in each window of ten seconds, and reports nothing.
fn silent(limit: u64) -> Provider {
    let mut window = (0, 0);
    Provider::new(move |seen| {
        let now = seen.at.as_secs() / 10;
        if window.0 != now {
            window = (now, 0);
        }
        window.1 += 1;
        Answer::Slow(
            millis(50),
            if window.1 <= limit { 200 } else { 429 },
            vec![],
        )
    })
}

/// A full bucket of `limit` requests that gets one more each `every`, and reports what is left.
fn bucket(limit: u64, every: Duration) -> Provider {
    let (mut level, mut at) = (limit as f64, Duration::ZERO);
    Provider::new(move |seen| {
        level += (seen.at - at).as_secs_f64() / every.as_secs_f64();
        (level, at) = (level.min(limit as f64), seen.at);
        let is_admitted = level >= 1.0;
        level -= if is_admitted { 1.0 } else { 0.0 };
        let full_in = every.mul_f64(limit as f64 - level);
        let mut headers = left(limit, level as u64, full_in);
        if !is_admitted {
            let next = every.mul_f64(1.0 - level);
            headers.push(("retry-after-ms", (next.as_millis() + 1).to_string()));
        }
        Answer::Slow(millis(50), if is_admitted { 200 } else { 429 }, headers)
    })
}

/// Returns how many of so many calls were answered, and how many requests were sent.
async fn sent(pool: &KeyPool, provider: &Provider, count: u64) -> (usize, usize) {
    let answers = calls(&waits(pool, provider, secs(600)), count).await;
    let answered = answers.iter().filter(|status| **status == 200).count();
    (answered, provider.seen().len())
}

/// Checks that a process that shares sends no more requests for its calls than one that does not.
async fn check(provider: impl Fn() -> Provider, count: u64) {
    let pool = KeyPool::builder(["a"]).for_origin("https://api.example");
    let apart = sent(&pool.build().unwrap(), &provider(), count).await;
    let (_processes, pools) = pools(&near(), &["a"], 1).await;
    let shared = sent(&pools[0], &provider(), count).await;
    assert!(
        shared.0 as u64 == count,
        "{} of {count} calls were answered",
        shared.0
    );
    assert!(
        shared.1 <= apart.1,
        "{} requests, not {}",
        shared.1,
        apart.1
    );
}

#[tokio::test(start_paused = true)]
async fn one_process_that_shares_wastes_no_more_of_a_window() {
    check(|| windows(40), 120).await;
}

#[tokio::test(start_paused = true)]
async fn one_process_that_shares_wastes_no_more_of_a_bucket() {
    check(|| bucket(20, millis(200)), 120).await;
}

#[tokio::test(start_paused = true)]
async fn one_process_that_shares_wastes_no_more_if_nothing_is_reported() {
    check(|| silent(40), 160).await;
}
