//! What the gateway says of itself.

use serde_json::json;

use crate::{
    harness::{SECRETS, chat, in_front_of, response},
    wire::Upstream,
};

#[tokio::test]
async fn keys_refusals_and_counts_are_told_by_label_and_no_key_is() {
    let upstream = Upstream::start().await;
    let settings = "keys = [\"KEY_1\", \"KEY_2\", \"KEY_3\"]\ngroups = { KEY_3 = \"team\" }";
    let gateway = in_front_of(&upstream, settings).await;
    let mut caller = gateway.connect().await;
    caller.send(chat("large", "")).await;
    // The second key is dead, and its owner's provider says it aloud.
    let limited = response("429 Too Many Requests", "retry-after: 1800\r\n", "{}");
    let (mut provider, ..) = upstream.answer(&limited).await;
    for answer in [
        response("401 Unauthorized", "", "no such key: sk-secret-two"),
        response("200 OK", "", "{}"),
    ] {
        let head = provider.head().await;
        provider.whole(&head).await;
        provider.send(answer).await;
    }
    assert_eq!(caller.head().await.status(), 200);

    let keys = gateway.json("/keys").await;
    assert_eq!(keys[0]["upstream"], "provider");
    let keys = &keys[0]["keys"];
    let labels: Vec<_> = (0..3).map(|index| &keys[index]["label"]).collect();
    assert_eq!(labels, ["KEY_1", "KEY_2", "KEY_3"]);
    assert_eq!(keys[0]["limited_models"][0]["model"], "large");
    assert_eq!(keys[0]["limited_models"][0]["reason"], "RateLimited");
    let left = keys[0]["limited_models"][0]["free_in_ms"].as_u64().unwrap();
    assert!((1..=1_800_000).contains(&left), "{left}");
    assert_eq!(keys[1]["cools_for"], "KeyRejected");
    assert_eq!(keys[2]["cools_for"], json!(null));
    assert_eq!(keys[2]["group"], "team");
    assert_eq!(
        (&keys[2]["uses"], &keys[2]["in_flight"]),
        (&json!(1), &json!(0))
    );

    let refusals = gateway.json("/refusals").await;
    let told: Vec<_> = refusals
        .as_array()
        .unwrap()
        .iter()
        .map(|refusal| {
            (
                refusal["key"].as_str().unwrap(),
                refusal["status"].as_u64().unwrap(),
                refusal["then"].as_str().unwrap(),
            )
        })
        .collect();
    // The newest first.
    assert_eq!(
        told,
        [
            ("KEY_2", 401, "key rotation: next key"),
            ("KEY_1", 429, "key rotation: next key")
        ]
    );

    let metrics = gateway.get("/metrics").await;
    for line in [
        "calls_total{upstream=\"provider\",status=\"200\"} 1",
        "sends_total{upstream=\"provider\"} 3",
        "refusals_total{upstream=\"provider\",reason=\"RateLimited\"} 1",
        "refusals_total{upstream=\"provider\",reason=\"KeyRejected\"} 1",
        "rotations_total{upstream=\"provider\"} 2",
        "cooling_keys{upstream=\"provider\"} 2",
        "calls_in_progress{upstream=\"provider\"} 0",
    ] {
        assert!(
            metrics.contains(&format!("\ntower_429_gateway_{line}\n")),
            "{line} in {metrics}"
        );
    }

    for path in ["/", "/keys", "/refusals", "/metrics", "/healthz"] {
        let told = gateway.get(path).await;
        for (_, secret) in SECRETS {
            assert!(!told.contains(secret), "{path} tells a key");
        }
    }
}

#[tokio::test]
async fn metrics_are_in_prometheus_text_format() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let (head, text) = gateway
        .ask("GET /metrics HTTP/1.1\r\nhost: gateway\r\n\r\n")
        .await;
    assert_eq!(head.get("content-type"), Some("text/plain; version=0.0.4"));
    let mut described = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("# ") {
            Some(comment) => described.extend(comment.split(' ').nth(1)),
            None => {
                let (name, value) = line.split_once('{').unwrap();
                assert!(described.contains(&name), "{line} has no type");
                let (_, value) = value.split_once("} ").unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
    }
    assert!(!described.is_empty());
}

#[tokio::test]
async fn it_says_that_it_lives() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    assert_eq!(gateway.get("/healthz").await, "ok\n");
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let (head, page) = gateway.ask("GET / HTTP/1.1\r\nhost: gateway\r\n\r\n").await;
    assert_eq!(head.get("content-type"), Some("text/html; charset=utf-8"));
    let policy = head.get("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    for outside in ["http:", "https:", "//cdn", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
}
