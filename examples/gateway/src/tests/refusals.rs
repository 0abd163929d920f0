//! The caller gets the provider's last rejection as the provider has sent it.

use super::{
    harness::{chat, in_front_of},
    wire::{Head, Upstream},
};

const TWO_KEYS: &str = "keys = [\"KEY_1\", \"KEY_2\"]\nmax_wait_ms = 1";

/// The rejections, and how often the gateway sends a request that gets them.
const REJECTIONS: [(&str, &str, usize); 10] = [
    ("429 Too Many Requests", "retry-after: 1800\r\n", 2),
    ("429 Slow Down, Please", "retry-after-ms: 1800000\r\n", 2),
    ("402 Payment Required", "", 2),
    (
        "401 Unauthorized",
        "www-authenticate: Bearer realm=\"a\"\r\n",
        2,
    ),
    ("400 Bad Request", "", 1),
    ("404 Not Found", "", 1),
    ("413 Payload Too Large", "", 1),
    ("500 Internal Server Error", "", 1),
    ("503 Service Unavailable", "retry-after: 1800\r\n", 1),
    ("529 Overloaded", "", 1),
];

/// Headers of every provider, one of them twice.
const HEADERS: &str = "content-type: application/problem+json; charset=utf-8\r\n\
                       x-ratelimit-remaining-requests: 0\r\nx-warning: one\r\nx-warning: two\r\n\
                       date: Thu, 01 Jan 1970 00:00:00 GMT\r\nserver: a provider\r\nvary: origin\r\n";

/// Not JSON, so that nothing could have been parsed and written again.
const BODY: &str = "{\"error\": {\"message\": \"no,\\u0020 not  now\",}}\r\n\n";

/// What the gateway adds to every response.
const ADDED: [&str; 6] = [
    "x-tower-429-attempts",
    "x-tower-429-waited-ms",
    "x-tower-429-served-model",
    "x-tower-429-key",
    "content-security-policy",
    "x-content-type-options",
];

/// How a body is framed is each hop's own.
const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

/// The headers of a response that are the provider's, in order.
fn of_provider(head: &Head) -> Vec<(&str, &str)> {
    let headers = head.headers.iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_str()));
    let is_ours = |name: &str| ADDED.contains(&name) || FRAMING.contains(&name);
    let mut headers: Vec<_> = headers.filter(|(name, _)| !is_ours(name)).collect();
    headers.sort_unstable();
    headers
}

#[tokio::test]
async fn the_last_rejection_reaches_the_caller_with_status_headers_and_body() {
    for (status, headers, sends) in REJECTIONS {
        for is_chunked in [false, true] {
            let upstream = Upstream::start().await;
            let gateway = in_front_of(&upstream, TWO_KEYS).await;
            let mut caller = gateway.connect().await;
            caller.send(chat("large", "")).await;
            let mut provider = upstream.accept().await;
            let mut sent = String::new();
            for send in 1..=sends {
                let head = provider.head().await;
                provider.whole(&head).await;
                let framing = match is_chunked {
                    true => "transfer-encoding: chunked\r\n".into(),
                    false => format!("content-length: {}\r\n", BODY.len()),
                };
                sent = format!("{HEADERS}{headers}request-id: req_{send}\r\n");
                let head = format!("HTTP/1.1 {status}\r\n{sent}{framing}\r\n");
                provider.send(head).await;
                if is_chunked {
                    provider.send_chunk(&BODY[..9]).await;
                    provider.send_chunk(&BODY[9..]).await;
                    provider.send_chunk("").await;
                } else {
                    provider.send(BODY).await;
                }
            }
            let head = caller.head().await;
            assert_eq!(head.get("x-tower-429-attempts"), Some(&*sends.to_string()));
            assert_eq!(head.start, format!("HTTP/1.1 {status}"));
            let mut expected: Vec<_> = sent
                .lines()
                .map(|line| line.split_once(": ").unwrap())
                .collect();
            expected.sort_unstable();
            assert_eq!(of_provider(&head), expected, "{status}");
            assert_eq!(caller.whole(&head).await, BODY.as_bytes(), "{status}");
        }
    }
}

#[tokio::test]
async fn a_rejection_that_the_pool_knows_of_is_still_the_providers_own() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "max_wait_ms = 1").await;
    let mut caller = gateway.connect().await;
    let rejection = |id: usize| {
        let length = BODY.len();
        format!(
            "HTTP/1.1 429 Too Many Requests\r\nretry-after: 1800\r\nrequest-id: req_{id}\r\n\
             content-length: {length}\r\n\r\n{BODY}"
        )
    };
    caller.send(chat("large", "")).await;
    let (mut provider, ..) = upstream.answer(&rejection(1)).await;
    let head = caller.head().await;
    assert_eq!(head.get("request-id"), Some("req_1"));
    caller.whole(&head).await;
    // The only key is on cooldown now, so the gateway sends the request with it rather than to invent a response.
    caller.send(chat("large", "")).await;
    let head = provider.head().await;
    provider.whole(&head).await;
    provider.send(rejection(2)).await;
    let head = caller.head().await;
    assert_eq!(
        (head.status(), head.get("request-id")),
        (429, Some("req_2"))
    );
    assert_eq!(caller.whole(&head).await, BODY.as_bytes());
}
