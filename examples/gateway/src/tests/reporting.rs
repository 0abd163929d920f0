//! What the gateway reports: keys, rejections, metrics, the log and the page.

use serde_json::json;

use super::{
    harness::{Running, SECRETS, chat, in_front_of, logged, logged_with, response},
    wire::Upstream,
};

#[tokio::test]
async fn keys_and_rejections_are_shown_by_label_only() {
    let upstream = Upstream::start().await;
    let settings = "keys = [\"KEY_1\", \"KEY_2\", \"KEY_3\"]\ngroups = { KEY_3 = \"team\" }";
    let gateway = in_front_of(&upstream, settings).await;
    let mut caller = gateway.connect().await;
    caller.send(chat("large", "")).await;
    // The second key is rejected, and the error body contains it.
    let limited = response("429 Too Many Requests", "retry-after: 1800\r\n", "{}");
    let (mut provider, ..) = upstream.respond(&limited).await;
    let left = "x-ratelimit-limit-tokens: 30000\r\nx-ratelimit-remaining-tokens: 28400\r\n\
                x-ratelimit-reset-tokens: 600s\r\n";
    for answer in [
        response("401 Unauthorized", "", "no such key: sk-secret-two"),
        response("200 OK", left, "{}"),
    ] {
        let head = provider.head().await;
        provider.read_body(&head).await;
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
    assert_eq!(keys[1]["cooldown_reason"], "KeyRejected");
    assert_eq!(keys[2]["cooldown_reason"], json!(null));
    assert_eq!(keys[2]["group"], "team");
    assert_eq!(keys[2]["group_source"], "given");
    assert_eq!(
        (&keys[2]["uses"], &keys[2]["in_flight"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(keys[0]["limits"], json!([]));
    let limit = &keys[2]["limits"][0];
    assert_eq!(
        (&limit["dimension"], &limit["model"]),
        (&json!("Tokens"), &json!("large"))
    );
    assert_eq!(
        (&limit["remaining"], &limit["limit"], &limit["reserved"]),
        (&json!(28_400), &json!(30_000), &json!(0))
    );
    assert_eq!(limit["is_learned"], false);
    let resets = limit["resets_in_ms"].as_u64().unwrap();
    assert!((1..=600_000).contains(&resets), "{resets}");

    let rejections = gateway.json("/rejections").await;
    let shown: Vec<_> = rejections
        .as_array()
        .unwrap()
        .iter()
        .map(|rejection| {
            (
                rejection["key"].as_str().unwrap(),
                rejection["status"].as_u64().unwrap(),
                rejection["then"].as_str().unwrap(),
            )
        })
        .collect();
    // The newest rejection is first.
    assert_eq!(
        shown,
        [
            ("KEY_2", 401, "key rotation: next key"),
            ("KEY_1", 429, "key rotation: next key")
        ]
    );

    let metrics = gateway.get("/metrics").await;
    for (state, count) in [("free", 1), ("limited", 1), ("on_cooldown", 1)] {
        let line = format!("tower_429_keys{{pool=\"provider\",state=\"{state}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
    assert_no_key_is_shown(&gateway, &upstream).await;
}

async fn assert_no_key_is_shown(gateway: &Running, upstream: &Upstream) {
    let log = logged(upstream.address).concat();
    assert!(!log.is_empty());
    let mut texts = vec![("the log", log)];
    for path in ["/", "/keys", "/rejections", "/metrics", "/healthz"] {
        texts.push((path, gateway.get(path).await));
    }
    for (place, text) in texts {
        for (_, secret) in SECRETS {
            assert!(!text.contains(secret), "{place} contains a key");
        }
    }
}

/// Sends a call for which both keys are limited for the requested model, so the fallback model serves it.
async fn rotate_and_fall_back(upstream: &Upstream) -> Running {
    let settings =
        "keys = [\"KEY_1\", \"KEY_2\"]\nmax_wait_ms = 1\nfallback = [{ model = \"small\" }]";
    let gateway = in_front_of(upstream, settings).await;
    let mut caller = gateway.connect().await;
    caller.send(chat("large", "")).await;
    // The error body contains the key.
    let limited = |key: &str| {
        let said = format!("too many for {key}");
        response("429 Too Many Requests", "retry-after: 1800\r\n", &said)
    };
    let (mut provider, ..) = upstream.respond(&limited("sk-secret-one")).await;
    for answer in [limited("sk-secret-two"), response("200 OK", "", "{}")] {
        let head = provider.head().await;
        provider.read_body(&head).await;
        provider.send(answer).await;
    }
    let head = caller.head().await;
    assert_eq!(head.get("x-tower-429-attempts"), Some("3"));
    assert_eq!(head.get("x-tower-429-served-model"), Some("small"));
    gateway
}

#[tokio::test]
async fn metrics_count_a_rotation_and_a_fallback_and_contain_no_key() {
    let upstream = Upstream::start().await;
    let gateway = rotate_and_fall_back(&upstream).await;
    let (head, _) = gateway
        .send("GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await;
    assert_eq!(head.status(), 404);

    let text = gateway.get("/metrics").await;
    let series = text.lines().filter(|line| line.contains('{'));
    let mut series: Vec<_> = series.collect();
    series.sort_unstable();
    let expected = [
        "tower_429_attempts_total{host=\"127.0.0.1\",target=\"fallback\",outcome=\"answered\"} 1",
        "tower_429_attempts_total{host=\"127.0.0.1\",target=\"own\",outcome=\"rejected\"} 2",
        "tower_429_calls_total{host=\"127.0.0.1\",outcome=\"answered\"} 1",
        "tower_429_fallbacks_total{host=\"127.0.0.1\"} 1",
        "tower_429_gateway_answers_total{upstream=\"\",status=\"404\"} 1",
        "tower_429_gateway_answers_total{upstream=\"provider\",status=\"200\"} 1",
        "tower_429_keys{pool=\"provider\",state=\"free\"} 0",
        "tower_429_keys{pool=\"provider\",state=\"limited\"} 2",
        "tower_429_keys{pool=\"provider\",state=\"on_cooldown\"} 0",
        "tower_429_rejections_total{host=\"127.0.0.1\",reason=\"rate_limited\"} 2",
        "tower_429_rotations_total{host=\"127.0.0.1\"} 1",
    ];
    assert_eq!(series, expected);
    assert_no_key_is_shown(&gateway, &upstream).await;
}

#[tokio::test]
async fn call_is_a_span_with_an_event_for_each_attempt() {
    let upstream = Upstream::start().await;
    let _gateway = rotate_and_fall_back(&upstream).await;
    let port = upstream.address.port();
    let span =
        format!("POST{{otel.kind=\"client\" server.address=\"127.0.0.1\" server.port={port}");
    let of = "status=429 retry_after_ms=1800000";
    let expected = [
        format!(
            "INFO {span}}}: rate limited, next key attempt=1 {of} key=\"KEY_1\" model=\"large\""
        ),
        format!(
            "INFO {span}}}: rate limited, next target attempt=2 {of} key=\"KEY_2\" model=\"large\""
        ),
        format!(
            "DEBUG {span}}}: answered attempt=3 status=200 key=\"KEY_2\" model=\"small\" target_name=\"small\""
        ),
        format!(
            "INFO {span} http.request.method=\"POST\" tower_429.outcome=\"answered\" http.request.resend_count=2 tower_429.key=\"KEY_2\" tower_429.model=\"small\" tower_429.target=\"small\" http.response.status_code=200}}: close"
        ),
    ];
    let log = logged(upstream.address);
    // The times differ in each run.
    let lines = log.iter().map(|line| line.split(" time.busy=").next());
    let lines: Vec<_> = lines.flatten().collect();
    assert_eq!(lines, expected);
    assert!(log[3].contains(" time.idle="), "{log:?}");
}

#[tokio::test]
async fn metrics_are_in_prometheus_text_format() {
    let upstream = Upstream::start().await;
    let gateway = rotate_and_fall_back(&upstream).await;
    let (head, text) = gateway
        .send("GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await;
    assert_eq!(head.get("content-type"), Some("text/plain; version=0.0.4"));
    let mut described = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
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
async fn gateway_does_not_repeat_a_very_long_model_name() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let model = "m".repeat(100_000);
    let mut caller = gateway.connect().await;
    caller.send(chat(&model, "")).await;
    let limited = response("429 Too Many Requests", "retry-after: 1800\r\n", "{}");
    let (_, _, body) = upstream.respond(&limited).await;
    assert!(body.len() > model.len(), "the upstream gets the full name");
    let head = caller.head().await;
    assert_eq!(head.status(), 429);
    assert_eq!(head.get("x-tower-429-served-model"), None);
    for path in ["/keys", "/rejections"] {
        let text = gateway.get(path).await;
        assert!(text.contains("KEY_1") && text.len() < 2_000, "{path}");
    }
}

#[tokio::test]
async fn healthz_returns_ok() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    assert_eq!(gateway.get("/healthz").await, "ok\n");
}

#[tokio::test]
async fn page_loads_nothing_from_elsewhere() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let (head, page) = gateway
        .send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await;
    assert_eq!(head.get("content-type"), Some("text/html; charset=utf-8"));
    let policy = head.get("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    for outside in ["http:", "https:", "//cdn", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[tokio::test]
async fn call_without_rejections_is_one_line_of_the_log() {
    let upstream = Upstream::start().await;
    let gateway = in_front_of(&upstream, "").await;
    let mut caller = gateway.connect().await;
    // A line break in a model name must not break the line of the log.
    caller.send(chat("la\\nrge", "")).await;
    upstream.respond(&response("200 OK", "", "{}")).await;
    assert_eq!(caller.head().await.status(), 200);
    let log = logged(upstream.address);
    let lines = log.iter().filter(|line| line.starts_with("INFO"));
    let [line] = lines.collect::<Vec<_>>().try_into().unwrap();
    let after_port = line.split_once(&format!("server.port={} ", upstream.address.port()));
    let (fields, _) = after_port.unwrap().1.split_once(" time.busy=").unwrap();
    assert_eq!(
        fields,
        r#"http.request.method="POST" tower_429.outcome="answered" tower_429.key="KEY_1" tower_429.model="la\nrge" http.response.status_code=200}: close"#
    );
}

#[tokio::test]
async fn each_response_of_the_gateway_itself_is_logged_with_its_cause() {
    let upstream = Upstream::start().await;
    let settings = "key_in = { query = \"key\" }";
    let gateway = in_front_of(&upstream, settings).await;
    let port = upstream.address.port();
    let table = [
        (format!("/v2/{port}"), "", 404, "no_route"),
        (
            format!("/v1/site/{port}"),
            "sec-fetch-site: cross-site\r\n",
            403,
            "asked_by_a_web_page",
        ),
        (
            format!("/v1/soon/{port}"),
            "x-tower-429-deadline-ms: soon\r\n",
            400,
            "deadline_not_understood",
        ),
        (
            format!("/v1/late/{port}"),
            "x-tower-429-deadline-ms: 1\r\n",
            504,
            "deadline_passed",
        ),
        (format!("/v1/gone/{port}"), "", 502, "upstream_failed"),
    ];
    let mut upstream = Some(upstream);
    for (path, headers, status, code) in table {
        if status == 502 {
            upstream.take();
        }
        let request = chat("large", headers).replace(
            "/v1/chat/completions",
            &format!("{path}?token=sk-secret-callers"),
        );
        let (head, body) = gateway.send(&request).await;
        assert_eq!(head.status(), status, "{body}");
        let lines = logged_with(&path);
        let [line] = lines.as_slice() else {
            panic!("{path}: {lines:?}");
        };
        let fields = format!("code=\"{code}\" status={status} ");
        assert!(
            line.starts_with("WARN ") && line.contains(&fields) && line.contains(" cause=\""),
            "{line}"
        );
        assert!(!line.contains("sk-secret"), "{line}");
    }
}
