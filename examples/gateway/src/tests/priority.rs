//! Calls in the background, by what the caller or the configuration says.

use super::{
    harness::{Running, chat, in_front_of, response},
    serve::Config,
    wire::{Upstream, Wire},
};

/// So many of ten requests are left for so many seconds.
fn left(count: u64, seconds: u64) -> String {
    let headers = format!(
        "x-ratelimit-limit-requests: 10\r\nx-ratelimit-remaining-requests: {count}\r\n\
         x-ratelimit-reset-requests: {seconds}s\r\n"
    );
    response("200 OK", &headers, "{}")
}

async fn begun(gateway: &Running, headers: &str) -> Wire {
    let mut caller = gateway.connect().await;
    caller.send(chat("large", headers)).await;
    caller
}

async fn user_goes_before(settings: &str, of_user: &str, of_batch: &str) {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, settings).await;
    let mut first = gateway.connect().await;
    first.send(chat("large", of_user)).await;
    upstream.answer(&left(1, 60)).await;
    assert_eq!(first.head().await.status(), 200);

    let mut batch = begun(&gateway, &format!("{of_batch}x-of: batch\r\n")).await;
    let mut user = begun(&gateway, &format!("{of_user}x-of: user\r\n")).await;
    let (mut provider, seen, _) = upstream.answer(&left(10, 90)).await;
    assert_eq!(seen.get("x-of"), Some("user"));
    assert_eq!(user.head().await.status(), 200);

    let seen = provider.head().await;
    provider.whole(&seen).await;
    assert_eq!(seen.get("x-of"), Some("batch"));
    assert_eq!(seen.get("x-priority"), None);
    provider.send(left(9, 90)).await;
    assert_eq!(batch.head().await.status(), 200);
}

#[tokio::test]
async fn background_call_leaves_the_last_request_to_a_user() {
    user_goes_before("", "", "x-priority: background\r\n").await;
}

#[tokio::test]
async fn calls_of_a_background_route_are_interactive_if_they_say_so() {
    let settings = "background_routes = [\"/v1/chat\"]";
    user_goes_before(settings, "x-priority: interactive\r\n", "").await;
}

#[tokio::test]
async fn gateway_rejects_an_unknown_priority() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    for value in ["low", "Background", ""] {
        let header = format!("x-priority: {value}\r\n");
        let (head, body) = gateway.ask(&chat("large", &header)).await;
        assert_eq!(head.status(), 400, "{value}");
        assert!(body.contains("priority_not_understood"), "{body}");
    }
}

#[test]
fn background_route_outside_of_the_routes_is_an_error() {
    let text = "[[upstream]]\nname = \"a\"\nat = \"mock\"\nroutes = [\"/v1\"]\n\
                background_routes = [\"/v1/embeddings\", \"/v2\"]";
    let error = Config::parse(text).unwrap_err().to_string();
    let start = "line 5: the background route \"/v2\" is not within the `routes` of upstream a";
    assert!(error.starts_with(start), "{error}");
}
