//! Which calls wait, for how long, and in which order they are sent.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tower::Layer as _;
use tower_429::BackoffLayer;

use super::*;

#[tokio::test(start_paused = true)]
async fn siblings_of_a_rejected_call_wait_and_none_is_rejected() {
    let provider = once(limited(5));
    let service = BackoffLayer::new().layer(provider.clone());
    assert_eq!(calls(&service, 8).await, [200; 8]);
    // The rejected call goes first.
    let order = ["0", "0", "1", "2", "3", "4", "5", "6", "7"];
    assert_eq!(numbers(&provider), order);
    let later = &times(&provider)[1..];
    assert!(later.iter().all(|at| *at >= secs(5)), "{later:?}");
    assert!(later.iter().all(|at| *at <= millis(5_200)), "{later:?}");
}

#[tokio::test(start_paused = true)]
async fn siblings_wait_for_a_second_without_a_hint_and_then_one_probes() {
    let provider = once(status(429));
    let service = BackoffLayer::new().layer(provider.clone());
    assert_eq!(calls(&service, 8).await, [200; 8]);
    let sent = times(&provider);
    assert_eq!(sent.len(), 9);
    assert!(sent[1] >= secs(1), "{sent:?}");
    assert!(sent[8] <= millis(1_600), "{sent:?}");
    assert_eq!(
        numbers(&provider)[1],
        "1",
        "the first call waits for its own delay"
    );
}

