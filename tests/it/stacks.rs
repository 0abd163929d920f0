//! What stacked layers share. The clock is paused.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::script::*;
use http::{HeaderValue, Request, Response};
use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt};
use tower_429::{
    BackoffLayer, Call, FallbackLayer, KeyPool, KeyRotationLayer,
    fallback::Target,
    key_rotation::KeyState,
    rejection::{Reason, Rejection},
    trail::{LayerKind, StopReason, Trail},
};

fn keys(keys: &[&str]) -> KeyRotationLayer {
    KeyRotationLayer::new(KeyPool::new(keys.iter().copied()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn attempts_of_stacked_layers_stay_within_max_sends() {
    for cap in [1, 2, 6, 100] {
        let provider = Provider::new(|_| limited(1));
        let service = ServiceBuilder::new()
            .layer(BackoffLayer::new().attempts(5).max_sends(cap))
            .layer(keys(&["a", "b", "c"]))
            .layer(BackoffLayer::new().attempts(5))
            .service(provider.clone());
        let response = service.oneshot(chat("m")).await.unwrap();
        let sends = provider.seen().len();
        assert_eq!(response.status(), 429);
        match cap {
            100 => assert_eq!(sends, 75, "5 times 3 times 5 without a cap that matters"),
            cap => assert_eq!(sends, cap as usize),
        }
        assert_eq!(attempts(&response).len(), sends);
    }
}

#[tokio::test(start_paused = true)]
async fn max_sends_of_an_inner_layer_or_a_request_holds_for_the_stack() {
    let stack = |provider: &Provider| {
        ServiceBuilder::new()
            .layer(FallbackLayer::new(["b", "c"]))
            .layer(BackoffLayer::new().max_sends(4))
            .service(provider.clone())
    };
    let provider = Provider::new(|_| limited(1));
    let response = stack(&provider).oneshot(chat("m")).await.unwrap();
    assert_eq!(provider.seen().len(), 4);
    assert_eq!(
        whys(&response),
        [
            (LayerKind::Backoff, StopReason::SendsUsedUp),
            (LayerKind::Fallback, StopReason::SendsUsedUp)
        ]
    );

    let provider = Provider::new(|_| limited(1));
    let mut request = chat("m");
    request.extensions_mut().insert(Call::new().max_sends(7));
    stack(&provider).oneshot(request).await.unwrap();
    assert_eq!(provider.seen().len(), 7);
}

#[tokio::test(start_paused = true)]
async fn deadline_holds_across_layers() {
    let start = Instant::now();
    let provider = Provider::new(|_| limited(4));
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::new(["b", "c", "d"]))
        .layer(BackoffLayer::new().jitter(0, Duration::ZERO))
        .layer(keys(&["a"]).deadline(secs(10)))
        .service(provider.clone());
    let response = service.oneshot(chat("m")).await.unwrap();
    assert_eq!(response.status(), 429);
    assert!(start.elapsed() <= secs(10), "{:?}", start.elapsed());
    assert!(provider.seen().len() >= 3);
    assert!(provider.seen().iter().all(|seen| seen.at < secs(10)));

    let start = Instant::now();
    let mut request = chat("m");
    request
        .extensions_mut()
        .insert(Call::new().deadline(secs(1)));
    let provider = Provider::script([limited(1)]);
    let service = BackoffLayer::new().deadline(secs(99));
    let service = ServiceBuilder::new()
        .layer(service)
        .service(provider.clone());
    service.oneshot(request).await.unwrap();
    assert_eq!(
        start.elapsed(),
        Duration::ZERO,
        "the wait does not fit, so it does not begin"
    );
}

#[tokio::test(start_paused = true)]
async fn deadline_beyond_the_clock_has_no_effect() {
    let provider = Provider::script([limited(1), ok()]);
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::new(["m"]).wait_when_exhausted(secs(60)))
        .layer(keys(&["a"]).wait_when_exhausted(secs(60)))
        .service(provider.clone());
    let mut request = chat("m");
    let call = Call::new().deadline(Duration::MAX);
    request.extensions_mut().insert(call);
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
    assert_eq!(provider.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn largest_replay_limit_of_the_stack_holds() {
    for (outer, inner, sends) in [(1_000, 10, 4), (10, 1_000, 4), (10, 10, 1)] {
        let provider = Provider::new(|_| limited(1));
        let service = ServiceBuilder::new()
            .layer(FallbackLayer::new(["backup"]).replay_limit(outer))
            .layer(BackoffLayer::new().attempts(2).replay_limit(inner))
            .service(provider.clone());
        service.oneshot(chat("m")).await.unwrap();
        assert_eq!(provider.seen().len(), sends, "{outer} over {inner}");
    }
}

#[tokio::test(start_paused = true)]
async fn stack_tries_another_key_then_waits_then_tries_another_model() {
    let provider = Provider::new(|seen| match (seen.model().as_str(), seen.key()) {
        ("m", "a") => limited(20),
        ("m", _) => limited(30),
        _ => ok(),
    });
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::new(["backup"]))
        .layer(BackoffLayer::new().attempts(2).jitter(0, Duration::ZERO))
        .layer(keys(&["a", "b"]))
        .service(provider.clone());
    let response = service.oneshot(chat("m")).await.unwrap();
    assert_eq!(response.status(), 200);
    let sent: Vec<_> = provider
        .seen()
        .iter()
        .map(|seen| (seen.model(), seen.key().to_owned()))
        .collect();
    let sent: Vec<_> = sent
        .iter()
        .map(|(model, key)| (model.as_str(), key.as_str()))
        .collect();
    assert_eq!(sent[..2], [("m", "a"), ("m", "b")]);
    assert_eq!(
        sent[2],
        ("m", "a"),
        "max_wait waits for the key that frees first"
    );
    assert_eq!(sent.last().unwrap().0, "backup");
    let waits = provider.waits();
    assert!(
        waits[0] <= secs(1) && waits[1] >= secs(19) && waits[1] <= secs(20),
        "{waits:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn no_key_is_sent_for_another_or_to_another_origin_in_either_order() {
    let targets = || {
        FallbackLayer::new([
            Target::model("b"),
            Target::model("c").at("https://other.example").unwrap(),
        ])
    };
    let answers = |seen: &Seen| match seen.uri.host() {
        Some("other.example") => ok(),
        _ => limited(20),
    };
    let inside = Provider::new(answers);
    let service = ServiceBuilder::new()
        .layer(targets())
        .layer(keys(&["one", "two"]))
        .service(inside.clone());
    assert_eq!(service.oneshot(chat("m")).await.unwrap().status(), 200);

    let outside = Provider::new(answers);
    let service = ServiceBuilder::new()
        .layer(keys(&["one", "two"]))
        .layer(targets())
        .service(outside.clone());
    let response = service.oneshot(chat("m")).await.unwrap();
    assert_eq!(response.status(), 200);
    let keys_in_trail: Vec<_> = attempts(&response)
        .into_iter()
        .map(|attempt| attempt.key)
        .collect();
    assert_eq!(keys_in_trail.last(), Some(&None), "the trail names no key");

    for provider in [inside, outside] {
        let seen = provider.seen();
        assert!(seen.len() >= 3);
        for seen in seen {
            let keys: Vec<_> = seen.headers.get_all("authorization").iter().collect();
            match seen.uri.host() {
                Some("other.example") => assert!(keys.is_empty(), "{seen:?}"),
                _ => assert_eq!(keys.len(), 1, "{seen:?}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn key_in_the_query_or_a_custom_header_does_not_leave_its_origin() {
    let pools = [
        KeyPool::builder(["SECRET"]).query("sig"),
        KeyPool::builder(["SECRET"]).header("x-gateway-token"),
    ];
    for pool in pools {
        let provider = Provider::script([limited(20), ok()]);
        let service = ServiceBuilder::new()
            .layer(KeyRotationLayer::new(pool.build().unwrap()))
            .layer(FallbackLayer::new([Target::model("c")
                .at("https://other.example")
                .unwrap()]))
            .service(provider.clone());
        assert_eq!(service.oneshot(chat("m")).await.unwrap().status(), 200);
        let seen = provider.seen();
        let query = seen[0].uri.query().unwrap_or_default();
        assert!(query == "sig=SECRET" || seen[0].header("x-gateway-token") == "SECRET");
        assert_eq!(seen[1].uri, "https://other.example/v1/chat/completions");
        assert!(!seen[1].headers.contains_key("x-gateway-token"));
    }
}

#[tokio::test(start_paused = true)]
async fn key_outside_fallback_is_not_limited_by_another_origin() {
    let provider = Provider::new(|seen| match seen.uri.host() {
        Some("other.example") => status(401),
        _ => limited(20),
    });
    let pool = KeyPool::new(["one", "two"]).unwrap();
    let service = ServiceBuilder::new()
        .layer(KeyRotationLayer::new(pool.clone()))
        .layer(FallbackLayer::new([Target::model("c")
            .at("https://other.example")
            .unwrap()]))
        .service(provider.clone());
    let response = service.oneshot(chat("m")).await.unwrap();
    assert_eq!(response.status(), 401);
    let cooling = |key: &KeyState| !key.limited_models.is_empty() || key.cooldown_until.is_some();
    let cooling: Vec<_> = pool.snapshot().iter().map(cooling).collect();
    assert_eq!(cooling, [true, false], "a limit of its own origin counts");
}

#[tokio::test(start_paused = true)]
async fn remainder_of_one_key_is_not_the_remainder_of_the_model() {
    let keys_in_trail = |remaining: u64| {
        let headers = vec![
            ("x-ratelimit-limit-requests", "2".into()),
            ("x-ratelimit-remaining-requests", remaining.to_string()),
            ("x-ratelimit-reset-requests", "40s".into()),
        ];
        Answer::Response(200, headers)
    };
    let mut left = [2, 2];
    let provider = Provider::new(move |seen| {
        let left = &mut left[usize::from(seen.key() == "two")];
        *left -= 1;
        keys_in_trail(*left)
    });
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::new(["backup"]))
        .layer(keys(&["one", "two"]))
        .service(provider.clone());
    for _ in 0..4 {
        let response = service.clone().oneshot(chat("large")).await.unwrap();
        assert_eq!(response.status(), 200);
    }
    assert_eq!(provider.keys(), ["one", "one", "two", "two"]);
    assert_eq!(provider.models(), ["large"; 4]);
}

#[tokio::test(start_paused = true)]
async fn each_key_outside_fallback_tries_each_model() {
    let provider = Provider::new(|seen| match (seen.key(), seen.model().as_str()) {
        ("two", "backup") => ok(),
        _ => status(402),
    });
    let service = ServiceBuilder::new()
        .layer(keys(&["one", "two"]))
        .layer(FallbackLayer::new(["backup"]))
        .service(provider.clone());
    let response = service.oneshot(chat("large")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(provider.keys(), ["one", "one", "two", "two"]);
    assert_eq!(provider.models(), ["large", "backup", "large", "backup"]);
}

#[tokio::test(start_paused = true)]
async fn pools_for_two_origins_each_serve_their_own_inside_fallback() {
    let provider = Provider::new(|seen| match seen.key() {
        "theirs-2" => ok(),
        _ => limited(20),
    });
    let ours = KeyPool::builder(["ours"])
        .for_origin("https://api.example")
        .build()
        .unwrap();
    let theirs = KeyPool::builder(["theirs-1", "theirs-2"])
        .for_origin("https://other.example")
        .build()
        .unwrap();
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::new([Target::model("c")
            .at("https://other.example")
            .unwrap()]))
        .layer(KeyRotationLayer::new(ours).pool(theirs))
        .service(provider.clone());
    assert_eq!(service.oneshot(chat("m")).await.unwrap().status(), 200);
    assert_eq!(provider.keys(), ["ours", "theirs-1", "theirs-2"]);
}

#[tokio::test(start_paused = true)]
async fn call_that_ends_in_an_error_still_has_its_trail() {
    let provider = Provider::script([limited(1), Answer::Error(std::io::ErrorKind::BrokenPipe)]);
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::new(["b"]))
        .layer(keys(&["a", "b"]))
        .service(provider);
    let call = Call::new();
    let mut request = chat("m");
    request.extensions_mut().insert(call.clone());
    let error = service.oneshot(request).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    let statuses: Vec<_> = call
        .trail()
        .attempts()
        .into_iter()
        .map(|attempt| attempt.status)
        .collect();
    assert_eq!(statuses, [Some(http::StatusCode::TOO_MANY_REQUESTS), None]);
}

#[tokio::test(start_paused = true)]
async fn requests_made_from_one_template_share_neither_budget_nor_trail() {
    let provider = Provider::new(|_| limited(1));
    let service = ServiceBuilder::new()
        .layer(BackoffLayer::new())
        .layer(keys(&["a"]))
        .service(provider.clone());
    let call = Call::new().max_sends(3).deadline(secs(60));
    let mut template = chat("m");
    template.extensions_mut().insert(call.clone());
    for sent in [3, 6, 9] {
        let response = service.clone().oneshot(template.clone()).await.unwrap();
        assert_eq!(attempts(&response).len(), 3);
        assert_eq!(call.trail().attempts().len(), 3, "of the last request");
        assert_eq!(provider.seen().len(), sent);
    }
}

#[tokio::test(start_paused = true)]
async fn response_of_the_provider_is_returned_unchanged() {
    let provider = Provider::script([Answer::Response(
        429,
        vec![("retry-after", "3600".into()), ("x-request-id", "7".into())],
    )]);
    let service = ServiceBuilder::new()
        .layer(BackoffLayer::new())
        .layer(keys(&["a"]))
        .service(provider);
    let response: Response<String> = service.oneshot(chat("m")).await.unwrap();
    assert_eq!(response.body(), "the provider's own 429");
    let names: Vec<_> = response
        .headers()
        .keys()
        .map(|name| name.as_str())
        .collect();
    assert_eq!(names, ["retry-after", "x-request-id"]);
}

#[tokio::test(start_paused = true)]
async fn extensions_of_a_request_are_on_every_send() {
    for own in [None, Some("the caller's own")] {
        let provider = Provider::script([limited(1), limited(1), limited(1), ok()]);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sent = seen.clone();
        let service = ServiceBuilder::new()
            .layer(BackoffLayer::new())
            .layer(keys(&["a", "b"]))
            .map_request(move |request: Request<String>| {
                let extensions = request.extensions();
                let call = extensions.get::<Call>();
                let before = call.map(|call| call.trail().attempts().len());
                let own = extensions.get::<&str>().copied();
                sent.lock().unwrap().push((before, own));
                request
            })
            .service(provider);
        let mut request = chat("m");
        if let Some(own) = own {
            request.extensions_mut().insert(own);
            request.extensions_mut().insert(Call::new());
        }
        let response = service.oneshot(request).await.unwrap();
        let expected = [0, 1, 2, 3].map(|before| (own.map(|_| before), own));
        assert_eq!(*seen.lock().unwrap(), expected);
        assert_eq!(attempts(&response).len(), 4, "one call");
    }
}

#[tokio::test(start_paused = true)]
async fn each_layer_sends_the_head_it_received_whatever_is_between() {
    type Change = fn(&mut Request<String>);
    let changes: [(Change, &str); 4] = [
        (|_| {}, "/v1/chat/completions; x-given: 1; none"),
        (
            |request| {
                drop(
                    request
                        .headers_mut()
                        .insert("x-given", HeaderValue::from_static("2")),
                )
            },
            "/v1/chat/completions; x-given: 2; none",
        ),
        (
            |request| *request.uri_mut() = "https://api.example/v2?x=1".parse().unwrap(),
            "/v2?x=1; x-given: 1; none",
        ),
        (
            |request| {
                request.extensions_mut().insert("beside");
            },
            "/v1/chat/completions; x-given: 1; beside",
        ),
    ];
    for (change, expected) in changes {
        let provider = Provider::script([limited(1), limited(1), limited(1), ok()]);
        let (came, sent) = [(); 2].map(|()| Arc::new(Mutex::new(Vec::new()))).into();
        let log = |to: &Arc<Mutex<Vec<String>>>| {
            let to = to.clone();
            move |request: Request<String>| {
                let given = request.headers()["x-given"].to_str().unwrap();
                let beside = request.extensions().get::<&str>().unwrap_or(&"none");
                let path = request.uri().path_and_query().unwrap();
                let line = format!("{path}; x-given: {given}; {beside}");
                to.lock().unwrap().push(line);
                request
            }
        };
        let service = ServiceBuilder::new()
            .layer(BackoffLayer::new())
            .map_request(log(&came))
            .map_request(move |mut request| {
                change(&mut request);
                request
            })
            .layer(keys(&["a", "b"]))
            .map_request(log(&sent))
            .service(provider.clone());
        let mut request = chat("m");
        let given = HeaderValue::from_static("1");
        request.headers_mut().insert("x-given", given);
        service.oneshot(request).await.unwrap();
        assert_eq!(provider.keys(), ["a", "b", "b", "a"]);
        let as_given = "/v1/chat/completions; x-given: 1; none";
        assert_eq!(*came.lock().unwrap(), [as_given; 2], "twice by backoff");
        assert_eq!(*sent.lock().unwrap(), [expected; 4], "twice by each key");
    }
}

#[tokio::test(start_paused = true)]
async fn trail_prints_a_line_for_each_attempt() {
    let provider = Provider::script([limited(3), limited(5), ok()]);
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::new(["b"]))
        .layer(BackoffLayer::new().jitter(0, Duration::ZERO))
        .layer(keys(&["one", "two"]))
        .service(provider);
    let response = service.oneshot(chat("m")).await.unwrap();
    let trail = response.extensions().get::<Trail>().unwrap().to_string();
    let expected = "1. key-1, m: 429, key_rotation: next key\n\
                    2. key-2, m: 429, key_rotation: returned, no key free; backoff: wait of 3.0 s\n\
                    3. key-1, m: 200";
    assert_eq!(trail, expected);
}

/// Adds a custom rejection to each response that is not a success.
fn custom(key: Option<bool>) -> impl Fn(Response<String>) -> Response<String> + Clone {
    move |mut response| {
        if !response.status().is_success() {
            let mut rejection = Rejection::new(Reason::Custom);
            rejection.retry_after = Some(secs(5));
            rejection.remedies.key = key;
            response.extensions_mut().insert(rejection);
        }
        response
    }
}

#[tokio::test(start_paused = true)]
async fn custom_reason_is_ignored_unless_a_layer_is_set_to_act_on_it() {
    let answers = || Provider::script([status(418), ok()]);
    let custom_too = [Reason::RateLimited, Reason::Overloaded, Reason::Custom];
    for (backoff, fallback, key, sends, waited) in [
        (false, false, None, vec![("a", "m")], 0),
        (true, false, None, vec![("a", "m"), ("a", "m")], 5),
        (false, true, None, vec![("a", "m"), ("a", "backup")], 0),
        (false, false, Some(true), vec![("a", "m"), ("b", "m")], 0),
    ] {
        let pool = KeyPool::new(["a", "b"]).unwrap();
        let mut waits = BackoffLayer::new().jitter(0, Duration::ZERO);
        let mut targets = FallbackLayer::new(["backup"]);
        if backoff {
            waits = waits.on(custom_too);
        }
        if fallback {
            targets = targets.on(custom_too);
        }
        let provider = answers();
        let service = ServiceBuilder::new()
            .layer(waits)
            .layer(targets)
            .layer(KeyRotationLayer::new(pool.clone()))
            .map_response(custom(key))
            .service(provider.clone());
        let start = Instant::now();
        let response = service.clone().oneshot(chat("m")).await.unwrap();
        let found: Vec<_> = provider
            .seen()
            .iter()
            .map(|seen| (seen.key().to_owned(), seen.model()))
            .collect();
        let sends = sends
            .iter()
            .map(|(key, model)| (key.to_string(), model.to_string()));
        assert_eq!(found, sends.collect::<Vec<_>>());
        assert_eq!(start.elapsed().as_secs(), waited);
        let acted = backoff || fallback || key.is_some();
        assert_eq!(response.status(), if acted { 200 } else { 418 });
        if key.is_none() {
            let is_free =
                |key: &KeyState| key.cooldown_until.is_none() && key.limited_models.is_empty();
            assert!(pool.snapshot().iter().all(is_free), "no key is on cooldown");
        }
    }
}
