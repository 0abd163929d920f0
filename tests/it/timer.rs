//! The layers wait with tokio's timer, and a call without one fails before it is sent.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Context, Waker},
};

use crate::script::*;
use http::Request;
use tokio::runtime::Builder;
use tower::{Layer, Service, ServiceExt};
use tower_429::{BackoffLayer, FallbackLayer, KeyRotationLayer};

const NO_TIMER: &str = "timers are disabled. Call `enable_time`";
const NO_RUNTIME: &str = "must be called from the context of a Tokio 1.x runtime";

/// Sends one request with tokio's runtime, but without its timer; returns the message of the panic.
fn without_timer<S: Service<Request<String>>>(service: S) -> String {
    let runtime = Builder::new_current_thread().build().unwrap();
    message(|| drop(runtime.block_on(service.oneshot(chat("m")))))
}

/// Sends one request without a runtime.
fn without_runtime<S: Service<Request<String>>>(service: S) -> String {
    message(|| {
        let call = pin!(service.oneshot(chat("m")));
        assert!(
            call.poll(&mut Context::from_waker(Waker::noop()))
                .is_ready()
        );
    })
}

fn message(call: impl FnOnce()) -> String {
    let panic: Box<dyn Any + Send> = catch_unwind(AssertUnwindSafe(call)).unwrap_err();
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| Some((*panic.downcast_ref::<&str>()?).into()))
        .expect("a text")
}

/// Calls a service of a layer without a timer and without a runtime, although the provider would respond at once.
fn fails_at_the_first_call<S>(layer: &dyn Fn(Provider) -> S)
where
    S: Service<Request<String>>,
{
    let provider = Provider::new(|_| ok());
    let message = without_timer(layer(provider.clone()));
    assert!(message.contains(NO_TIMER), "{message}");
    let message = without_runtime(layer(provider.clone()));
    assert!(message.contains(NO_RUNTIME), "{message}");
    assert_eq!(provider.seen().len(), 0, "nothing was sent");
}

#[test]
fn call_without_a_timer_fails_before_it_is_sent() {
    fails_at_the_first_call(&|provider| BackoffLayer::new().layer(provider));
    fails_at_the_first_call(&|provider| KeyRotationLayer::new(pool(&["a"])).layer(provider));
    fails_at_the_first_call(&|provider| FallbackLayer::new(["b"]).layer(provider));
}

#[tokio::test(start_paused = true)]
async fn call_with_a_timer_is_sent_and_retried() {
    let provider = Provider::script([limited(1), ok()]);
    let response = BackoffLayer::new().layer(provider).oneshot(chat("m"));
    assert_eq!(response.await.unwrap().status(), 200);
}
