//! The exact spans, events and metrics of a call with a wait, a rotation and a fallback.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    future::Future,
    io,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::script::*;
use crate::subscriber::subscribe;
use http::{Request, Response};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_429::{
    BackoffLayer, Call, Cost, FallbackLayer, KeyPool, KeyRotationLayer, key_rotation::Key,
    telemetry, trail::Attempt,
};
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{Layer, layer, layer::SubscriberExt as _, registry::LookupSpan};

/// A span or an event, as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Recorded {
    Open(&'static str),
    Event(String),
    Close(BTreeMap<&'static str, String>),
}

/// Collects spans and events, and asserts that each event is inside the span of its call.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Collected>>);

#[derive(Default)]
struct Collected {
    recorded: Vec<Recorded>,
    fields: BTreeMap<&'static str, String>,
    entered: usize,
    entries: usize,
    events_outside: usize,
}

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.into());
    }

    /// Records the integers that OpenTelemetry supports.
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name(), format!("{value} i64"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Collector {
    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.0.lock().unwrap()
    }

    fn recorded(&self) -> Vec<Recorded> {
        self.lock().recorded.clone()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collector {
    fn on_new_span(&self, attrs: &span::Attributes<'_>, _: &span::Id, _: layer::Context<'_, S>) {
        let mut collected = self.lock();
        attrs.record(&mut Fields(&mut collected.fields));
        let name = attrs.metadata().name();
        collected.recorded.push(Recorded::Open(name));
    }

    fn on_record(&self, _: &span::Id, values: &span::Record<'_>, _: layer::Context<'_, S>) {
        values.record(&mut Fields(&mut self.lock().fields));
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: layer::Context<'_, S>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        let message = fields.remove("message").unwrap_or_default();
        let mut text = format!("{} {message}", event.metadata().level());
        for (name, value) in fields {
            write!(text, " {name}={value}").unwrap();
        }
        let mut collected = self.lock();
        collected.events_outside += usize::from(context.event_span(event).is_none());
        collected.recorded.push(Recorded::Event(text));
    }

    fn on_enter(&self, _: &span::Id, _: layer::Context<'_, S>) {
        let mut collected = self.lock();
        collected.entered += 1;
        collected.entries += 1;
    }

    fn on_exit(&self, _: &span::Id, _: layer::Context<'_, S>) {
        self.lock().entered -= 1;
    }

    fn on_close(&self, _: span::Id, _: layer::Context<'_, S>) {
        let mut collected = self.lock();
        let fields = std::mem::take(&mut collected.fields);
        collected.recorded.push(Recorded::Close(fields));
    }
}

/// The output of a subscriber.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn recorder() -> PrometheusRecorder {
    let wait = Matcher::Full("tower_429_wait_seconds".into());
    PrometheusBuilder::new()
        .set_buckets_for_metric(wait, &[1.0, 10.0, 60.0])
        .unwrap()
        .build_recorder()
}

/// Returns the text for Prometheus in a stable order, without descriptions.
fn series(recorder: &PrometheusRecorder) -> Vec<String> {
    let text = recorder.handle().render();
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(Into::into)
        .collect();
    lines.sort();
    lines
}

fn pool() -> KeyPool {
    let keys = ["alpha", "beta"].map(|label| Key::new(format!("SECRET-{label}")).label(label));
    KeyPool::new(keys).unwrap()
}

fn stack(
    pool: &KeyPool,
    provider: Provider,
) -> impl Service<Request<String>, Response = Response<String>, Error = io::Error> {
    ServiceBuilder::new()
        .layer(FallbackLayer::new(["small"]))
        .layer(BackoffLayer::new().jitter(0, Duration::ZERO))
        .layer(KeyRotationLayer::new(pool.clone()))
        .service(provider)
}

/// One key is limited for two seconds, the other for an hour. Then both are limited, and only the fallback model
/// succeeds.
fn provider() -> Provider {
    Provider::script([limited(2), limited(3600), limited(3600), ok()])
}

#[tokio::test(start_paused = true)]
async fn call_is_one_span_with_an_event_for_each_attempt() {
    let collector = Collector::default();
    let subscriber = tracing_subscriber::registry().with(collector.clone());
    let _guard = subscribe(subscriber);
    let response = stack(&pool(), provider()).oneshot(chat("large")).await;
    assert_eq!(response.unwrap().status(), 200);

    let event = |text: &str| Recorded::Event(text.into());
    let recorded = collector.recorded();
    let expected = [
        Recorded::Open("POST"),
        event(
            "INFO rate limited, next key attempt=1 i64 key=alpha model=large \
             retry_after_ms=2000 i64 status=429 i64",
        ),
        event(
            "INFO rate limited, waiting attempt=2 i64 key=beta model=large status=429 i64 \
             wait_ms=1999 i64",
        ),
        event(
            "INFO rate limited, next target attempt=3 i64 key=alpha model=large \
             retry_after_ms=3600000 i64 status=429 i64",
        ),
        event(
            "DEBUG answered attempt=4 i64 key=alpha model=small status=200 i64 target_name=small",
        ),
    ];
    assert_eq!(recorded[..recorded.len() - 1], expected);
    let fields = BTreeMap::from(
        [
            ("otel.kind", "client"),
            ("http.request.method", "POST"),
            ("http.request.resend_count", "3 i64"),
            ("http.response.status_code", "200 i64"),
            ("server.address", "api.example"),
            ("server.port", "443 i64"),
            ("tower_429.outcome", "answered"),
            ("tower_429.waited_seconds", "1.999"),
            ("tower_429.key", "alpha"),
            ("tower_429.model", "small"),
            ("tower_429.target", "small"),
        ]
        .map(|(name, value)| (name, value.to_owned())),
    );
    assert_eq!(recorded.last(), Some(&Recorded::Close(fields)));
    let collected = collector.lock();
    assert_eq!((collected.events_outside, collected.entered), (0, 0));
    assert!(collected.entries >= 2, "entered at each poll");
}

#[tokio::test(start_paused = true)]
async fn call_is_counted_by_actions_and_never_by_model_or_key() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let pool = pool();
    let response = stack(&pool, provider()).oneshot(chat("large")).await;
    assert_eq!(response.unwrap().status(), 200);
    pool.record_metrics("openai");
    let expected = [
        r#"tower_429_attempts_total{host="api.example",target="fallback",outcome="answered"} 1"#,
        r#"tower_429_attempts_total{host="api.example",target="own",outcome="rejected"} 3"#,
        r#"tower_429_calls_total{host="api.example",outcome="answered"} 1"#,
        r#"tower_429_fallbacks_total{host="api.example"} 1"#,
        r#"tower_429_keys{pool="openai",state="free"} 0"#,
        r#"tower_429_keys{pool="openai",state="limited"} 2"#,
        r#"tower_429_keys{pool="openai",state="on_cooldown"} 0"#,
        r#"tower_429_rejections_total{host="api.example",reason="rate_limited"} 3"#,
        r#"tower_429_rotations_total{host="api.example"} 1"#,
        r#"tower_429_wait_seconds_bucket{host="api.example",layer="backoff",le="+Inf"} 1"#,
        r#"tower_429_wait_seconds_bucket{host="api.example",layer="backoff",le="1"} 0"#,
        r#"tower_429_wait_seconds_bucket{host="api.example",layer="backoff",le="10"} 1"#,
        r#"tower_429_wait_seconds_bucket{host="api.example",layer="backoff",le="60"} 1"#,
        r#"tower_429_wait_seconds_count{host="api.example",layer="backoff"} 1"#,
        r#"tower_429_wait_seconds_sum{host="api.example",layer="backoff"} 1.999"#,
    ];
    assert_eq!(series(&recorder), expected);

    tokio::time::advance(Duration::from_secs(3601)).await;
    pool.record_metrics("openai");
    let free = r#"tower_429_keys{pool="openai",state="free"} 2"#;
    assert!(series(&recorder).iter().any(|line| line == free));
}

