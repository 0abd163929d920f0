//! What a pool does with the wakers of those who wait.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, mpsc},
    task::{Context, Wake, Waker},
    thread,
    time::Duration,
};

use tokio::time::advance;

use super::{call, pool, waits};
use crate::script::*;

type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task as simple executors have it: who holds its waker holds it, and with it its future.
struct Task(#[allow(dead_code)] Mutex<Call>);

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

/// A call waits, and of its waker, whose task is another call that waits, the pool has the last handle.
/// Then the call is polled by another task, or dropped.
async fn last_handle_is_the_pool_s(is_dropped: bool) {
    let provider = Provider::script([limited(5), Answer::Never, ok()]);
    let service = waits(&pool(&["a"]), &provider, secs(600));
    let boxed = || -> Call {
        let service = service.clone();
        Box::pin(async move { drop(call(&service, chat("m")).await) })
    };
    let poll = |call: &mut Call, waker: &Waker| {
        let polled = call.as_mut().poll(&mut Context::from_waker(waker));
        assert!(polled.is_pending());
    };
    // The key cools for five seconds.
    let mut first = boxed();
    for _ in 0..5 {
        poll(&mut first, Waker::noop());
        advance(Duration::from_millis(1)).await;
    }
    let mut other = boxed();
    poll(&mut other, Waker::noop());
    let waker = Waker::from(Arc::new(Task(Mutex::new(other))));
    let mut moved = boxed();
    poll(&mut moved, &waker);
    drop(waker);
    // Its timer rings, and lets go of the waker.
    advance(secs(6)).await;
    tokio::task::yield_now().await;
    if !is_dropped {
        let _ = moved.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
}

#[test]
fn a_waker_that_the_pool_drops_may_use_the_pool() {
    for is_dropped in [false, true] {
        let (done, end) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build();
            let runtime = runtime.expect("a runtime");
            runtime.block_on(last_handle_is_the_pool_s(is_dropped));
            done.send(()).expect("it is waited for");
        });
        let end = end.recv_timeout(Duration::from_secs(60));
        assert!(end.is_ok(), "it waits for its own lock");
    }
}
