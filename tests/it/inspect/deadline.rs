//! Stalled bodies in calls with a deadline: how long the layers read them, in all orders.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_429::{
    BackoffLayer, Call, FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer,
    rejection::{Reason, Rejection},
};

use super::body::{Scripted, Step, Watch};

const DEADLINE: Duration = Duration::from_millis(300);
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Responds with a 429 whose body stalls after its first byte.
#[derive(Clone, Default)]
struct Stalling {
    sends: Arc<Mutex<Vec<(Instant, Watch)>>>,
}

impl Stalling {
    fn sends(&self) -> usize {
        self.sends.lock().unwrap().len()
    }
}

impl Service<Request<String>> for Stalling {
    type Response = Response<Scripted>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Scripted>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<String>) -> Self::Future {
        let mut sends = self.sends.lock().unwrap();
        if let Some((_, discarded)) = sends.last() {
            assert!(
                discarded.is_dropped(),
                "the body is dropped before the next send"
            );
        }
        let body = Scripted::new([Step::Data("{".into()), Step::Pause(3_600 * SECOND)]);
        sends.push((Instant::now(), body.watch()));
        let response = Response::builder().status(429).body(body);
        ready(Ok(response.unwrap()))
    }
}

fn request(call: Option<Call>) -> Request<String> {
    let request =
        Request::post("http://api.example/v1/chat").header("content-type", "application/json");
    let request = match call {
        Some(call) => request.extension(call),
        None => request,
    };
    request.body(r#"{"model": "large"}"#.into()).unwrap()
}

/// Returns how long the call took, and how many sends the provider saw.
async fn time_and_sends<L, R>(layers: L, call: Option<Call>) -> (Duration, usize)
where
    L: Layer<
            Stalling,
            Service: Service<Request<String>, Response = Response<R>, Error = Infallible>,
        >,
{
    let provider = Stalling::default();
    let start = Instant::now();
    let response = layers
        .layer(provider.clone())
        .oneshot(request(call))
        .await
        .unwrap();
    assert_eq!(response.status(), 429);
    let rejection = response.extensions().get::<Rejection>().unwrap();
    assert_eq!(rejection.reason, Reason::RateLimited);
    (start.elapsed(), provider.sends())
}

type Waits = fn(u64) -> std::iter::Repeat<Duration>;

/// Retries a millisecond after each 429, twice.
fn backoff() -> BackoffLayer<Waits> {
    BackoffLayer::new()
        .attempts(3)
        .delays((|_| std::iter::repeat(MILLISECOND)) as Waits)
}

fn keys() -> KeyRotationLayer {
    KeyRotationLayer::new(KeyPool::new(["one", "two", "three"]).unwrap())
}

fn fallback() -> FallbackLayer {
    FallbackLayer::new(["backup", "least"])
}

fn call() -> Option<Call> {
    Some(Call::new().deadline(DEADLINE))
}

#[tokio::test(start_paused = true)]
async fn inspect_alone_reads_a_stalled_body_within_the_deadline() {
    let (took, sends) = time_and_sends(InspectLayer::new(), call()).await;
    assert_eq!((took, sends), (DEADLINE / 2, 1));
    let layer = InspectLayer::new().max_wait(MILLISECOND);
    assert_eq!(
        time_and_sends(layer, call()).await.0,
        MILLISECOND,
        "the shorter limit applies"
    );
    let (took, _) = time_and_sends(InspectLayer::new(), Some(Call::new())).await;
    assert_eq!(took, SECOND, "a call without a deadline");
}

#[tokio::test(start_paused = true)]
async fn inspect_reads_a_stalled_body_within_the_deadline_in_every_order() {
    let inspect = InspectLayer::new;
    let layers = ServiceBuilder::new;
    let by_layer = [
        time_and_sends(
            layers()
                .layer(backoff().deadline(DEADLINE))
                .layer(inspect()),
            None,
        )
        .await,
        time_and_sends(
            layers().layer(keys().deadline(DEADLINE)).layer(inspect()),
            None,
        )
        .await,
        time_and_sends(
            layers()
                .layer(fallback().deadline(DEADLINE))
                .layer(inspect()),
            None,
        )
        .await,
        time_and_sends(
            layers()
                .layer(inspect())
                .layer(backoff().deadline(DEADLINE)),
            None,
        )
        .await,
        time_and_sends(
            layers()
                .layer(backoff())
                .layer(inspect())
                .layer(keys().deadline(DEADLINE)),
            None,
        )
        .await,
    ];
    let by_call = [
        time_and_sends(layers().layer(backoff()).layer(inspect()), call()).await,
        time_and_sends(layers().layer(keys()).layer(inspect()), call()).await,
        time_and_sends(layers().layer(inspect()).layer(fallback()), call()).await,
        time_and_sends(
            layers()
                .layer(inspect())
                .layer(keys())
                .layer(inspect())
                .layer(backoff()),
            call(),
        )
        .await,
    ];
    for (number, (took, sends)) in by_layer.into_iter().chain(by_call).enumerate() {
        assert!(took < DEADLINE, "{number}: {took:?}");
        assert!(sends >= 2, "{number}: there is time for a retry");
    }
}

#[tokio::test(start_paused = true)]
async fn layers_do_not_drain_a_body_that_stalled_in_inspect() {
    let inspect = InspectLayer::new;
    let layers = ServiceBuilder::new;
    for (took, sends) in [
        time_and_sends(layers().layer(backoff()).layer(inspect()), None).await,
        time_and_sends(layers().layer(keys()).layer(inspect()), None).await,
        time_and_sends(layers().layer(fallback()).layer(inspect()), None).await,
        time_and_sends(
            layers().layer(fallback()).layer(inspect()).layer(inspect()),
            None,
        )
        .await,
    ] {
        assert_eq!(sends, 3);
        let longest = 3 * SECOND + 2 * 2 * MILLISECOND;
        assert!((3 * SECOND..=longest).contains(&took), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn inspect_looks_for_a_first_event_within_the_deadline() {
    let stream = || {
        let body = Scripted::new([
            Step::Pause(10 * SECOND),
            Step::Data("data: {\"error\": {\"type\": \"overloaded_error\"}}\n\n".into()),
        ]);
        super::answer(200, &[("content-type", "text/event-stream")], body)
    };
    let layer = InspectLayer::new().first_event(30 * SECOND);
    for (deadline, waited, is_read) in [(40, 10, true), (10, 5, false)] {
        let start = Instant::now();
        let request = Request::post("http://api.example/v1/chat")
            .extension(Call::new().deadline(deadline * SECOND))
            .body(())
            .unwrap();
        let provider = layer.layer(super::once(stream()));
        let response = provider.oneshot(request).await.unwrap();
        assert_eq!(start.elapsed(), waited * SECOND);
        assert_eq!(response.extensions().get::<Rejection>().is_some(), is_read);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.starts_with(b"data: "), "passed on: {body:?}");
    }
}