#[tokio::test(start_paused = true)]
async fn tokens_are_counted_by_outcome_and_logged_if_their_limit_rejects() {
    let collector = Collector::default();
    let subscriber = tracing_subscriber::registry().with(collector.clone());
    let _guard = subscribe(subscriber);
    let recorder = recorder();
    let _recorder = metrics::set_default_local_recorder(&recorder);
    let no_tokens_left = [
        ("x-ratelimit-limit-tokens", "30000"),
        ("x-ratelimit-remaining-tokens", "0"),
        ("x-ratelimit-reset-tokens", "2s"),
    ];
    let no_tokens_left = no_tokens_left.map(|(name, value)| (name, value.into()));
    let no_tokens_left = Answer::Response(429, no_tokens_left.into());
    let provider = Provider::script([no_tokens_left, limited(3600), ok()]);
    let stack = ServiceBuilder::new()
        .layer(BackoffLayer::new().jitter(0, Duration::ZERO))
        .layer(KeyRotationLayer::new(pool()))
        .service(provider);
    let mut request = chat("large");
    let cost = Cost::new(1_200, 400);
    request.extensions_mut().insert(Call::new().cost(cost));
    let response = stack.oneshot(request).await;
    assert_eq!(response.unwrap().status(), 200);

    let event = |text: &str| Recorded::Event(text.into());
    let expected = [
        event(
            "INFO rate limited, next key attempt=1 i64 cost=1600 i64 key=alpha \
             retry_after_ms=2000 i64 status=429 i64",
        ),
        event("INFO rate limited, waiting attempt=2 i64 key=beta status=429 i64 wait_ms=1999 i64"),
        event("DEBUG answered attempt=3 i64 key=alpha status=200 i64"),
    ];
    assert_eq!(collector.recorded()[1..4], expected);
    let of_tokens = || -> Vec<_> {
        let series = series(&recorder).into_iter();
        let of_tokens = series.filter(|line| line.starts_with("tower_429_tokens"));
        of_tokens.collect()
    };
    let expected = [
        r#"tower_429_tokens_total{host="api.example",target="own",outcome="answered"} 1600"#,
        r#"tower_429_tokens_total{host="api.example",target="own",outcome="rejected"} 3200"#,
    ];
    assert_eq!(of_tokens(), expected);
}

