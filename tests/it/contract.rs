//! Each layer, and all of them stacked, as tower services: readiness, and dropped calls.

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use crate::script::*;
use http::{Request, Response};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer,
    util::BoxCloneSyncService,
};
use tower_429::{BackoffLayer, FallbackLayer, KeyPool, KeyRotationLayer};

type Client = BoxCloneSyncService<Request<String>, Response<String>, io::Error>;

fn pool() -> KeyPool {
    KeyPool::new(["a", "b", "c"]).unwrap()
}

/// Returns each layer alone, and all of them in each order, around `inner`. With `max_wait`, KeyRotation and Fallback
/// wait.
fn stacks_of<S>(
    inner: &S,
    pool: &KeyPool,
    max_wait: Option<Duration>,
) -> Vec<(&'static str, Client)>
where
    S: Service<Request<String>, Response = Response<String>, Error = io::Error>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    let b = BackoffLayer::new().attempts(2);
    let k = KeyRotationLayer::new(pool.clone());
    let f = || FallbackLayer::new(["other"]);
    macro_rules! stack {
        ($name:literal: $($layer:expr),+) => {{
            let stack = ServiceBuilder::new()$(.layer($layer.clone()))+.service(inner.clone());
            ($name, BoxCloneSyncService::new(stack))
        }};
    }
    macro_rules! each {
        ($b:expr, $k:expr, $f:expr) => {
            vec![
                stack!("backoff": $b),
                stack!("key rotation": $k),
                stack!("fallback": $f),
                stack!("bkf": $b, $k, $f),
                stack!("bfk": $b, $f, $k),
                stack!("kbf": $k, $b, $f),
                stack!("kfb": $k, $f, $b),
                stack!("fbk": $f, $b, $k),
                stack!("fkb": $f, $k, $b),
            ]
        };
    }
    match max_wait {
        None => each!(b, k, f()),
        Some(max_wait) => {
            let k = k.wait_when_exhausted(max_wait);
            each!(b, k, f().wait_when_exhausted(max_wait))
        }
    }
}

fn stacks<S>(inner: &S, pool: &KeyPool) -> Vec<(&'static str, Client)>
where
    S: Service<Request<String>, Response = Response<String>, Error = io::Error>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    stacks_of(inner, pool, None)
}

