//! A wait that ends at a hint ends a little later: never at the hint's end, where servers close idle
//! connections and where all other callers come back.

use std::{collections::BTreeSet, io, time::Duration};

use futures::future::join_all;
use http::{Request, Response};
use tokio::time::{Instant, sleep};
use tower::{Layer as _, Service, ServiceBuilder, ServiceExt};
use tower_429::{BackoffLayer, Call, FallbackLayer, KeyRotationLayer};

use super::{call, calls, left, pool, waits};
use crate::script::*;

const PATIENCE: Duration = Duration::from_secs(120);
const CALLS: u64 = 12;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The most that jitter adds to a hint.
fn jitter(hint: Duration) -> Duration {
    (hint / 10).max(millis(250))
}

/// Refuses for as long as the hint, and closes idle connections when it ends: a request that is sent then
/// meets the close.
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

/// Some calls through the stack. None may fail or go out early.
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
        // While nothing is known of the new window, calls go out in twos and fours.
        let latest = hint + jitter(hint) + secs(1);
        assert!(
            late.iter().all(|at| *at <= latest),
            "{name}, {hint:?}: {late:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn waits_meet_no_close_of_an_idle_connection_in_any_order() {
    let keys = || KeyRotationLayer::new(pool(&["a"])).wait_when_exhausted(PATIENCE);
    let plain = || KeyRotationLayer::new(pool(&["a"]));
    let targets = || FallbackLayer::new(["m"]).wait_when_exhausted(PATIENCE);
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
async fn reset_that_a_success_reports_is_not_met_exactly_either() {
    for _ in 0..20 {
        // One request in the first ten seconds; the second finds out whether that is true.
        let mut sent = 0;
        let provider = Provider::new(move |seen| {
            sent += 1;
            match (seen.at < secs(10), sent) {
                (true, 1) => Answer::Response(200, left(10, 0, secs(10) - seen.at)),
                (true, _) => Answer::Response(429, left(10, 0, secs(10) - seen.at)),
                (false, _) => Answer::Response(200, left(10, 9, secs(20) - seen.at)),
            }
        });
        let service = waits(&pool(&["a"]), &provider, PATIENCE);
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
async fn calls_keep_their_order_after_a_hint_whatever_is_drawn() {
    for _ in 0..50 {
        let mut refused = false;
        let provider = Provider::new(move |_| match std::mem::replace(&mut refused, true) {
            false => limited(1),
            true => ok(),
        });
        let service = waits(&pool(&["a"]), &provider, PATIENCE);
        assert_eq!(calls(&service, CALLS).await, [200; CALLS as usize]);
        let seen = provider.seen();
        let numbers: Vec<u64> = seen[1..]
            .iter()
            .map(|seen| seen.header("number").parse().unwrap())
            .collect();
        assert_eq!(numbers, (0..CALLS).collect::<Vec<_>>());
        let moments: BTreeSet<_> = seen[1..].iter().map(|seen| seen.at).collect();
        assert!(moments.len() > 4, "they do not go as one: {moments:?}");
    }
}

/// The moments at which so many processes come back that were given one hint.
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
async fn processes_with_one_hint_do_not_come_back_as_one() {
    let by_keys = processes(|provider| waits(&pool(&["a"]), &provider, PATIENCE)).await;
    // Each layer has a memory of its own.
    let targets = || FallbackLayer::new(["m"]).wait_when_exhausted(PATIENCE);
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
    let service = keys.wait_when_exhausted(PATIENCE).layer(provider.clone());
    assert_eq!(call(&service, chat("m")).await.status(), 200);
    let service = targets.wait_when_exhausted(PATIENCE).layer(provider);
    assert_eq!(call(&service, chat("m")).await.status(), 200);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn jitter_leaves_a_call_half_of_the_time_until_its_deadline() {
    let deadline = || {
        let mut request = chat("m");
        let call = Call::new().deadline(millis(1_030));
        request.extensions_mut().insert(call);
        request
    };
    for _ in 0..20 {
        let provider = Provider::script([limited(1), ok()]);
        let service = waits(&pool(&["a"]), &provider, PATIENCE);
        assert_eq!(call(&service, deadline()).await.status(), 200);
        assert!(provider.waits()[0] > secs(1));
        assert!(
            provider.waits()[0] <= millis(1_016),
            "{:?}",
            provider.waits()
        );

        let provider = Provider::script([limited(1), ok()]);
        let layer = FallbackLayer::new(["m"]).wait_when_exhausted(PATIENCE);
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
