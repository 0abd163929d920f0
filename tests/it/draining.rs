//! A discarded rejection is drained, within bounds. The clock is paused.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};
use tower_429::{BackoffLayer, FallbackLayer, KeyPool, KeyRotationLayer};

/// How the body of a rejection fails to end.
#[derive(Clone, Copy)]
enum Endless {
    Silent,
    Talking,
    /// Empty frames.
    Empty,
}

const CHUNK: usize = 1_000;

#[derive(Clone)]
struct Provider {
    hint: Option<&'static str>,
    endless: Endless,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// When the requests arrived.
    requests: Mutex<Vec<Instant>>,
    /// How many bytes of the rejection were read.
    read: AtomicUsize,
    /// How many bodies exist.
    held: AtomicUsize,
}

struct Rejection(Endless, Arc<Shared>);

impl Body for Rejection {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0 {
            Endless::Silent => Poll::Pending,
            Endless::Empty => Poll::Ready(Some(Ok(Frame::data(Bytes::new())))),
            Endless::Talking => {
                self.1.read.fetch_add(CHUNK, Ordering::Relaxed);
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; CHUNK])))))
            }
        }
    }
}

impl Drop for Rejection {
    fn drop(&mut self) {
        self.1.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Rejects the first request, and asserts that the rejection was dropped before the next one.
impl Service<Request<String>> for Provider {
    type Response = Response<Rejection>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Rejection>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<String>) -> Self::Future {
        let mut requests = self.shared.requests.lock().unwrap();
        let held = self.shared.held.fetch_add(1, Ordering::Relaxed);
        assert_eq!(held, 0, "the rejection is dropped before the next attempt");
        let mut response = Response::builder();
        if requests.is_empty() {
            response = response.status(429);
            if let Some(hint) = self.hint {
                response = response.header("retry-after", hint);
            }
        }
        requests.push(Instant::now());
        let body = Rejection(self.endless, self.shared.clone());
        ready(Ok(response.body(body).unwrap()))
    }
}

/// Returns the time between the rejection and the next attempt, and how many bytes of the rejection were read.
async fn retried<L>(layer: L, hint: Option<&'static str>, endless: Endless) -> (Duration, usize)
where
    L: Layer<
            Provider,
            Service: Service<Request<String>, Response = Response<Rejection>, Error = Infallible>,
        >,
{
    let provider = Provider {
        hint,
        endless,
        shared: Arc::default(),
    };
    let request = Request::post("http://provider.example/v1/chat")
        .header("content-type", "application/json")
        .body(r#"{"model": "m"}"#.into())
        .unwrap();
    let response = layer.layer(provider.clone()).oneshot(request).await;
    assert_eq!(response.unwrap().status(), 200);
    let [first, second] = provider.shared.requests.lock().unwrap()[..] else {
        panic!("two attempts");
    };
    let read = provider.shared.read.load(Ordering::Relaxed);
    (second - first, read)
}

fn backoff() -> BackoffLayer {
    BackoffLayer::new().jitter(0, Duration::ZERO)
}

fn keys() -> KeyRotationLayer {
    KeyRotationLayer::new(KeyPool::new(["one", "two"]).unwrap())
}

fn fallback() -> FallbackLayer {
    FallbackLayer::new(["backup"])
}

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn silent_rejection_is_drained_for_a_second() {
    for (wait, _) in [
        retried(keys(), None, Endless::Silent).await,
        retried(fallback(), None, Endless::Silent).await,
    ] {
        assert!(
            (SECOND..=SECOND + 2 * MILLISECOND).contains(&wait),
            "{wait:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn endless_rejection_is_drained_up_to_64_kib() {
    for (wait, read) in [
        retried(backoff(), Some("2"), Endless::Talking).await,
        retried(keys(), None, Endless::Talking).await,
        retried(fallback(), None, Endless::Talking).await,
    ] {
        assert!(
            (64 * 1024..=64 * 1024 + CHUNK).contains(&read),
            "{read} bytes"
        );
        assert!(wait <= 2 * SECOND + MILLISECOND, "{wait:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rejection_of_empty_frames_is_not_drained_forever() {
    let (wait, _) = retried(keys(), None, Endless::Empty).await;
    assert!(wait <= MILLISECOND, "{wait:?}");
}

#[tokio::test(start_paused = true)]
async fn wait_continues_while_the_rejection_is_drained() {
    let (wait, _) = retried(backoff(), Some("2"), Endless::Silent).await;
    assert!(
        (2 * SECOND..=2 * SECOND + MILLISECOND).contains(&wait),
        "{wait:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn silent_rejection_does_not_use_up_the_deadline() {
    let deadline = Duration::from_millis(600);
    let own = |_| std::iter::repeat(MILLISECOND);
    for (wait, _) in [
        retried(
            backoff().delays(own).deadline(deadline),
            None,
            Endless::Silent,
        )
        .await,
        retried(keys().deadline(deadline), None, Endless::Silent).await,
        retried(fallback().deadline(deadline), None, Endless::Silent).await,
    ] {
        assert!(wait < deadline, "{wait:?}");
    }
}