#[tokio::test(start_paused = true)]
async fn every_attempt_uses_an_instance_that_was_polled_ready() {
    // The provider panics if it is called before it is ready, and each clone of it is not ready.
    for index in 0..9 {
        let provider = Provider::script([limited(1), ok(), limited(1), ok()]);
        let (name, mut service) = stacks(&provider, &pool()).swap_remove(index);
        for _ in 0..2 {
            let response = service
                .ready()
                .await
                .unwrap()
                .call(chat("m"))
                .await
                .unwrap();
            assert_eq!(response.status(), 200, "{name}");
            tokio::time::advance(secs(60)).await;
        }
        assert_eq!(provider.seen().len(), 4, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn clone_of_a_used_service_works_like_the_original() {
    for index in 0..9 {
        let provider = Provider::script([limited(1), ok(), limited(1), ok()]);
        let (name, service) = stacks(&provider, &pool()).swap_remove(index);
        let clone = service.clone();
        assert_eq!(
            service.oneshot(chat("m")).await.unwrap().status(),
            200,
            "{name}"
        );
        tokio::time::advance(secs(60)).await;
        assert_eq!(
            clone.oneshot(chat("m")).await.unwrap().status(),
            200,
            "{name}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn concurrency_limit_inside_the_stack_is_neither_starved_nor_leaked() {
    for index in 0..9 {
        let provider = Provider::new(|_| limited(1));
        let limited = ConcurrencyLimitLayer::new(1).layer(provider.clone());
        let (name, service) = stacks(&limited, &pool()).swap_remove(index);
        let (one, other) = (
            service.clone().oneshot(chat("m")),
            service.oneshot(chat("n")),
        );
        let (one, other) = futures::future::join(one, other).await;
        assert_eq!(
            (
                one.unwrap().status().as_u16(),
                other.unwrap().status().as_u16()
            ),
            (429, 429),
            "{name}"
        );
        assert!(
            provider.seen().len() >= 4,
            "{name}: at least two attempts each"
        );
    }
}

/// Fails the second `poll_ready`.
#[derive(Clone)]
struct Breaks {
    inner: Provider,
    polled: Arc<AtomicUsize>,
}

impl Service<Request<String>> for Breaks {
    type Response = Response<String>;
    type Error = io::Error;
    type Future = <Provider as Service<Request<String>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        match self.polled.fetch_add(1, Ordering::Relaxed) {
            0 => self.inner.poll_ready(cx),
            _ => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        self.inner.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn call_ends_with_the_error_of_poll_ready_between_two_attempts() {
    for index in 0..9 {
        let inner = Breaks {
            inner: Provider::script([limited(1)]),
            polled: Arc::default(),
        };
        let pool = pool();
        let (name, service) = stacks(&inner, &pool).swap_remove(index);
        let error = service.oneshot(chat("m")).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotConnected, "{name}");
        assert!(
            pool.snapshot().iter().all(|key| key.in_flight == 0),
            "{name}"
        );
    }
}

/// Polls a call `steps` times, then drops it. Returns whether it has ended.
async fn drop_after(steps: usize, service: Client) -> bool {
    let mut call = pin!(service.oneshot(chat("m")));
    for _ in 0..steps {
        let done = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_ready())).await;
        if done {
            return true;
        }
        tokio::time::advance(Duration::from_millis(1_500)).await;
    }
    false
}

/// Drops calls after each number of steps, until one ends.
async fn drop_at_any_state(index: usize, max_wait: Option<Duration>) {
    let mut ended = false;
    for steps in 0..200 {
        // A response takes a while, and a permit is not available at once, so that every state occurs.
        let hint = vec![("retry-after", String::from("7"))];
        let provider = Provider::new(move |_| Answer::Slow(secs(2), 429, hint.clone()));
        let permits = ConcurrencyLimitLayer::new(1).layer(provider);
        let pool = pool();
        let (name, service) = stacks_of(&permits, &pool, max_wait).swap_remove(index);
        ended = drop_after(steps, service.clone()).await;
        assert!(
            pool.snapshot().iter().all(|key| key.in_flight == 0),
            "{name}, {steps} steps"
        );
        let mut service = service;
        let ready = poll_fn(|cx| Poll::Ready(service.poll_ready(cx).is_ready())).await;
        assert!(ready, "{name}: the permit is free after {steps} steps");
        if ended {
            break;
        }
    }
    assert!(ended, "a call ends within these steps");
}

#[tokio::test(start_paused = true)]
async fn call_dropped_in_any_state_leaks_neither_key_nor_permit() {
    for index in 0..9 {
        drop_at_any_state(index, None).await;
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_call_that_is_dropped_leaks_neither_key_nor_permit() {
    for index in 1..9 {
        drop_at_any_state(index, Some(secs(30))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_call_is_served_though_an_earlier_one_is_dropped() {
    for index in 1..9 {
        for steps in 0..12 {
            let mut answers = vec![limited(5); 6].into_iter();
            let provider = Provider::new(move |_| match answers.next() {
                Some(limited) => limited,
                None => Answer::Late(secs(2), 200),
            });
            let pool = pool();
            let waiting = stacks_of(&provider, &pool, Some(secs(600)));
            let (name, service) = waiting.into_iter().nth(index).unwrap();
            let other = tokio::spawn(service.clone().oneshot(chat("m")));
            tokio::task::yield_now().await;
            drop_after(steps, service).await;
            let status = other.await.unwrap().unwrap().status();
            assert_eq!(status, 200, "{name}, {steps} steps");
            assert!(
                pool.snapshot().iter().all(|key| key.in_flight == 0),
                "{name}"
            );
        }
    }
}