#[tokio::test(start_paused = true)]
async fn wait_in_the_queue_is_no_attempt_and_the_trail_reports_it() {
    let provider = Provider::script([limited(5), ok(), limited(5), ok()]);
    let layer = BackoffLayer::new().attempts(2);
    let service = layer.layer(provider.clone());
    let first = call(&service, chat("m"));
    let second = async {
        tokio::time::sleep(millis(1)).await;
        call(&service, chat("m")).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(
        (first.status(), second.status()),
        (http::StatusCode::OK, http::StatusCode::OK)
    );
    assert_eq!((attempts(&first).len(), attempts(&second).len()), (2, 2));
    let trail = second
        .extensions()
        .get::<tower_429::trail::Trail>()
        .unwrap();
    assert!(trail.waited() >= millis(9_999), "{:?}", trail.waited());
}

#[tokio::test(start_paused = true)]
async fn call_does_not_use_its_last_attempt_as_a_probe_for_others() {
    let provider = Provider::new(|seen| match seen.at < millis(2_500) {
        true => limited(1),
        false => ok(),
    });
    let service = BackoffLayer::new().attempts(3).layer(provider.clone());
    assert_eq!(calls(&service, 2).await, [200; 2]);
}

#[tokio::test(start_paused = true)]
async fn limit_that_opens_too_late_delays_no_call() {
    for (hint, max_wait) in [(61, 60), (11, 10)] {
        let provider = Provider::new(move |_| limited(hint));
        let layer = BackoffLayer::new().max_wait(secs(max_wait));
        let service = layer.layer(provider.clone());
        assert_eq!(calls(&service, 4).await, [429; 4]);
        assert_eq!(times(&provider), [0, 1, 2, 3].map(millis));
    }
}

#[tokio::test(start_paused = true)]
async fn deadline_of_a_call_ends_its_wait() {
    let provider = Provider::new(|seen| match seen.at < secs(20) {
        true => limited(20),
        false => ok(),
    });
    let service = BackoffLayer::new().layer(provider.clone());
    let requests = [chat("m"), with_deadline(secs(10)), with_deadline(secs(30))];
    assert_eq!(each(&service, requests).await, [200, 429, 200]);
    let sent = times(&provider);
    assert_eq!(sent[1], millis(1), "the queue cannot serve it in time");
    assert!(sent[2] >= secs(20) && sent[3] >= secs(20), "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn call_dropped_in_the_queue_leaves_its_place() {
    let provider = once(limited(5));
    let service = BackoffLayer::new().layer(provider.clone());
    let first = call(&service, chat("m"));
    let dropped = timeout(secs(1), call(&service, chat("m")));
    let last = async {
        tokio::time::sleep(millis(2)).await;
        call(&service, chat("m")).await
    };
    let (first, dropped, last) = tokio::join!(first, dropped, last);
    assert!(first.status() == 200 && last.status() == 200 && dropped.is_err());
    assert_eq!(provider.seen().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn call_dropped_in_flight_unblocks_the_queue() {
    // The head of the queue probes the limit, and its response never arrives.
    let mut answers = [status(429), Answer::Never].into_iter();
    let provider = Provider::new(move |_| answers.next().unwrap_or_else(ok));
    let service = BackoffLayer::new().layer(provider.clone());
    let first = call(&service, chat("m"));
    let dropped = async {
        tokio::time::sleep(millis(1)).await;
        timeout(millis(1_200), call(&service, chat("m"))).await
    };
    let (first, dropped) = tokio::join!(first, dropped);
    assert!(first.status() == 200 && dropped.is_err());
}

#[tokio::test(start_paused = true)]
async fn calls_with_other_keys_and_models_are_not_delayed() {
    let is_limited = |seen: &Seen| seen.key() == "one" && seen.model() == "m";
    let provider = Provider::new(move |seen| match is_limited(seen) {
        true => limited(61),
        false => ok(),
    });
    let layer = BackoffLayer::new().max_wait(secs(100));
    let service = layer.layer(provider.clone());
    let mut of_other_model = with_key("Bearer one");
    *of_other_model.body_mut() = r#"{"model": "n"}"#.into();
    let mut on_path = with_key("Bearer one");
    *on_path.body_mut() = "{}".into();
    *on_path.uri_mut() = "https://api.example/v1/models/n:generate".parse().unwrap();
    let mut elsewhere = with_key("Bearer three");
    *elsewhere.uri_mut() = "https://other.example/".parse().unwrap();
    let limited = timeout(secs(200), call(&service, with_key("Bearer one")));
    let others = async {
        tokio::time::sleep(millis(1)).await;
        let requests = [with_key("Bearer two"), of_other_model, on_path, elsewhere];
        let start = Instant::now();
        (each(&service, requests).await, start.elapsed())
    };
    let (limited, (others, took)) = tokio::join!(limited, others);
    assert!(limited.is_err());
    assert_eq!((others, took), (vec![200; 4], millis(3)));
}

#[tokio::test(start_paused = true)]
async fn clones_of_a_layer_and_of_its_services_share_the_queue() {
    let provider = once(limited(5));
    let layer = BackoffLayer::new();
    let (one, other) = (
        layer.layer(provider.clone()),
        layer.clone().layer(provider.clone()),
    );
    let first = call(&one, chat("m"));
    let second = async {
        tokio::time::sleep(millis(1)).await;
        call(&other, chat("m")).await
    };
    tokio::join!(first, second);
    assert!(times(&provider)[1] >= secs(5));
}

#[tokio::test(start_paused = true)]
async fn rejection_delays_no_other_call_if_no_wait_helps() {
    for returned in [401, 402, 403, 413, 500] {
        let provider = Provider::new(move |_| rejected(returned, 5));
        let service = BackoffLayer::new().layer(provider.clone());
        assert_eq!(calls(&service, 3).await, [returned; 3]);
        assert_eq!(times(&provider), [0, 1, 2].map(millis));
    }
}

#[tokio::test(start_paused = true)]
async fn overload_delays_other_calls_only_by_its_hint() {
    let provider = once(status(529));
    let service = BackoffLayer::new().layer(provider.clone());
    assert_eq!(calls(&service, 3).await, [200; 3]);
    assert_eq!(times(&provider)[1..3], [1, 2].map(millis));

    let provider = once(rejected(503, 5));
    let service = BackoffLayer::new().layer(provider.clone());
    assert_eq!(calls(&service, 3).await, [200; 3]);
    assert!(times(&provider)[1] >= secs(5));
}

#[tokio::test(start_paused = true)]
async fn calls_do_not_exceed_the_reported_remainder() {
    let mut window = (0, 0);
    let provider = Provider::new(move |seen| {
        let now = seen.at.as_secs() / 10;
        if window.0 != now {
            window = (now, 0);
        }
        window.1 += 1;
        let rest = secs((now + 1) * 10) - seen.at;
        let left = 20_u64.checked_sub(window.1);
        let headers = vec![
            ("x-ratelimit-limit-requests", "20".into()),
            (
                "x-ratelimit-remaining-requests",
                left.unwrap_or(0).to_string(),
            ),
            (
                "x-ratelimit-reset-requests",
                format!("{}ms", rest.as_millis()),
            ),
        ];
        Answer::Response(if left.is_some() { 200 } else { 429 }, headers)
    });
    let service = BackoffLayer::new().layer(provider.clone());
    assert_eq!(calls(&service, 70).await, [200; 70]);
    // One request verifies that nothing is left.
    assert!(provider.seen().len() <= 71, "{}", provider.seen().len());
}

#[tokio::test(start_paused = true)]
async fn herd_begins_with_few_requests_and_all_are_sent_in_half_a_second() {
    let provider = Provider::new(|_| Answer::Late(secs(10), 200));
    let service = BackoffLayer::new().layer(provider.clone());
    let herd = (0..64).map(|_| call(&service, chat("m")));
    assert!(join_all(herd).await.iter().all(|it| it.status() == 200));
    let sent = times(&provider);
    let by = |end| sent.iter().filter(|at| **at <= end).count();
    assert_eq!(by(Duration::ZERO), 16);
    assert_eq!(by(millis(600)), 64, "{sent:?}");
}
