//! What of a request and of an answer gets to the other side, and what does not.

use super::{
    harness::{chat, in_front_of, response},
    wire::Upstream,
};

#[tokio::test]
async fn what_is_of_one_hop_is_dropped_both_ways_and_everything_else_passes() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let hops = "connection: keep-alive, X-Private\r\nx-private: 1\r\nkeep-alive: timeout=5\r\n\
                proxy-connection: keep-alive\r\nte: trailers\r\nupgrade: h2c\r\n";
    let ends = "x-kept: 1\r\nanthropic-version: 2023-06-01\r\nuser-agent: an SDK\r\n";
    let mut caller = gateway.connect().await;
    caller.send(chat("large", &format!("{hops}{ends}"))).await;

    let hops = "connection: X-Secret\r\nx-secret: 1\r\nkeep-alive: timeout=5\r\n\
                proxy-connection: keep-alive\r\nupgrade: h2c\r\n";
    let ends = "x-kept-too: 1\r\nrequest-id: req_1\r\nx-ratelimit-remaining-requests: 7\r\n";
    let (_, seen, body) = upstream
        .answer(&response("200 OK", &format!("{hops}{ends}"), "{}"))
        .await;
    for name in [
        "connection",
        "x-private",
        "keep-alive",
        "proxy-connection",
        "te",
        "upgrade",
    ] {
        assert_eq!(seen.get(name), None, "{name} went on: {seen:?}");
    }
    for (name, value) in [
        ("x-kept", "1"),
        ("anthropic-version", "2023-06-01"),
        ("user-agent", "an SDK"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(seen.get(name), Some(value), "{seen:?}");
    }
    assert_eq!(
        seen.get("host"),
        Some(upstream.address.to_string().as_str())
    );
    assert_eq!(body, br#"{"model": "large", "messages": []}"#);

    let head = caller.head().await;
    for name in [
        "connection",
        "x-secret",
        "keep-alive",
        "proxy-connection",
        "upgrade",
    ] {
        assert_eq!(head.get(name), None, "{name} came back: {head:?}");
    }
    for (name, value) in [
        ("x-kept-too", "1"),
        ("request-id", "req_1"),
        ("x-ratelimit-remaining-requests", "7"),
    ] {
        assert_eq!(head.get(name), Some(value), "{head:?}");
    }
}

#[tokio::test]
async fn the_context_of_a_trace_goes_on_untouched_on_every_attempt() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "keys = [\"KEY_1\", \"KEY_2\"]").await;
    let context = [
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("tracestate", "congo=t61rcWkgMzE, rojo=00f067aa0ba902b7"),
        ("baggage", "team=search"),
    ];
    let headers = context.map(|(name, value)| format!("{name}: {value}\r\n"));
    let mut caller = gateway.connect().await;
    caller.send(chat("large", &headers.concat())).await;
    let limited = response("429 Too Many Requests", "retry-after: 1800\r\n", "{}");
    let (mut provider, first, _) = upstream.answer(&limited).await;
    let second = provider.head().await;
    for (name, value) in context {
        for attempt in [&first, &second] {
            assert_eq!(attempt.get(name), Some(value), "{attempt:?}");
        }
    }
    provider.whole(&second).await;
    provider.send(response("200 OK", "", "{}")).await;
    assert_eq!(caller.head().await.status(), 200);
}

#[tokio::test]
async fn the_version_of_http_is_each_hops_own() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let mut caller = gateway.connect().await;
    caller
        .send(chat("large", "").replace("HTTP/1.1", "HTTP/1.0"))
        .await;
    let (_, seen, _) = upstream.answer(&response("200 OK", "", "{}")).await;
    assert_eq!(seen.start, "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(caller.head().await.start, "HTTP/1.0 200 OK");

    let mut caller = gateway.connect().await;
    caller.send(chat("large", "")).await;
    let mut provider = upstream.accept().await;
    let head = provider.head().await;
    provider.whole(&head).await;
    provider.send("HTTP/1.0 200 OK\r\n\r\nto the end").await;
    drop(provider);
    let head = caller.head().await;
    assert_eq!(head.start, "HTTP/1.1 200 OK");
    assert_eq!(caller.whole(&head).await, b"to the end");
}

#[tokio::test]
async fn a_connection_header_cannot_make_another_message_of_a_request() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let mut caller = gateway.connect().await;
    caller
        .send(chat("large", "connection: content-length\r\n"))
        .await;
    let (_, seen, body) = upstream.answer(&response("200 OK", "", "{}")).await;
    assert_eq!(seen.get("content-length"), Some("34"));
    assert_eq!(body.len(), 34);
    assert_eq!(caller.head().await.status(), 200);
}

