//! How often a call takes the lock of the pool.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use shuttle::scheduler::RandomScheduler;
use tower::{Layer, ServiceExt, service_fn};

use crate::key_rotation::{KeyPool, KeyRotationLayer};

/// Returns how often a call takes the lock if its first `rejections` requests are rejected.
fn locks(rejections: usize) -> usize {
    let pool = KeyPool::new(["a", "b", "c"]).expect("a pool");
    let sends = Arc::new(AtomicUsize::new(0));
    let provider = service_fn(move |_: Request<_>| {
        let is_rejected = sends.fetch_add(1, Ordering::Relaxed) < rejections;
        let mut response = Response::new(Full::<Bytes>::default());
        if is_rejected {
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        }
        async { Ok::<_, Infallible>(response) }
    });
    let service = KeyRotationLayer::new(pool.clone()).layer(provider);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let request = Request::new(Full::<Bytes>::default());
    let response = runtime
        .expect("a runtime")
        .block_on(service.oneshot(request));
    assert_eq!(response.map(|it| it.status()), Ok(StatusCode::OK));
    pool.0.scheduler.locked()
}

#[test]
fn rejection_that_leads_to_the_next_key_takes_the_lock_twice() {
    let mut config = shuttle::Config::new();
    // The future of a layer is larger than the stack that shuttle gives a task by default.
    config.stack_size = 1 << 20;
    let runner = shuttle::Runner::new(RandomScheduler::new(1), config);
    runner.run(|| {
        assert_eq!(locks(0), 2, "to reserve and to report");
        assert_eq!(locks(1), 2 + 2);
        assert_eq!(locks(2), 2 + 2 + 2);
    });
}
