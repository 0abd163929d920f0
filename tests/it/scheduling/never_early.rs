//! No layer sends before the end of a hint, whatever a provider responds.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use futures::future::join_all;
use http::{Request, Response};
use tokio::time::{sleep, timeout};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_429::{BackoffLayer, FallbackLayer, KeyRotationLayer};

use super::pool;
use crate::script::*;

const PATIENCE: Duration = Duration::from_secs(100_000);

/// The requests that arrived before the end of a hint for their key and model.
type Early = Arc<Mutex<Vec<String>>>;

/// Responds at once and at random: hints of every length, bare 429s, and a few successes.
fn provider(seed: u64, early: &Early) -> Provider {
    let (early, mut random) = (early.clone(), Rng::with_seed(seed));
    let mut ends = HashMap::<(String, String), Duration>::new();
    Provider::new(move |seen| {
        let end = ends.entry((seen.key().into(), seen.model())).or_default();
        if seen.at < *end {
            let line = format!("{:?} with {:?}, before {end:?}", seen.at, seen.key());
            early.lock().unwrap().push(line);
        }
        match random.u32(0..12) {
            0 | 1 => {
                *end = Duration::ZERO;
                ok()
            }
            2..8 => {
                let most = [10, 900, 5_000, 30_000][random.usize(..4)];
                let hint = random.u64(1..most);
                *end = (*end).max(seen.at + Duration::from_millis(hint));
                Answer::Response(429, vec![("retry-after-ms", hint.to_string())])
            }
            _ => status(429),
        }
    })
}

/// Sends calls, some of which overlap.
async fn calls<S>(service: S, count: u64)
where
    S: Service<Request<String>, Response = Response<String>, Error = io::Error> + Clone,
{
    let calls = (0..count).map(|number| {
        let service = service.clone();
        async move {
            sleep(Duration::from_millis(700) * number as u32).await;
            let _ = timeout(secs(3_000), service.oneshot(chat("m"))).await;
        }
    });
    join_all(calls).await;
}

#[tokio::test(start_paused = true)]
async fn no_stack_sends_before_the_end_of_a_hint() {
    let backoff = || BackoffLayer::new().attempts(10);
    let fallback = || FallbackLayer::new(["backup"]);
    for seed in 0..20 {
        for keys in [&["a"][..], &["a", "b"]] {
            let rotation = || KeyRotationLayer::new(pool(keys));
            // Other calls do not respect a hint if a layer sends anyway, or if it gets the hint only after an inner
            // layer has waited for it.
            macro_rules! check {
                ($($calls:literal: $($layer:expr),*;)*) => {$(
                    let early = Early::default();
                    let service = ServiceBuilder::new()
                        $(.layer($layer))*
                        .service(provider(seed, &early));
                    calls(service, $calls).await;
                    let stack = stringify!($($layer),*);
                    let early = early.lock().unwrap().clone();
                    assert!(early.is_empty(), "{stack}, seed {seed}: {early:?}");
                )*};
            }
            check! {
                1: backoff(), rotation();
                1: backoff(), fallback();
                1: backoff(), fallback(), rotation();
                1: rotation().wait_when_exhausted(PATIENCE), backoff();
                4: backoff(), rotation().reject_when_exhausted();
                4: rotation().wait_when_exhausted(PATIENCE);
                4: backoff(), rotation().wait_when_exhausted(PATIENCE);
                4: fallback().wait_when_exhausted(PATIENCE);
            }
        }
    }
}
