//! Later attempts of an outer layer, after inner layers have recorded something about an earlier one. The clock is
//! paused.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use crate::script::*;
use http::{HeaderValue, Request, Response};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_429::{BackoffLayer, Call, FallbackLayer, KeyPool, KeyRotationLayer};

fn backoff() -> BackoffLayer {
    BackoffLayer::new().jitter(0, Duration::ZERO)
}

#[tokio::test(start_paused = true)]
async fn fallback_uses_on_a_second_attempt_what_it_learned_on_the_first() {
    let provider = Provider::new(|seen| match seen.model().as_str() {
        "m" => limited(60),
        _ if seen.at < secs(4) => limited(5),
        _ => ok(),
    });
    let service = ServiceBuilder::new()
        .layer(backoff())
        .layer(FallbackLayer::new(["small"]))
        .layer(KeyRotationLayer::new(KeyPool::new(["a"]).unwrap()))
        .service(provider.clone());
    let response = service.oneshot(chat("m")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(provider.models(), ["m", "small", "small"]);
}

/// Limits every model for five seconds, and then `m` for a minute.
fn limits_m_again() -> Provider {
    Provider::new(|seen| match (seen.model().as_str(), seen.at < secs(4)) {
        (_, true) => limited(5),
        ("m", _) => limited(60),
        _ => ok(),
    })
}

#[tokio::test(start_paused = true)]
async fn fallback_uses_for_the_next_call_what_it_learned_on_a_second_attempt() {
    let provider = limits_m_again();
    let service = ServiceBuilder::new()
        .layer(backoff())
        .layer(FallbackLayer::new(["small"]))
        .layer(KeyRotationLayer::new(KeyPool::new(["a"]).unwrap()))
        .service(provider.clone());
    service.clone().oneshot(chat("m")).await.unwrap();
    assert_eq!(provider.models(), ["m", "small", "m", "small"]);
    tokio::time::advance(secs(1)).await;
    service.oneshot(chat("m")).await.unwrap();
    assert_eq!(
        provider.models()[4..],
        ["small"],
        "m is limited for 59 s more"
    );
}

#[tokio::test(start_paused = true)]
async fn key_rotation_records_a_second_rejection_under_its_own_model() {
    let pool = KeyPool::new(["a"]).unwrap();
    let service = ServiceBuilder::new()
        .layer(backoff())
        .layer(KeyRotationLayer::new(pool.clone()))
        .layer(FallbackLayer::new(["small"]))
        .service(limits_m_again());
    let response = service.oneshot(chat("m")).await.unwrap();
    assert_eq!(response.status(), 200);
    let snapshot = pool.snapshot();
    let models = snapshot[0].limited_models.iter();
    assert_eq!(models.map(|it| &*it.model).collect::<Vec<_>>(), ["m"]);
}

/// A timeout of two seconds between two layers.
#[derive(Clone)]
struct Timeout<S>(S);

impl<S> Service<Request<String>> for Timeout<S>
where
    S: Service<Request<String>, Response = Response<String>, Error = io::Error>,
    S::Future: Send + 'static,
{
    type Response = Response<String>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Response<String>>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let answer = tokio::time::timeout(secs(2), self.0.call(request));
        Box::pin(async { answer.await.unwrap_or(Err(io::ErrorKind::TimedOut.into())) })
    }
}

#[tokio::test(start_paused = true)]
async fn send_cut_off_by_a_timeout_between_two_layers_counts() {
    let provider = Provider::new(|seen| match seen.key() {
        "a" => limited(30),
        _ => Answer::Never,
    });
    let service = ServiceBuilder::new()
        .layer(
            backoff()
                .attempts(9)
                .max_sends(3)
                .on_error(|_: &io::Error| true),
        )
        .layer_fn(Timeout)
        .layer(KeyRotationLayer::new(KeyPool::new(["a", "b"]).unwrap()))
        .service(provider.clone());
    let call = Call::new();
    let mut request = chat("m");
    request.extensions_mut().insert(call.clone());
    service.oneshot(request).await.unwrap_err();
    assert_eq!(provider.keys(), ["a", "b", "b"]);
    assert_eq!(call.trail().attempts().len(), 3);
}

/// Returns a layer whose calls wait for a key.
fn waits(pool: &KeyPool) -> KeyRotationLayer {
    KeyRotationLayer::new(pool.clone()).wait_when_exhausted(secs(900))
}

/// Returns a provider that limits requests with `x-other` for ten minutes. It is overloaded for all other requests,
/// except those for the model `small`.
fn limits_to_others() -> Provider {
    Provider::new(
        |seen| match (seen.model().as_str(), seen.header("x-other")) {
            ("small", _) => ok(),
            (_, "1") => limited(600),
            _ => rejected(503, 1),
        },
    )
}

fn other() -> Request<String> {
    let mut request = chat("m");
    let headers = request.headers_mut();
    headers.insert("x-other", HeaderValue::from_static("1"));
    request
}

#[tokio::test(start_paused = true)]
async fn call_dropped_while_an_inner_layer_queues_it_was_not_sent() {
    let (provider, pool) = (limits_to_others(), KeyPool::new(["a"]).unwrap());
    let single = ServiceBuilder::new()
        .layer(KeyRotationLayer::new(pool.clone()))
        .service(provider.clone());
    single.oneshot(other()).await.unwrap();
    let service = ServiceBuilder::new()
        .layer(backoff())
        .layer(waits(&pool))
        .service(provider.clone());
    let (call, mut request) = (Call::new(), chat("m"));
    request.extensions_mut().insert(call.clone());
    let waiting = tokio::time::timeout(secs(10), service.oneshot(request));
    assert!(waiting.await.is_err(), "the call waits for the key");
    assert_eq!(provider.seen().len(), 1, "only the other call was sent");
    assert_eq!(call.trail().attempts(), []);
}

#[tokio::test(start_paused = true)]
async fn wait_cut_off_by_a_timeout_uses_no_send() {
    let (provider, pool) = (limits_to_others(), KeyPool::new(["a"]).unwrap());
    let fallback = FallbackLayer::new(["small"]).max_sends(2);
    let service = ServiceBuilder::new()
        .layer(fallback.on_error(|_: &io::Error| true))
        .layer_fn(Timeout)
        .layer(backoff())
        .layer(waits(&pool))
        .service(provider.clone());
    let single = ServiceBuilder::new()
        .layer(KeyRotationLayer::new(pool))
        .service(provider.clone());
    let answer = tokio::spawn(service.oneshot(chat("m")));
    tokio::time::sleep(Duration::from_millis(500)).await;
    single.oneshot(other()).await.unwrap();
    assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    assert_eq!(
        provider.models(),
        ["m", "m", "small"],
        "the second request belongs to the other call"
    );
}
