//! Random responses and dropped calls: every call ends, and no state of it remains.

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
async fn every_call_ends_and_leaves_no_state() {
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
        // No waiter and no request remains that would delay a later call.
        sleep(secs(3_600)).await;
        let at = provider.seen().len();
        let later = calls(&service, 3);
        let later = timeout(millis(100), later)
            .await
            .expect("the call does not wait");
        assert_eq!((later, provider.seen().len()), (vec![200; 3], at + 3));
    }
}
