//! What the pool learns from reports of the provider, and from responses without reports.

use std::{
    future::{Future, poll_fn},
    task::Poll,
    time::Duration,
};

use http::Request;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tower::{Layer as _, ServiceExt};
use tower_429::{
    KeyRotationLayer,
    key_rotation::{Key, KeyPool},
};

use super::{SlowlyReady, call, calls, in_flight, left, pool, waits};
use crate::script::*;

#[tokio::test(start_paused = true)]
async fn key_is_skipped_before_a_429_if_its_remainder_is_in_flight() {
    let mut first = true;
    let provider = Provider::new(move |_| match std::mem::take(&mut first) {
        true => Answer::Response(200, left(3, 2, secs(600))),
        false => Answer::Late(secs(5), 200),
    });
    let service = waits(&pool(&["a", "b"]), &provider, secs(60));
    call(&service, chat("m")).await;
    assert_eq!(calls(&service, 4).await, [200; 4]);
    assert_eq!(provider.keys(), ["a", "a", "a", "b", "b"]);
}

#[tokio::test(start_paused = true)]
async fn call_dropped_in_flight_counts_and_one_that_fails_does_not() {
    for (second, keys) in [
        (Answer::Never, ["a", "a", "a", "b"]),
        (Answer::Error(std::io::ErrorKind::NotConnected), ["a"; 4]),
    ] {
        let reported = Answer::Response(200, left(3, 2, secs(600)));
        let late = Answer::Late(secs(1), 200);
        let provider = Provider::script([reported, second, late.clone(), late]);
        let service = waits(&pool(&["a", "b"]), &provider, secs(60));
        call(&service, chat("m")).await;
        let dropped = timeout(secs(1), service.clone().oneshot(chat("m"))).await;
        assert!(dropped.is_err() || dropped.is_ok_and(|failed| failed.is_err()));
        calls(&service, 2).await;
        assert_eq!(provider.keys(), keys);
    }
}

