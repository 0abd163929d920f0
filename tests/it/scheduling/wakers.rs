//! How a pool handles the wakers of waiting calls.

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

/// A task like those of simple executors: its waker owns the task, and so its future.
struct Task(#[allow(dead_code)] Mutex<Call>);

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

/// Polls a waiting call with a waker whose task is another waiting call. The pool has the last handle of that waker.
/// Then another task polls the call, or the call is dropped.
async fn drop_the_last_handle_in_the_pool(is_dropped: bool) {
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
    // The key is on cooldown for five seconds.
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
    // The timer of the call fires, and drops its clone of the waker.
    advance(secs(6)).await;
    tokio::task::yield_now().await;
    if !is_dropped {
        let _ = moved.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
}

#[test]
fn waker_that_the_pool_drops_may_use_the_pool() {
    for is_dropped in [false, true] {
        let (done, end) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build();
            let runtime = runtime.expect("a runtime");
            runtime.block_on(drop_the_last_handle_in_the_pool(is_dropped));
            done.send(()).expect("a receiver");
        });
        let end = end.recv_timeout(Duration::from_secs(60));
        assert!(end.is_ok(), "the pool deadlocks on its own lock");
    }
}
