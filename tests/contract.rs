//! Each layer, and all of them stacked, as a tower service: readiness, and what dropping a call leaves behind.

#![allow(clippy::disallowed_methods)] // a test under a paused clock may look at it

mod script;

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

use http::{Request, Response};
use script::*;
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer,
    util::BoxCloneSyncService,
};
use tower_429::{BackoffLayer, FallbackLayer, KeyPool, KeyRotationLayer};

type Client = BoxCloneSyncService<Request<String>, Response<String>, io::Error>;

fn pool() -> KeyPool {
    KeyPool::new(["a", "b", "c"]).unwrap()
}

/// Each layer alone, and all of them in each order, around `inner`.
fn stacks<S>(inner: &S, pool: &KeyPool) -> Vec<(&'static str, Client)>
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
    vec![
        stack!("backoff": b),
        stack!("key rotation": k),
        stack!("fallback": f()),
        stack!("bkf": b, k, f()),
        stack!("bfk": b, f(), k),
        stack!("kbf": k, b, f()),
        stack!("kfb": k, f(), b),
        stack!("fbk": f(), b, k),
        stack!("fkb": f(), k, b),
    ]
}

#[tokio::test(start_paused = true)]
async fn every_attempt_is_made_on_an_instance_that_was_polled_ready() {
    // The provider panics when it is called unready, and a clone of it is unready.
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
async fn a_clone_of_a_used_service_works_like_the_original() {
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
async fn a_limit_on_concurrency_inside_the_stack_is_neither_starved_nor_leaked() {
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

/// Not ready a second time.
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
async fn an_inner_service_that_breaks_between_two_attempts_ends_the_call_with_its_error() {
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

/// Where a call stands after a number of steps; the last is its end.
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

#[tokio::test(start_paused = true)]
async fn dropping_a_call_at_any_state_leaks_neither_key_nor_permit() {
    for index in 0..9 {
        let mut ended = false;
        for steps in 0..200 {
            // An answer takes a while, and a permit is not there at once: every state is seen.
            let provider = Provider::new(|_| Answer::Late(Duration::from_secs(2), 429));
            let permits = ConcurrencyLimitLayer::new(1).layer(provider);
            let pool = pool();
            let (name, service) = stacks(&permits, &pool).swap_remove(index);
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
        assert!(ended, "the steps lead to the end");
    }
}