#[tokio::test(start_paused = true)]
async fn wait_for_a_key_counts_before_the_first_send_and_after_a_rejection() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let pool = KeyPool::new(["a"]).unwrap();
    let provider = Provider::script([limited(7), ok(), limited(5), ok()]);
    let impatient = ServiceBuilder::new()
        .layer(KeyRotationLayer::new(pool.clone()))
        .service(provider.clone());
    let response = impatient.oneshot(chat("m")).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), waited(&response)),
        (429, secs(0))
    );

    let patient = ServiceBuilder::new()
        .layer(KeyRotationLayer::new(pool).wait_when_exhausted(secs(60)))
        .service(provider);
    for (calls, wait) in [(1, secs(7)), (2, secs(5))] {
        let response = patient.clone().oneshot(chat("m")).await.unwrap();
        assert_eq!(response.status(), 200);
        // The hint, and the time by which calls are spread.
        let most = wait + Duration::from_millis(100);
        let waited = waited(&response);
        assert!((wait..=most).contains(&waited), "{waited:?}");
        let count = format!(
            r#"tower_429_wait_seconds_count{{host="api.example",layer="key_rotation"}} {calls}"#
        );
        let series = series(&recorder);
        assert!(series.contains(&count), "{series:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn request_dropped_before_its_send_is_no_attempt() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let pool = KeyPool::new(["a"]).unwrap();
    let rotation = KeyRotationLayer::new(pool).wait_when_exhausted(secs(60));
    let service = ServiceBuilder::new()
        .layer(BackoffLayer::new())
        .layer(tower::timeout::TimeoutLayer::new(secs(1)))
        .layer(rotation)
        .service(Provider::script([limited(30)]));
    let calls = [Call::new(), Call::new()];
    for call in &calls {
        let mut request = chat("m");
        request.extensions_mut().insert(call.clone());
        service.clone().oneshot(request).await.unwrap_err();
    }
    let of = |call: &Call| {
        let attempts = call.trail().attempts().into_iter();
        let of = |it: Attempt| (it.sent, it.key.as_deref().map(str::to_owned));
        attempts.map(of).collect::<Vec<_>>()
    };
    assert_eq!(of(&calls[0]), [(true, Some("key-1".into()))]);
    assert_eq!(of(&calls[1]), [(false, None)]);
    let series = series(&recorder);
    let mut attempts = series
        .iter()
        .filter(|it| it.starts_with("tower_429_attempts_total{"));
    let rejected =
        r#"tower_429_attempts_total{host="api.example",target="own",outcome="rejected"} 1"#;
    assert_eq!(attempts.next().unwrap(), rejected);
    assert_eq!(attempts.next(), None);
}

/// Returns how long the call waited.
fn waited<R>(response: &Response<R>) -> Duration {
    let trail = response.extensions().get::<tower_429::trail::Trail>();
    trail.unwrap().waited()
}

#[tokio::test(start_paused = true)]
async fn outcome_of_a_call_is_in_its_span_and_counted() {
    let collector = Collector::default();
    let subscriber = tracing_subscriber::registry().with(collector.clone());
    let _guard = subscribe(subscriber);
    let recorder = recorder();
    let _recorder = metrics::set_default_local_recorder(&recorder);
    let end = |name: &'static str| {
        let recorded = collector.recorded();
        match recorded.last() {
            Some(Recorded::Close(fields)) => fields.get(name).cloned().unwrap_or_default(),
            other => panic!("the span is not closed: {other:?}"),
        }
    };
    let before = |answer| Provider::script([limited(3600), answer]);
    let with = |provider: &Provider| {
        ServiceBuilder::new()
            .layer(BackoffLayer::new())
            .layer(KeyRotationLayer::new(pool()))
            .service(provider.clone())
    };

    let response = with(&before(limited(3600))).oneshot(chat("m"));
    let response = response.await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(end("tower_429.outcome"), "rejected");
    assert_eq!(end("error.type"), "429");
    assert_eq!(end("otel.status_code"), "ERROR");
    assert_eq!(end("http.request.resend_count"), "1 i64");

    let broken = before(Answer::Error(io::ErrorKind::BrokenPipe));
    with(&broken).oneshot(chat("m")).await.unwrap_err();
    assert_eq!(end("tower_429.outcome"), "failed");
    assert_eq!(end("error.type"), "std::io::error::Error");
    assert_eq!(end("http.response.status_code"), "");

    let silent = before(Answer::Never);
    {
        let mut call = std::pin::pin!(with(&silent).oneshot(chat("m")));
        let mut cx = Context::from_waker(Waker::noop());
        while silent.seen().len() < 2 {
            assert!(matches!(call.as_mut().poll(&mut cx), Poll::Pending));
            assert_eq!(
                collector.lock().entered,
                0,
                "the span is exited between two polls"
            );
            tokio::time::advance(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(end("tower_429.outcome"), "dropped");
    assert_eq!(
        end("tower_429.key"),
        "beta",
        "the key of the send that was dropped"
    );
    assert_eq!(end("http.request.resend_count"), "1 i64");
    assert_eq!(
        end("otel.status_code"),
        "",
        "the layers failed with no error"
    );
    assert_eq!(collector.lock().entered, 0);

    let counted: Vec<_> = series(&recorder)
        .into_iter()
        .filter(|line| line.contains("calls_total"))
        .collect();
    let expected = ["dropped", "failed", "rejected"].map(|outcome| {
        format!(r#"tower_429_calls_total{{host="api.example",outcome="{outcome}"}} 1"#)
    });
    assert_eq!(counted, expected);
}

#[tokio::test(start_paused = true)]
async fn event_says_kind_and_sources_of_an_error_in_every_order() {
    let reset = || {
        let why = "reset by https://me:SECRET-alpha@api.example/v1/chat?key=SECRET-alpha";
        io::Error::new(io::ErrorKind::ConnectionReset, why)
    };
    let retrying = || {
        BackoffLayer::new()
            .delays(|_| [secs(1)].into_iter())
            .on_error(|_: &io::Error| true)
    };
    for is_outermost in [true, false] {
        let collector = Collector::default();
        let subscriber = tracing_subscriber::registry().with(collector.clone());
        let _guard = subscribe(subscriber);
        let errors = tower::service_fn(move |_: Request<String>| std::future::ready(Err(reset())));
        let errors = errors.map_response(|never: Response<String>| never);
        let keys = KeyRotationLayer::new(pool());
        let layers = ServiceBuilder::new();
        let result = match is_outermost {
            true => {
                let stack = layers.layer(retrying()).layer(keys).service(errors);
                stack.oneshot(chat("m")).await
            }
            false => {
                let stack = layers.layer(keys).layer(retrying()).service(errors);
                stack.oneshot(chat("m")).await
            }
        };
        result.unwrap_err();
        let error = "error=reset by https://api.example/… error_kind=ConnectionReset key=alpha";
        let returned = "failed, returned by backoff: attempts used up";
        let expected = [
            format!("INFO failed, waiting attempt=1 i64 {error} wait_ms=1000 i64"),
            format!("WARN {returned} attempt=2 i64 {error}"),
        ]
        .map(Recorded::Event);
        let recorded = collector.recorded();
        assert_eq!(recorded[1..recorded.len() - 1], expected);
    }
}

/// Cuts a call off by a timeout. Returns its events except the first, its span and the counted outcomes.
async fn cut<S>(layers: impl Fn(Provider) -> S, timeout: Duration, call: Call) -> Cut
where
    S: Service<Request<String>>,
{
    let collector = Collector::default();
    let subscriber = tracing_subscriber::registry().with(collector.clone());
    let _guard = subscribe(subscriber);
    let recorder = recorder();
    let _recorder = metrics::set_default_local_recorder(&recorder);
    let mut request = chat("m");
    request.extensions_mut().insert(call);
    let provider = Provider::script([limited(3600), Answer::Never]);
    let stack = layers(provider.clone());
    let cut = tokio::time::timeout(timeout, stack.oneshot(request)).await;
    assert!(cut.is_err(), "the second send gets no response");
    assert_eq!(provider.seen().len(), 2);
    let recorded = collector.recorded();
    let events = recorded.iter().filter_map(|recorded| match recorded {
        Recorded::Event(event) => Some(event.clone()),
        _ => None,
    });
    let Some(Recorded::Close(span)) = recorded.last() else {
        panic!("the span is not closed: {recorded:?}");
    };
    let of_call = |line: &String| line.contains("calls_total");
    let collected = collector.lock();
    assert_eq!((collected.events_outside, collected.entered), (0, 0));
    Cut {
        events: events.skip(1).collect(),
        span: span.clone(),
        calls: series(&recorder).into_iter().filter(of_call).collect(),
    }
}

#[derive(Debug)]
struct Cut {
    events: Vec<String>,
    span: BTreeMap<&'static str, String>,
    calls: Vec<String>,
}

/// Calls the test with the stacks that retry at once with a second key, with and without their own deadline.
macro_rules! each_cut {
    ($deadline:expr, $timeout:expr, $call:expr) => {{
        let deadline: Option<Duration> = $deadline;
        let keys = move || KeyRotationLayer::new(pool());
        let backoff = move || match deadline {
            Some(deadline) => BackoffLayer::new().deadline(deadline),
            None => BackoffLayer::new(),
        };
        let fallback = || FallbackLayer::new(["small"]);
        let layers = ServiceBuilder::new;
        [
            cut(
                |provider| layers().layer(backoff()).layer(keys()).service(provider),
                $timeout,
                $call,
            )
            .await,
            cut(
                |provider| layers().layer(keys()).layer(backoff()).service(provider),
                $timeout,
                $call,
            )
            .await,
            cut(
                |provider| {
                    let layers = layers().layer(fallback()).layer(backoff());
                    layers.layer(keys()).service(provider)
                },
                $timeout,
                $call,
            )
            .await,
        ]
    }};
}

#[tokio::test(start_paused = true)]
async fn call_cut_off_at_its_deadline_is_timed_out_in_every_order() {
    let deadline = secs(10);
    let by_layer = each_cut!(Some(deadline), deadline, Call::new());
    let by_request = each_cut!(None, deadline, Call::new().deadline(deadline));
    let late = each_cut!(None, deadline, Call::new().deadline(secs(5)));
    for cut in by_layer.into_iter().chain(by_request).chain(late) {
        let event =
            "WARN timed out during a send attempts=2 i64 elapsed_ms=10000 i64 key=beta model=m";
        let has_model = cut.span.contains_key("tower_429.model");
        let event = match has_model {
            true => event,
            false => event.trim_end_matches(" model=m"),
        };
        assert_eq!(cut.events, [event]);
        let counted = r#"tower_429_calls_total{host="api.example",outcome="timed_out"} 1"#;
        assert_eq!(cut.calls, [counted]);
        for (field, value) in [
            ("tower_429.outcome", "timed_out"),
            ("error.type", "timeout"),
            ("otel.status_code", "ERROR"),
            ("http.request.resend_count", "1 i64"),
        ] {
            assert_eq!(cut.span[field], value);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_the_caller_drops_before_its_deadline_is_dropped() {
    let without_deadline = each_cut!(None, secs(10), Call::new());
    let before = each_cut!(Some(secs(11)), secs(10), Call::new());
    for cut in without_deadline.into_iter().chain(before) {
        let event = "DEBUG dropped by the caller during a send attempts=2 i64 elapsed_ms=10000 i64 key=beta";
        let [recorded] = &cut.events[..] else {
            panic!("{cut:?}");
        };
        assert!(recorded.starts_with(event), "{recorded}");
        let counted = r#"tower_429_calls_total{host="api.example",outcome="dropped"} 1"#;
        assert_eq!(cut.calls, [counted]);
        assert_eq!(cut.span["tower_429.outcome"], "dropped");
        assert_eq!(cut.span.get("error.type"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn event_of_a_dropped_call_says_that_the_call_was_waiting() {
    let collector = Collector::default();
    let subscriber = tracing_subscriber::registry().with(collector.clone());
    let _guard = subscribe(subscriber);
    let limited = Provider::script([limited(1), limited(30)]);
    let stack = ServiceBuilder::new()
        .layer(BackoffLayer::new().jitter(0, Duration::ZERO))
        .service(limited);
    let left = tokio::time::timeout(secs(10), stack.oneshot(chat("m"))).await;
    assert!(left.is_err());
    let recorded = collector.recorded();
    let event = "DEBUG dropped by the caller before a send attempts=2 i64 elapsed_ms=10000 i64 waited_ms=1000 i64";
    assert_eq!(recorded[recorded.len() - 2], Recorded::Event(event.into()));
}

#[tokio::test(start_paused = true)]
async fn body_too_large_to_be_sent_again_is_counted_once_per_stack() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let provider = Provider::script([limited(1), limited(1)]);
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::new(["small"]).replay_limit(8))
        .layer(BackoffLayer::new().replay_limit(8))
        .layer(KeyRotationLayer::new(pool()).replay_limit(8))
        .service(provider.clone());
    for calls in 1..=2 {
        let response = service.clone().oneshot(chat("large")).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), whys(&response).len()),
            (429, 3)
        );
        let expected = format!(r#"tower_429_replay_overflows_total{{host="api.example"}} {calls}"#);
        let series = series(&recorder);
        assert!(series.contains(&expected), "{series:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn documentation_shows_the_telemetry_of_a_call() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .with_max_level(tracing::Level::DEBUG)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::CLOSE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = subscribe(subscriber);
    let recorder = recorder();
    let _recorder = metrics::set_default_local_recorder(&recorder);
    telemetry::describe();
    let pool = pool();
    let response = stack(&pool, provider()).oneshot(chat("large")).await;
    assert_eq!(response.unwrap().status(), 200);
    pool.record_metrics("openai");

    let page = include_str!("../../src/telemetry/mod.rs").replace("//! ", "");
    let readme = include_str!("../../README.md");
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    println!("{log}\n{}", recorder.handle().render());
    let (mut events, mut spans) = (0, 0);
    for line in log.lines() {
        // The time that a span was open is removed, because a paused clock does not affect it.
        let line = line.split(" time.busy=").next().unwrap_or(line);
        assert!(page.contains(line), "not on the page: {line}");
        let (context, event) = line.split_once(": ").unwrap();
        match event {
            "close" => spans += 1,
            event => {
                events += 1;
                let level = context.trim_start().split(' ').next().unwrap();
                let line = format!("{level} {event}");
                let is_shown = level == "DEBUG" || readme.contains(&line);
                assert!(is_shown, "not in the README: {line}");
            }
        }
    }
    assert_eq!((events, spans), (4, 1));
    let text = recorder.handle().render();
    assert!(text.lines().count() > 20);
    for line in text.lines() {
        assert!(page.contains(line), "not on the page: {line}");
    }
}
