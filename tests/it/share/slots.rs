//! Limits on requests in flight, for responses that stream.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures::{future::join_all, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use tokio::time::{Instant, sleep};
use tower::{Layer as _, ServiceExt, service_fn};
use tower_429::{InspectLayer, KeyPool, KeyRotationLayer};

use super::{near, pools};
use crate::script::*;

/// So many responses may be open at once.
const CEILING: usize = 4;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What the provider counts.
#[derive(Default)]
struct Counts {
    open: AtomicUsize,
    rejected: AtomicUsize,
}

/// The slot of one response.
struct Open(Arc<Counts>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counts {
    fn admit(self: &Arc<Self>) -> Option<Open> {
        let open = self.open.load(Ordering::Relaxed);
        let counter = match open < CEILING {
            true => &self.open,
            false => &self.rejected,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        (open < CEILING).then(|| Open(Arc::clone(self)))
    }

    /// Responds after 20 ms. The body of a response ends after two seconds.
    async fn respond(self: Arc<Self>) -> Response<Body> {
        let open = self.admit();
        sleep(millis(20)).await;
        let Some(open) = open else {
            let error = r#"{"error": {"message": "Too many concurrent requests."}}"#;
            let response = Response::builder().status(429);
            return response.body(Full::from(error).boxed_unsync()).unwrap();
        };
        let last = stream::once(async move {
            sleep(secs(2)).await;
            drop(open);
            Ok(Frame::data(Bytes::from_static(b"data: [DONE]\n\n")))
        });
        let response = Response::builder().header("content-type", "text/event-stream");
        response.body(StreamBody::new(last).boxed_unsync()).unwrap()
    }
}

/// Sends so many calls one after another, and reads each body to its end. Returns how many were answered.
async fn one_by_one(pool: &KeyPool, counts: &Arc<Counts>, count: usize) -> usize {
    let counts = Arc::clone(counts);
    let provider = service_fn(move |_: Request<String>| {
        let counts = Arc::clone(&counts);
        async move { Ok::<_, io::Error>(counts.respond().await) }
    });
    let layer = KeyRotationLayer::new(pool.clone()).wait_when_exhausted(secs(600));
    let service = layer.layer(InspectLayer::new().layer(provider));
    let mut answered = 0;
    for _ in 0..count {
        let response = service.clone().oneshot(chat("m")).await.unwrap();
        answered += usize::from(response.status() == 200);
        response.into_body().collect().await.unwrap();
    }
    answered
}

#[tokio::test(start_paused = true)]
async fn open_bodies_of_all_processes_count_under_a_limit_in_flight() {
    let counts = Arc::default();
    let (_processes, pools) = pools(&near(), &["a"], 2).await;
    let at = Instant::now();
    // Twelve callers of two processes want twelve of four slots.
    let callers = pools.iter().flat_map(|pool| [pool; 6]);
    let answered = join_all(callers.map(|pool| one_by_one(pool, &counts, 10))).await;
    let rejected = counts.rejected.load(Ordering::Relaxed);
    assert_eq!(answered, [10; 12]);
    // One process finds the ceiling, and the other adopts it.
    assert!(rejected <= 2, "{rejected} were rejected");
    assert!(at.elapsed() < secs(100), "{:?}", at.elapsed());
}
