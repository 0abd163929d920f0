//! Calls that run on several limits.

use futures::future::join_all;
use http::Request;

use super::{explains, near, pools, send};
use crate::{
    scheduling::{call, calls, left, waits, windows},
    script::*,
};

/// A request without a model.
fn without_model() -> Request<String> {
    let request = Request::get("https://api.example/v1/files");
    request.body(String::new()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn calls_under_two_limits_that_are_leased_all_end() {
    // Requests without a model show the limit of the account, and the others show that of the model.
    let provider = windows(8);
    let (_processes, pools) = pools(&near(), &["a"], 2).await;
    let services: Vec<_> = pools
        .iter()
        .map(|pool| waits(pool, &provider, secs(300)))
        .collect();
    let all = services.iter().map(|service| async move {
        let first = call(service, without_model()).await.status().as_u16();
        let mut answers = calls(service, 10).await;
        answers.push(first);
        answers.push(call(service, without_model()).await.status().as_u16());
        answers
    });
    let answers = join_all(all).await.concat();
    assert_eq!(answers, [200; 24]);
    // 24 calls are three windows of ten seconds, and a few requests find out that nothing is left.
    assert!(provider.seen().len() <= 28, "{}", provider.seen().len());
    assert!(provider.seen().iter().all(|it| it.at < secs(41)));
}

/// Admits 16 requests in each window of ten seconds, and two at once for a model. Each takes half a second.
fn windows_and_slots() -> Provider {
    let (mut window, mut open) = ((0, 0), Vec::new());
    Provider::new(move |seen| {
        let now = seen.at.as_secs() / 10;
        if window.0 != now {
            window = (now, 0);
        }
        let rest = secs((now + 1) * 10) - seen.at;
        open.retain(|end| *end > seen.at);
        let has_model = !seen.body.is_empty();
        if window.1 == 16 {
            let mut headers = left(16, 0, rest);
            headers.push(("retry-after-ms", rest.as_millis().to_string()));
            return Answer::Response(429, headers);
        }
        if has_model && open.len() == 2 {
            return Answer::Response(429, Vec::new());
        }
        window.1 += 1;
        let headers = match has_model {
            true => {
                open.push(seen.at + millis(500));
                Vec::new()
            }
            false => left(16, 16 - window.1, rest),
        };
        Answer::Slow(millis(500), 200, headers)
    })
}

#[tokio::test(start_paused = true)]
async fn calls_under_a_window_and_a_limit_in_flight_all_end() {
    let provider = windows_and_slots();
    let (_processes, pools) = pools(&near(), &["a"], 1).await;
    let service = explains(
        &pools[0],
        &provider,
        ("Too many concurrent requests.", secs(300)),
    );
    assert_eq!(send(&service, without_model()).await, 200);
    let all = (0..30).map(|_| send(&service, chat("m")));
    let answers = join_all(all).await;
    assert_eq!(answers, [200; 30]);
    // 31 calls are two windows, and a few requests find the limits.
    assert!(provider.seen().len() <= 38, "{}", provider.seen().len());
    assert!(provider.seen().iter().all(|it| it.at < secs(21)));
}