#[tokio::test]
async fn the_callers_credentials_stay_here_and_the_pools_key_goes_out() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let mut caller = gateway.connect().await;
    let own = "authorization: Bearer callers\r\nx-api-key: callers\r\napi-key: callers\r\n\
               x-goog-api-key: callers\r\ncookie: callers\r\nproxy-authorization: callers\r\n\
               x-amz-security-token: callers\r\ncf-access-client-id: callers\r\n\
               cf-access-client-secret: callers\r\n";
    let query = "?k%65y=callers&alt=sse&key=callers&Key=callers&access_token=callers&api_key=callers\
                 &api-key=callers&API%4bEY=callers&token=callers&Subscription-Key=callers&pageToken=7";
    let request = chat("large", own).replace(" HTTP/1.1", &format!("{query} HTTP/1.1"));
    caller.send(request).await;
    let (_, seen, _) = upstream.answer(&response("200 OK", "", "{}")).await;
    assert_eq!(seen.get("authorization"), Some("Bearer sk-secret-one"));
    assert_eq!(
        seen.start,
        "POST /v1/chat/completions?alt=sse&pageToken=7 HTTP/1.1"
    );
    let callers = |(_, value): &&(String, String)| value.contains("callers");
    assert_eq!(seen.headers.iter().find(callers), None);
    assert_eq!(caller.head().await.status(), 200);
}

#[tokio::test]
async fn gateway_removes_the_callers_account_beside_the_pools_key() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let mut caller = gateway.connect().await;
    let own = "openai-organization: callers\r\nOpenAI-Project: callers\r\nx-goog-user-project: callers\r\n";
    caller.send(chat("large", own)).await;
    let (_, seen, _) = upstream.answer(&response("200 OK", "", "{}")).await;
    let callers = |(_, value): &&(String, String)| value.contains("callers");
    assert_eq!(seen.headers.iter().find(callers), None);
    assert_eq!(caller.head().await.status(), 200);
}

#[tokio::test]
async fn a_limited_key_is_changed_and_the_answer_says_so() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "keys = [\"KEY_1\", \"KEY_2\"]").await;
    let mut caller = gateway.connect().await;
    caller
        .send(chat("large", "x-tower-429-deadline-ms: 60000\r\n"))
        .await;
    let limited = response("429 Too Many Requests", "retry-after: 1800\r\n", "{}");
    let (mut provider, first, _) = upstream.answer(&limited).await;
    assert_eq!(first.get("authorization"), Some("Bearer sk-secret-one"));
    // The rejection was drained, so its connection carries the next.
    let second = provider.head().await;
    let body = provider.whole(&second).await;
    assert_eq!(second.get("authorization"), Some("Bearer sk-secret-two"));
    assert_eq!(second.get("x-tower-429-deadline-ms"), None);
    assert_eq!(body, br#"{"model": "large", "messages": []}"#);
    // Such headers of the upstream's own are not ours.
    let answer = response(
        "200 OK",
        "x-tower-429-key: theirs\r\nx-tower-429-attempts: 9\r\n",
        "{}",
    );
    provider.send(answer).await;

    let head = caller.head().await;
    assert_eq!(head.status(), 200);
    assert_eq!(head.get("x-tower-429-attempts"), Some("2"));
    assert_eq!(head.get("x-tower-429-key"), Some("KEY_2"));
    assert_eq!(head.get("x-tower-429-served-model"), Some("large"));
    let waited = head.get("x-tower-429-waited-ms").unwrap();
    assert!(waited.parse::<u64>().is_ok(), "{waited}");
}

#[tokio::test]
async fn the_response_reports_a_wait() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let mut caller = gateway.connect().await;
    caller.send(chat("large", "")).await;
    let limited = response("429 Too Many Requests", "retry-after-ms: 300\r\n", "{}");
    let (mut provider, ..) = upstream.answer(&limited).await;
    let head = provider.head().await;
    provider.whole(&head).await;
    provider.send(response("200 OK", "", "{}")).await;
    let head = caller.head().await;
    assert_eq!(head.get("x-tower-429-attempts"), Some("2"));
    let waited: u64 = head.get("x-tower-429-waited-ms").unwrap().parse().unwrap();
    assert!(
        waited >= 300,
        "the provider asked for 300 ms, it was {waited}"
    );
    let metrics = gateway.get("/metrics").await;
    for line in [
        "tower_429_wait_seconds_bucket{host=\"127.0.0.1\",layer=\"key_rotation\",le=\"0.1\"} 0",
        "tower_429_wait_seconds_count{host=\"127.0.0.1\",layer=\"key_rotation\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn a_limited_model_is_changed_and_the_answer_says_which_served() {
    let upstream = Upstream::start().await;
    let settings = "fallback = [{ model = \"small\" }]\nmax_wait_ms = 1";
    let gateway = in_front_of(&upstream, settings).await;
    let mut caller = gateway.connect().await;
    caller.send(chat("large", "")).await;
    let limited = response("429 Too Many Requests", "retry-after: 1800\r\n", "{}");
    let (mut provider, ..) = upstream.answer(&limited).await;
    let head = provider.head().await;
    assert_eq!(
        provider.whole(&head).await,
        br#"{"model": "small", "messages": []}"#
    );
    provider.send(response("200 OK", "", "{}")).await;
    let head = caller.head().await;
    assert_eq!(head.get("x-tower-429-attempts"), Some("2"));
    assert_eq!(head.get("x-tower-429-served-model"), Some("small"));
}

