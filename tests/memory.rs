//! The memory that an upload takes, counted by the allocator. This is a binary of its own, because the allocator counts
//! all threads.

#[path = "it/sockets.rs"]
mod sockets;

use std::{iter, time::Duration};

use crate::sockets::{hyper_client, upload};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use mock_provider::Server;
use peak_alloc::PeakAlloc;
use tokio::sync::mpsc;
use tower::{ServiceBuilder, ServiceExt};
use tower_429::{
    BackoffLayer, FallbackLayer, KeyPool, KeyRotationLayer,
    trail::{Action, StopReason, Trail},
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MIB: usize = 1024 * 1024;

/// How much of a body the layers keep by default.
const BOUND: usize = 2 * MIB;

const PIECE: usize = 256 * 1024;
const UPLOAD: usize = 200 * MIB;

/// Starts a server that counts the bytes of each request and rejects it.
async fn serve() -> (String, mpsc::UnboundedReceiver<usize>) {
    let (sender, received) = mpsc::unbounded_channel();
    let server = Server::http1(move |mut request: Request<Incoming>| {
        let sender = sender.clone();
        async move {
            let mut bytes = 0;
            while let Some(frame) = request.body_mut().frame().await {
                bytes += frame.unwrap().into_data().unwrap().len();
            }
            sender.send(bytes).unwrap();
            let response = Response::builder().status(429);
            let response = response.header("retry-after-ms", "1");
            response.body(Full::<Bytes>::default()).unwrap()
        }
    });
    (server.await.unwrap().origin(), received)
}

#[tokio::test(start_paused = true)]
async fn upload_of_200_mib_takes_hardly_more_memory_than_the_bound() {
    let (uri, mut received) = serve().await;
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::new(["backup"]))
        .layer(BackoffLayer::new().delays(|_| iter::repeat(Duration::from_millis(1))))
        .layer(KeyRotationLayer::new(KeyPool::new(["one", "two"]).unwrap()))
        .service(hyper_client());
    let (sender, body) = upload();
    tokio::spawn(async move {
        for _ in 0..UPLOAD / PIECE {
            // Each chunk is a new allocation, so that every chunk that is kept counts.
            sender.send(vec![b'x'; PIECE].into()).await.unwrap();
        }
    });
    let request = Request::post(uri)
        .header("content-type", "application/json")
        .body(body)
        .unwrap();

    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let response = client.oneshot(request).await.unwrap();
    let peak = ALLOCATOR.peak_usage() - before;

    assert_eq!(received.recv().await, Some(UPLOAD));
    assert!(received.try_recv().is_err(), "it is sent once");
    let trail = response.extensions().get::<Trail>().expect("a trail");
    let last = trail.attempts().pop().expect("an attempt");
    let is_too_large = |action| action == Action::Return(StopReason::BodyTooLarge);
    assert!(
        !last.steps.is_empty() && last.steps.iter().all(|step| is_too_large(step.action)),
        "{trail}"
    );
    println!("{} KiB more than before", peak / 1024);
    assert!(peak >= BOUND, "the allocator counts: {peak} bytes");
    assert!(peak < BOUND + 2 * MIB, "{peak} bytes");
}
