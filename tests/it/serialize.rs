//! Snapshots and trails as JSON, with a fixture for each type.

#![cfg(feature = "serde")]

use std::{
    io,
    ops::Range,
    time::{Duration, SystemTime},
};

use crate::script::*;
use serde_json::{Value, json};
use tower::{Layer as _, ServiceBuilder, ServiceExt};
use tower_429::{
    BackoffLayer, Call, Cost, FallbackLayer, KeyPool, KeyRotationLayer,
    key_rotation::Key,
    rejection::{Dimension, Reason, Rejection, Scope, Window},
};

/// Replaces a time by `"checked"` if it is in the range, because waits have a random part.
fn check(value: &mut Value, pointer: &str, range: Range<u64>) {
    let time = value.pointer_mut(pointer).expect("a place");
    let millis = time.as_u64().expect("milliseconds");
    assert!(range.contains(&millis), "{pointer}: {millis}");
    *time = "checked".into();
}

fn pool(labels: &[&str]) -> KeyPool {
    let keys = labels
        .iter()
        .map(|label| Key::new(format!("SECRET-{label}")).label(*label));
    KeyPool::new(keys).unwrap()
}

#[tokio::test(start_paused = true)]
async fn state_of_a_key_is_written_with_its_limits_and_the_time_left() {
    let headers = vec![
        ("x-ratelimit-limit-tokens", "30000".into()),
        ("x-ratelimit-remaining-tokens", "29000".into()),
        ("x-ratelimit-reset-tokens", "2s".into()),
    ];
    let provider = Provider::script([limited(20), status(401), Answer::Response(200, headers)]);
    let pool = pool(&["alpha", "beta", "gamma"]);
    let service = KeyRotationLayer::new(pool.clone()).layer(provider);
    service.oneshot(chat("large")).await.unwrap();
    tokio::time::advance(millis(500)).await;

    let mut value = serde_json::to_value(pool.snapshot()).unwrap();
    check(&mut value, "/0/limited_models/0/left_ms", 19_400..19_501);
    check(&mut value, "/1/cooldown_left_ms", 59_400..59_501);
    check(&mut value, "/2/limits/0/resets_in_ms", 1_400..1_501);
    let expected = json!([
        {
            "label": "alpha",
            "group": null,
            "group_source": null,
            "cooldown_reason": null,
            "cooldown_left_ms": null,
            "cooldown_is_reported": false,
            "cooldown_is_remote": false,
            "limited_models": [{
                "model": "large",
                "reason": "rate_limited",
                "left_ms": "checked",
                "is_reported": false,
                "is_remote": false,
            }],
            "limits": [],
            "uses": 1,
            "rejections": 1,
            "in_flight": 0,
        },
        {
            "label": "beta",
            "group": null,
            "group_source": null,
            "cooldown_reason": "key_rejected",
            "cooldown_left_ms": "checked",
            "cooldown_is_reported": false,
            "cooldown_is_remote": false,
            "limited_models": [],
            "limits": [],
            "uses": 1,
            "rejections": 1,
            "in_flight": 0,
        },
        {
            "label": "gamma",
            "group": null,
            "group_source": null,
            "cooldown_reason": null,
            "cooldown_left_ms": null,
            "cooldown_is_reported": false,
            "cooldown_is_remote": false,
            "limited_models": [],
            "limits": [{
                "dimension": "tokens",
                "window": "minute",
                "model": "large",
                "limit": 30_000,
                "remaining": 29_000,
                "reserved": 0,
                "resets_in_ms": "checked",
                "is_learned": false,
            }],
            "uses": 1,
            "rejections": 0,
            "in_flight": 0,
        },
    ]);
    assert_eq!(value, expected, "{value:#}");
}