#[tokio::test(start_paused = true)]
async fn limit_of_a_model_limits_no_other_and_that_of_no_model_the_group() {
    let path = |model: &str| {
        let uri = format!("https://g.example/v1beta/models/{model}:generateContent");
        Request::post(uri).body(String::new()).unwrap()
    };
    let unknown = |_: &str| {
        Request::get("https://g.example/files")
            .body(String::new())
            .unwrap()
    };
    let provider = || {
        let mut answers = vec![limited(60)].into_iter();
        Provider::new(move |_| answers.next().unwrap_or(ok()))
    };
    for request in [&path as &dyn Fn(&str) -> Request<String>, &chat] {
        let provider = provider();
        let service = KeyRotationLayer::new(pool(&["a"]))
            .reject_when_exhausted()
            .wait_when_exhausted(secs(5))
            .layer(provider.clone());
        assert_eq!(call(&service, request("m")).await.status(), 429);
        assert_eq!(call(&service, request("n")).await.status(), 200);
        assert_eq!(call(&service, request("m")).await.status(), 429);
        assert_eq!(provider.keys(), ["a", "a"], "the last was not sent");
    }

    let of_group = provider();
    let key = pool(&["a"]);
    let service = waits(&key, &of_group, secs(120));
    let response = call(&waits(&key, &of_group, secs(5)), unknown("m")).await;
    assert_eq!(response.status(), 429);
    let start = Instant::now();
    call(&service, unknown("n")).await;
    assert!(start.elapsed() >= secs(59), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn report_for_an_account_limits_the_group_and_others_the_model() {
    for (of, is_group_s) in [("requests", false), ("project-requests", true)] {
        let reported =
            [("limit", "10"), ("remaining", "0"), ("reset", "600s")].map(|(what, value)| {
                let name = format!("x-ratelimit-{what}-{of}");
                (&*name.leak(), value.to_owned())
            });
        let provider = Provider::script([Answer::Response(200, reported.into())]);
        let pool = pool(&["a"]);
        call(&waits(&pool, &provider, secs(5)), chat("m")).await;
        let state = pool.snapshot().remove(0);
        let of_group = (
            state.cooldown_until.is_some(),
            state.limited_models.is_empty(),
        );
        assert_eq!(of_group, (is_group_s, is_group_s), "{state:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn report_is_ignored_if_its_key_was_removed() {
    for is_removed in [false, true] {
        let reported = Answer::Slow(secs(1), 200, left(10, 0, secs(600)));
        let provider = Provider::script([reported]);
        let keys = ["a1", "a2"].map(|key| Key::new(key).group("a"));
        let pool = KeyPool::new(keys).unwrap();
        let service = waits(&pool, &provider, secs(5));
        let under_way = tokio::spawn(async move { call(&service, chat("m")).await.status() });
        sleep(HALF).await;
        if is_removed {
            pool.remove("key-1").unwrap();
        }
        assert_eq!(under_way.await.unwrap(), 200);
        let of_sibling = pool.snapshot().pop().unwrap().limited_models;
        assert_eq!(of_sibling.is_empty(), is_removed, "{of_sibling:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_key_is_not_given_to_300_calls_at_once() {
    let provider = Provider::new(|_| Answer::Late(Duration::from_millis(200), 200));
    let pool = pool(&["a"]);
    let service = waits(&pool, &provider, secs(60));
    let calls = (0..300).map(|_| call(&service, chat("m")));
    let answers = futures::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.status() == 200));
    let before_an_answer = |seen: &&Seen| seen.at < Duration::from_millis(200);
    assert_eq!(provider.seen().iter().filter(before_an_answer).count(), 2);
    assert_eq!(in_flight(&pool), 0);
}

/// Rejects the first request without a hint, and then responds with `answer`. Meanwhile ten calls wait.
async fn ten_after_a_guess(
    keys: &[&str],
    rejection: u16,
    answer: impl Fn(usize) -> Answer + Send + 'static,
) -> (Provider, Vec<u16>) {
    let mut sent = 0;
    let provider = Provider::new(move |_| {
        sent += 1;
        match sent {
            1 => status(rejection),
            sent => answer(sent - 1),
        }
    });
    let service = waits(&pool(keys), &provider, secs(100_000));
    let statuses = calls(&service, 10).await;
    (provider, statuses)
}

fn sent_between(provider: &Provider, from: Duration, to: Duration) -> usize {
    let seen = provider.seen();
    let between = |seen: &&Seen| seen.at >= from && seen.at < to;
    seen.iter().filter(between).count()
}

const HALF: Duration = Duration::from_millis(500);

/// The time in which a rejection would arrive.
const SOON: Duration = Duration::from_millis(90);

#[tokio::test(start_paused = true)]
async fn one_probe_follows_a_guess_and_a_success_ends_the_cooldown() {
    let after = |_| Answer::Late(HALF, 200);
    let (provider, statuses) = ten_after_a_guess(&["a"], 429, after).await;
    assert_eq!(statuses, [200; 10]);
    assert_eq!(sent_between(&provider, HALF, secs(1)), 0);
    assert_eq!(sent_between(&provider, secs(1), secs(1) + SOON), 1);
    assert_eq!(sent_between(&provider, secs(1) + SOON, secs(5)), 9);
}

#[tokio::test(start_paused = true)]
async fn one_probe_follows_a_rejected_key_and_a_success_ends_the_cooldown() {
    let provider = Provider::new(|seen| match seen.at {
        at if at < secs(1) => status(401),
        _ => Answer::Late(HALF, 200),
    });
    let service = waits(&pool(&["a"]), &provider, secs(100_000));
    assert_eq!(call(&service, chat("m")).await.status(), 401);
    sleep(secs(60)).await;
    assert_eq!(calls(&service, 10).await, [200; 10]);
    assert_eq!(sent_between(&provider, secs(60), secs(60) + HALF), 1);
    assert_eq!(sent_between(&provider, secs(60) + HALF, secs(64)), 9);
}

#[tokio::test(start_paused = true)]
async fn rejected_probe_doubles_the_cooldown_while_other_calls_wait() {
    let (provider, statuses) = ten_after_a_guess(&["a"], 429, |sent| match sent {
        1 => status(429),
        _ => Answer::Late(HALF, 200),
    })
    .await;
    assert_eq!(statuses, [200; 10]);
    assert_eq!(sent_between(&provider, secs(1), secs(2)), 1);
    assert_eq!(sent_between(&provider, secs(2), secs(3)), 0);
    assert_eq!(sent_between(&provider, secs(3), secs(4)), 1 + 9);
    assert_eq!(sent_between(&provider, secs(3), secs(3) + SOON), 1);
}

#[tokio::test(start_paused = true)]
async fn rejected_probes_double_the_cooldown_up_to_a_minute() {
    let mut sent = 0;
    let provider = Provider::new(move |_| {
        sent += 1;
        match sent {
            1..9 => status(429),
            _ => ok(),
        }
    });
    let service = waits(&pool(&["a"]), &provider, Duration::MAX);
    assert_eq!(call(&service, chat("m")).await.status(), 200);
    let waits: Vec<_> = provider.waits().iter().map(Duration::as_secs).collect();
    // The sixth cooldown ends with a window of a minute that began with the first rejection. Later ones end likewise.
    assert_eq!(waits, [1, 2, 4, 8, 16, 29, 60, 60]);
}

#[tokio::test(start_paused = true)]
async fn other_calls_use_another_key_while_a_key_is_probed() {
    let pool = KeyPool::builder(["a", "b"]).round_robin().build().unwrap();
    let provider = Provider::new(|seen| match (seen.key(), seen.at.as_secs()) {
        ("a", 0) => status(429),
        ("a", _) => Answer::Late(HALF, 200),
        _ => Answer::Response(200, left(100, 50, secs(600))),
    });
    let service = waits(&pool, &provider, secs(600));
    call(&service, chat("m")).await;
    sleep(secs(61)).await;
    assert_eq!(calls(&service, 5).await, [200; 5]);
    let after: Vec<_> = provider.keys().split_off(2);
    assert_eq!(
        after.iter().filter(|key| *key == "a").count(),
        1,
        "{after:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn probe_succeeds_if_no_rejection_arrives_within_a_second() {
    let (provider, statuses) =
        ten_after_a_guess(&["a"], 429, |_| Answer::Late(secs(30), 200)).await;
    assert_eq!(statuses, [200; 10]);
    assert_eq!(sent_between(&provider, secs(1), secs(1) + SOON), 1);
    assert!(sent_between(&provider, secs(1) + SOON, secs(3)) >= 1);
}

#[tokio::test(start_paused = true)]
async fn probe_reserved_for_a_dropped_call_is_sent_by_another() {
    let mut first = true;
    let provider = Provider::new(move |_| match std::mem::take(&mut first) {
        true => status(429),
        false => Answer::Late(secs(30), 200),
    });
    let pool = pool(&["a"]);
    let impatient = KeyRotationLayer::new(pool.clone()).layer(provider.clone());
    assert_eq!(call(&impatient, chat("m")).await.status(), 429);
    let service = waits(&pool, &provider, secs(600));
    // The task of this call does not run when the cooldown ends, so the other calls have to poll.
    let mut dropped = Box::pin(call(&service, chat("m")));
    let is_pending = poll_fn(|cx| Poll::Ready(dropped.as_mut().poll(cx).is_pending()));
    assert!(is_pending.await);
    let others = {
        let service = service.clone();
        tokio::spawn(async move { calls(&service, 10).await })
    };
    sleep(secs(60) + HALF).await;
    assert_eq!((in_flight(&pool), provider.seen().len()), (1, 1));
    drop(dropped);
    sleep(SOON).await;
    assert_eq!(provider.seen().len(), 2, "one call probes");
    assert_eq!(others.await.unwrap(), [200; 10]);
}

#[tokio::test(start_paused = true)]
async fn probe_of_a_call_dropped_before_its_send_is_sent_by_another() {
    let provider = Provider::new(|seen| match (seen.key(), seen.at.as_secs()) {
        ("a", 0) => limited(10),
        ("a", _) => limited(600),
        (_, 0) => status(429),
        _ => Answer::Late(secs(30), 200),
    });
    let pool = KeyPool::builder(["a", "b"]).round_robin().build().unwrap();
    let impatient = KeyRotationLayer::new(pool.clone());
    call(&impatient.layer(provider.clone()), chat("m")).await;
    sleep(secs(61)).await;
    let slowly = SlowlyReady::new(&provider, 1, secs(30));
    let dropped = timeout(HALF, call(&impatient.layer(slowly), chat("m"))).await;
    assert!(dropped.is_err());
    assert_eq!(provider.keys(), ["a", "b", "a"]);
    sleep(secs(2)).await;
    let service = waits(&pool, &provider, secs(600));
    let others = tokio::spawn(async move { calls(&service, 10).await });
    sleep(SOON).await;
    assert_eq!(provider.keys(), ["a", "b", "a", "b"], "one call probes");
    assert_eq!(others.await.unwrap(), [200; 10]);
}

#[tokio::test(start_paused = true)]
async fn keys_of_one_group_share_the_remainder() {
    let keys = ["a1", "a2"].map(|key| Key::new(key).group("a"));
    let pool = KeyPool::builder(keys).round_robin().build().unwrap();
    let mut first = true;
    let provider = Provider::new(move |_| match std::mem::take(&mut first) {
        true => limited(20),
        false => ok(),
    });
    let service = waits(&pool, &provider, secs(60));
    let start = Instant::now();
    assert_eq!(call(&service, chat("m")).await.status(), 200);
    assert_eq!(provider.seen().len(), 2, "no call to the sibling");
    assert!(start.elapsed() >= secs(20));
    sleep_until(start + secs(30)).await;
    assert_eq!(service.oneshot(chat("m")).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn reported_quota_counts_from_the_send_and_not_from_the_reservation() {
    let provider = Provider::script([limited(600), Answer::Response(200, left(10, 0, secs(10)))]);
    let slowly = SlowlyReady::new(&provider, 1, secs(30));
    let pool = pool(&["a", "b"]);
    let service = KeyRotationLayer::new(pool.clone()).layer(slowly);
    let start = Instant::now();
    assert_eq!(service.oneshot(chat("m")).await.unwrap().status(), 200);
    assert!(provider.seen()[1].at >= secs(30));
    let limited = &pool.snapshot()[1].limited_models;
    let until = limited.first().map(|limited| limited.until - start);
    assert!(until.is_some_and(|until| until >= secs(40)), "{until:?}");
}
