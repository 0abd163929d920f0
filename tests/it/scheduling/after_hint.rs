//! A wait for a hint ends a little after the hint, never exactly at it. At that moment servers close idle connections,
//! and all other callers retry.

use std::{collections::BTreeSet, io, time::Duration};

use futures::future::join_all;
use http::{Request, Response};
use tokio::time::{Instant, sleep};
use tower::{Layer as _, Service, ServiceBuilder, ServiceExt};
use tower_429::{BackoffLayer, Call, FallbackLayer, KeyRotationLayer};

use super::{call, calls, left, pool, waits};
use crate::script::*;

const MAX_WAIT: Duration = Duration::from_secs(120);
const CALLS: u64 = 12;

/// Returns the most that jitter adds to a hint.
fn jitter(hint: Duration) -> Duration {
    (hint / 10).max(millis(250))
}

/// Rejects until the hint ends, and closes idle connections then. A request that is sent at that moment fails.
fn closes_when_idle(hint: Duration) -> Provider {
    let mut first = None;
    Provider::new(move |seen| {
        let since = seen.at - *first.get_or_insert(seen.at);
        if since < hint {
            let left = hint - since;
            return Answer::Response(429, vec![("retry-after-ms", left.as_millis().to_string())]);
        }
        match since < hint + millis(10) {
            true => Answer::Error(io::ErrorKind::ConnectionReset),
            false => ok(),
        }
    })
}