#[tokio::test(start_paused = true)]
async fn trail_is_written_with_its_attempts_and_no_secret() {
    let provider = Provider::script([
        limited(3600),
        limited(3600),
        Answer::Error(io::ErrorKind::ConnectionReset),
        ok(),
    ]);
    let service = ServiceBuilder::new()
        .layer(BackoffLayer::new().on_error(|_: &io::Error| true))
        .layer(FallbackLayer::new(["small"]))
        .layer(KeyRotationLayer::new(pool(&["alpha", "beta"])))
        .service(provider);
    let call = Call::new().cost(Cost::new(1_000, 200));
    let mut request = chat("large");
    request.extensions_mut().insert(call.clone());
    service.oneshot(request).await.unwrap();

    let mut value = serde_json::to_value(call.trail()).unwrap();
    assert!(!value.to_string().contains("SECRET"));
    check(&mut value, "/waited_ms", 1_000..2_001);
    check(
        &mut value,
        "/attempts/2/steps/0/action/wait_ms",
        1_000..2_001,
    );
    let rejection = || {
        json!({
            "reason": "rate_limited",
            "dimension": null,
            "window": null,
            "scope": null,
            "numbers": {"limit": null, "used": null, "requested": null},
            "retry_after_ms": 3_600_000,
            "available_at_unix_s": null,
            "should_retry": null,
            "remedies": {"time": null, "key": null, "model": null},
        })
    };
    let attempt = |number: u32, key: &str, status: Option<u16>, step: Option<Value>| {
        json!({
            "number": number,
            "sent": true,
            "progress": "completed",
            "status": status,
            "error": null,
            "rejection": null,
            "key": key,
            "model": "large",
            "target": null,
            "cost": {"input": 1_000, "output": 200},
            "steps": step.into_iter().collect::<Vec<_>>(),
        })
    };
    let next_key = json!({"layer": "key_rotation", "action": "next_key"});
    let mut first = attempt(1, "alpha", Some(429), Some(next_key));
    first["rejection"] = rejection();
    let returned = json!({"layer": "key_rotation", "action": {"return": "no_free_key"}});
    let mut second = attempt(2, "beta", Some(429), Some(returned));
    second["rejection"] = rejection();
    let next_target = json!({"layer": "fallback", "action": "next_target"});
    second["steps"].as_array_mut().unwrap().push(next_target);
    let wait = json!({"layer": "backoff", "action": {"wait_ms": "checked"}});
    let mut third = attempt(3, "beta", None, Some(wait));
    third["error"] = json!({"kind": "ConnectionReset", "text": "connection reset"});
    let fourth = attempt(4, "beta", Some(200), None);
    let mut attempts = [first, second, third, fourth];
    for attempt in &mut attempts[2..] {
        attempt["model"] = "small".into();
        attempt["target"] = "small".into();
    }
    let expected = json!({"attempts": attempts, "waited_ms": "checked"});
    assert_eq!(value, expected, "{value:#}");
}

#[test]
fn rejection_is_written_with_milliseconds_and_the_seconds_of_a_date() {
    let mut rejection = Rejection::new(Reason::QuotaExhausted);
    rejection.dimension = Some(Dimension::InputTokens);
    rejection.window = Some(Window::FiveHours);
    rejection.scope = Some(Scope::AccountModel);
    rejection.numbers.limit = Some(7);
    rejection.retry_after = Some(Duration::from_micros(1_500));
    rejection.available_at = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_788_220_800));
    rejection.should_retry = Some(false);
    rejection.remedies.key = Some(true);
    let expected = json!({
        "reason": "quota_exhausted",
        "dimension": "input_tokens",
        "window": "five_hours",
        "scope": "account_model",
        "numbers": {"limit": 7, "used": null, "requested": null},
        "retry_after_ms": 2,
        "available_at_unix_s": 1_788_220_800,
        "should_retry": false,
        "remedies": {"time": null, "key": true, "model": null},
    });
    assert_eq!(serde_json::to_value(rejection).unwrap(), expected);
}

#[cfg(feature = "share")]
#[tokio::test(start_paused = true)]
async fn state_of_sharing_is_written_with_its_age_and_what_is_leased() {
    use tower_429::share::{InMemory, Name, share};

    let (sharing, driver) = share(InMemory::new(), Name::new("prod"));
    let value = serde_json::to_value(sharing.snapshot()).unwrap();
    let expected = json!({
        "state": "starting",
        "replicas": null,
        "responded_ago_ms": null,
        "leases": [],
    });
    assert_eq!(value, expected);

    tokio::spawn(driver);
    sharing.ready().await;
    let provider = Provider::new(|_| Answer::Late(secs(600), 200));
    let pool = KeyPool::builder(["SECRET"]).for_origin("https://api.example");
    let pool = pool.shared(sharing.clone()).build().unwrap();
    let limits = KeyRotationLayer::new(pool).wait_when_exhausted(secs(60));
    let first = Provider::script([Answer::Response(
        200,
        vec![
            ("x-ratelimit-limit-requests", "9".into()),
            ("x-ratelimit-remaining-requests", "8".into()),
            ("x-ratelimit-reset-requests", "600s".into()),
        ],
    )]);
    limits.layer(first).oneshot(chat("large")).await.unwrap();
    let open = tokio::spawn(limits.layer(provider).oneshot(chat("large")));
    tokio::time::sleep(secs(2) + millis(10)).await;
    let mut value = serde_json::to_value(sharing.snapshot()).unwrap();
    check(&mut value, "/responded_ago_ms", 0..1_001);
    let expected = json!({
        "state": "connected",
        "replicas": 1,
        "responded_ago_ms": "checked",
        "leases": [{ "unit": "requests", "idle": 0, "in_flight": 1 }],
    });
    assert_eq!(value, expected);
    open.abort();
}
