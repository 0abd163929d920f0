//! What the gateway shows of a key that has nothing left.

use super::{
    harness::{chat, in_front_of, response},
    wire::Upstream,
};

#[tokio::test]
async fn a_key_with_no_room_left_is_told_from_one_that_was_rejected() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "keys = [\"KEY_1\", \"KEY_2\"]\nmax_wait_ms = 1").await;
    let mut caller = gateway.connect().await;
    let nothing_left = "x-ratelimit-limit-requests: 500\r\nx-ratelimit-remaining-requests: 0\r\n\
                        x-ratelimit-reset-requests: 600s\r\n";
    caller.send(chat("large", "")).await;
    let last = response("200 OK", nothing_left, "{}");
    let (mut provider, ..) = upstream.answer(&last).await;
    let head = caller.head().await;
    caller.whole(&head).await;
    caller.send(chat("other", "")).await;
    let limited = response("429 Too Many Requests", "retry-after: 1800\r\n", "{}");
    for answer in [&limited, &response("200 OK", "", "{}")] {
        let head = provider.head().await;
        provider.whole(&head).await;
        provider.send(answer).await;
    }
    assert_eq!(caller.head().await.status(), 200);
    let keys = gateway.json("/keys").await;
    let models = keys[0]["keys"][0]["limited_models"].as_array().unwrap();
    let models = models.iter().map(|limited| {
        let model = limited["model"].as_str().unwrap();
        (model, limited["is_reported"].as_bool().unwrap())
    });
    let mut models: Vec<_> = models.collect();
    models.sort_unstable();
    assert_eq!(models, [("large", true), ("other", false)]);
    assert_eq!(keys[0]["keys"][0]["cooldown_is_reported"], false);
}