/// Sends calls through the stack. None may fail or be sent early.
async fn meets_no_close<S>(stack: impl Fn(Provider) -> S, name: &str)
where
    S: Service<Request<String>, Response = Response<String>, Error = io::Error> + Clone,
{
    for hint in [secs(1), secs(20)] {
        let provider = closes_when_idle(hint);
        let service = stack(provider.clone());
        let all = (0..CALLS).map(|_| service.clone().oneshot(chat("m")));
        for response in join_all(all).await {
            assert_eq!(response.expect(name).status(), 200, "{name}");
        }
        let late = provider.seen().into_iter().filter(|seen| seen.at >= hint);
        let late: Vec<_> = late.map(|seen| seen.at).collect();
        assert_eq!(late.len(), CALLS as usize, "{name}: {late:?}");
        assert!(late.iter().all(|at| *at >= hint + millis(20)), "{late:?}");
        // As long as the new window is unknown, calls are sent in twos and fours.
        let latest = hint + jitter(hint) + secs(1);
        assert!(
            late.iter().all(|at| *at <= latest),
            "{name}, {hint:?}: {late:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn waits_meet_no_close_of_an_idle_connection_in_any_order() {
    let keys = || KeyRotationLayer::new(pool(&["a"])).wait_when_exhausted(MAX_WAIT);
    let plain = || KeyRotationLayer::new(pool(&["a"]));
    let targets = || FallbackLayer::new(["m"]).wait_when_exhausted(MAX_WAIT);
    let backoff = || BackoffLayer::new().attempts(20);
    for _ in 0..10 {
        meets_no_close(|provider| keys().layer(provider), "keys").await;
        meets_no_close(|provider| targets().layer(provider), "targets").await;
        meets_no_close(
            |provider| targets().layer(plain().layer(provider)),
            "targets over keys",
        )
        .await;
        meets_no_close(
            |provider| keys().layer(FallbackLayer::new(["m"]).layer(provider)),
            "keys over targets",
        )
        .await;
        meets_no_close(
            |provider| {
                ServiceBuilder::new()
                    .layer(keys())
                    .layer(backoff().attempts(1))
                    .service(provider)
            },
            "keys over backoff",
        )
        .await;
        meets_no_close(
            |provider| {
                ServiceBuilder::new()
                    .layer(backoff())
                    .layer(targets())
                    .layer(keys())
                    .service(provider)
            },
            "backoff over waiting targets over waiting keys",
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn calls_wait_a_little_past_a_reset_that_a_success_reports() {
    for _ in 0..20 {
        // The first ten seconds allow one request. The second request verifies the report.
        let mut sent = 0;
        let provider = Provider::new(move |seen| {
            sent += 1;
            match (seen.at < secs(10), sent) {
                (true, 1) => Answer::Response(200, left(10, 0, secs(10) - seen.at)),
                (true, _) => Answer::Response(429, left(10, 0, secs(10) - seen.at)),
                (false, _) => Answer::Response(200, left(10, 9, secs(20) - seen.at)),
            }
        });
        let service = waits(&pool(&["a"]), &provider, MAX_WAIT);
        assert_eq!(calls(&service, 8).await, [200; 8]);
        let seen = provider.seen();
        let late: Vec<_> = seen.iter().filter(|seen| seen.at >= secs(5)).collect();
        assert!(!late.is_empty());
        for seen in late {
            assert!(seen.at >= secs(10) + millis(20), "{:?}", seen.at);
            assert!(seen.at <= secs(10) + jitter(secs(10)), "{:?}", seen.at);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn calls_keep_their_order_after_a_hint_whatever_the_jitter() {
    for _ in 0..50 {
        let mut rejected = false;
        let provider = Provider::new(move |_| match std::mem::replace(&mut rejected, true) {
            false => limited(1),
            true => ok(),
        });
        let service = waits(&pool(&["a"]), &provider, MAX_WAIT);
        assert_eq!(calls(&service, CALLS).await, [200; CALLS as usize]);
        let seen = provider.seen();
        let numbers: Vec<u64> = seen[1..]
            .iter()
            .map(|seen| seen.header("number").parse().unwrap())
            .collect();
        assert_eq!(numbers, (0..CALLS).collect::<Vec<_>>());
        let moments: BTreeSet<_> = seen[1..].iter().map(|seen| seen.at).collect();
        assert!(
            moments.len() > 4,
            "they are not sent at one moment: {moments:?}"
        );
    }
}

/// Returns the moments at which processes with the same hint retry.
async fn processes<S>(stack: impl Fn(Provider) -> S) -> BTreeSet<Duration>
where
    S: Service<Request<String>, Response = Response<String>, Error = io::Error> + Clone,
{
    let process = || async {
        let provider = Provider::script([limited(20), ok()]);
        assert_eq!(
            call(&stack(provider.clone()), chat("m")).await.status(),
            200
        );
        provider.waits()[0]
    };
    join_all((0..40).map(|_| process()))
        .await
        .into_iter()
        .collect()
}

#[tokio::test(start_paused = true)]
async fn processes_with_one_hint_do_not_retry_at_one_moment() {
    let by_keys = processes(|provider| waits(&pool(&["a"]), &provider, MAX_WAIT)).await;
    // Each layer has its own limits.
    let targets = || FallbackLayer::new(["m"]).wait_when_exhausted(MAX_WAIT);
    let by_targets = processes(|provider| targets().layer(provider)).await;
    for moments in [by_keys, by_targets] {
        assert!(moments.len() > 15, "{moments:?}");
        assert!(*moments.first().unwrap() >= secs(20) + millis(20));
        assert!(*moments.last().unwrap() <= secs(22) + millis(1));
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_finds_a_free_key_or_target_is_not_delayed_after_a_hint() {
    let provider = Provider::script([limited(1), limited(1), ok(), ok()]);
    let keys = KeyRotationLayer::new(pool(&["a"]));
    keys.clone()
        .layer(provider.clone())
        .oneshot(chat("m"))
        .await
        .unwrap();
    let targets = FallbackLayer::new(["m"]);
    targets
        .clone()
        .layer(provider.clone())
        .oneshot(chat("m"))
        .await
        .unwrap();
    sleep(secs(1)).await;
    let start = Instant::now();
    let service = keys.wait_when_exhausted(MAX_WAIT).layer(provider.clone());
    assert_eq!(call(&service, chat("m")).await.status(), 200);
    let service = targets.wait_when_exhausted(MAX_WAIT).layer(provider);
    assert_eq!(call(&service, chat("m")).await.status(), 200);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn jitter_uses_at_most_half_of_the_time_until_the_deadline() {
    let deadline = || {
        let mut request = chat("m");
        let call = Call::new().deadline(millis(1_030));
        request.extensions_mut().insert(call);
        request
    };
    for _ in 0..20 {
        let provider = Provider::script([limited(1), ok()]);
        let service = waits(&pool(&["a"]), &provider, MAX_WAIT);
        assert_eq!(call(&service, deadline()).await.status(), 200);
        assert!(provider.waits()[0] > secs(1));
        assert!(
            provider.waits()[0] <= millis(1_016),
            "{:?}",
            provider.waits()
        );

        let provider = Provider::script([limited(1), ok()]);
        let layer = FallbackLayer::new(["m"]).wait_when_exhausted(MAX_WAIT);
        let service = layer.layer(provider.clone());
        assert_eq!(call(&service, deadline()).await.status(), 200);
        assert!(provider.waits()[0] > secs(1));
        assert!(
            provider.waits()[0] <= millis(1_016),
            "{:?}",
            provider.waits()
        );
    }
}
