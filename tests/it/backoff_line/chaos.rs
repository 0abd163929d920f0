//! Whatever the provider answers, and whichever call gives up: every call ends, and nothing is left behind.

use fastrand::Rng;
use tokio::time::{sleep, timeout};
use tower::Layer as _;
use tower_429::BackoffLayer;

use super::*;

fn answer(random: &mut Rng) -> Answer {
    let took = millis(random.u64(0..3_000));
    match random.u8(0..10) {
        0..5 => Answer::Late(took, 200),
        5 => Answer::Late(took, 429),
        6 => limited(random.u64(0..10)),
        7 => Answer::Slow(took, 429, vec![("retry-after", "70".into())]),
        8 => rejected(503, 2),
        _ => Answer::Never,
    }
}

#[tokio::test(start_paused = true)]
async fn every_call_is_served_or_returns_or_is_dropped() {
    for seed in 0..100 {
        let mut random = Rng::with_seed(seed);
        let mut answers = random.fork();
        let provider = Provider::new(move |seen| match seen.at < secs(100) {
            true => answer(&mut answers),
            false => ok(),
        });
        let service = BackoffLayer::new().seed(seed).layer(provider.clone());
        let herd = (0..40).map(|_| {
            let (start, patience) = (random.u64(0..20_000), random.u64(0..90_000));
            let request = match random.bool() {
                true => with_deadline(millis(random.u64(0..60_000))),
                false => chat("m"),
            };
            let service = &service;
            async move {
                sleep(millis(start)).await;
                drop(timeout(millis(patience), call(service, request)).await);
            }
        });
        let ended = timeout(secs(400), join_all(herd)).await;
        assert!(ended.is_ok(), "seed {seed}");
        // No waiter and no request is left that a later call would have to wait for.
        sleep(secs(3_600)).await;
        let at = provider.seen().len();
        let later = calls(&service, 3);
        let later = timeout(millis(100), later)
            .await
            .expect("nothing to wait for");
        assert_eq!((later, provider.seen().len()), (vec![200; 3], at + 3));
    }
}