#[tokio::test]
async fn an_error_passes_through_whole() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let said = "{\"error\":{\"message\":\"Invalid 'temperature'\",\n \"type\":\"invalid_request_error\"}}\n";
    let mut caller = gateway.connect().await;
    caller.send(chat("large", "")).await;
    let headers = "content-type: application/json\r\nx-request-id: req_7\r\n";
    upstream
        .answer(&response("400 Bad Request", headers, said))
        .await;
    let head = caller.head().await;
    assert_eq!(head.status(), 400);
    assert_eq!(head.get("x-request-id"), Some("req_7"));
    assert_eq!(head.get("content-type"), Some("application/json"));
    assert_eq!(caller.whole(&head).await, said.as_bytes());
    assert_eq!(head.get("x-tower-429-attempts"), Some("1"));
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_a_bad_gateway_that_says_why() {
    let upstream = Upstream::start().await;
    // Errors of clients like to name the address, and with it what is in the query.
    let gateway = in_front_of(&upstream, "key_in = { query = \"key\" }").await;
    drop(upstream);
    let (head, body) = gateway.ask(&chat("large", "")).await;
    assert_eq!(head.status(), 502);
    assert!(body.contains("refused"), "{body}");
    assert!(!body.contains("sk-secret"), "{body}");
}

#[tokio::test]
async fn a_path_that_no_route_covers_is_not_forwarded() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    for path in ["/v2/models", "/v10/models", "/v1x", "/index.html"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let (head, body) = gateway.ask(&request).await;
        assert_eq!(head.status(), 404, "{path}");
        assert!(body.contains("routes"), "{body}");
    }
}

#[tokio::test]
async fn the_longest_route_wins_and_a_target_elsewhere_gets_its_own_keys() {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    let text = format!(
        "[[upstream]]\nname = \"one\"\nat = \"http://{}/base\"\nroutes = [\"/v1\"]\nkeys = [\"KEY_1\"]\n\
         max_wait_ms = 1\nfallback = [{{ model = \"theirs\", at = \"http://{}/compatible\", strip_prefix = \"/v1\" }}]\n\
         [[upstream]]\nname = \"other\"\nat = \"http://{}\"\nroutes = [\"/v1/messages\"]\nkeys = [\"KEY_2\"]\n\
         key_in = {{ header = \"x-api-key\" }}\n",
        one.address, other.address, other.address
    );
    let config = super::serve::Config::parse(&text).unwrap();
    let gateway = super::harness::run(&config, "").await;

    let mut caller = gateway.connect().await;
    caller
        .send(chat("large", "").replace("chat/completions", "messages"))
        .await;
    let (mut kept, seen, _) = other.answer(&response("200 OK", "", "{}")).await;
    assert_eq!(seen.get("x-api-key"), Some("sk-secret-two"));
    assert_eq!(caller.head().await.status(), 200);

    let mut caller = gateway.connect().await;
    caller.send(chat("large", "")).await;
    let limited = response("429 Too Many Requests", "retry-after: 1800\r\n", "{}");
    let (_, seen, _) = one.answer(&limited).await;
    assert_eq!(seen.start, "POST /base/v1/chat/completions HTTP/1.1");
    assert_eq!(seen.get("authorization"), Some("Bearer sk-secret-one"));
    let seen = kept.head().await;
    assert_eq!(
        kept.whole(&seen).await,
        br#"{"model": "theirs", "messages": []}"#
    );
    assert_eq!(seen.start, "POST /compatible/chat/completions HTTP/1.1");
    assert_eq!(seen.get("x-api-key"), Some("sk-secret-two"));
    assert_eq!(seen.get("authorization"), None);
    kept.send(response("200 OK", "", "{}")).await;
    let head = caller.head().await;
    assert_eq!(head.get("x-tower-429-key"), Some("KEY_2"));
    assert_eq!(head.get("x-tower-429-served-model"), Some("theirs"));
}
