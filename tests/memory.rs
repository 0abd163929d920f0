//! The memory that an upload takes, counted by the allocator; a test binary of its own, for the
//! allocator counts all threads.

mod common;

use std::{convert::Infallible, iter, sync::Arc, time::Duration};

use bytes::Bytes;
use common::{hyper_client, upload};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use peak_alloc::PeakAlloc;
use tokio::{net::TcpListener, sync::mpsc};
use tower::{ServiceBuilder, ServiceExt};
use tower_429::{
    BackoffLayer, FallbackLayer, KeyPool, KeyRotationLayer,
    trail::{Action, StopReason, Trail},
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MIB: usize = 1024 * 1024;

/// What the layers keep of a body unless set otherwise.
const BOUND: usize = 2 * MIB;

const PIECE: usize = 256 * 1024;
const UPLOAD: usize = 200 * MIB;

/// Counts the bytes of each request, and refuses it.
async fn serve() -> (String, mpsc::UnboundedReceiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    let (sender, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let sender = Arc::new(sender.clone());
            let refuse = service_fn(move |mut request: Request<Incoming>| {
                let sender = sender.clone();
                async move {
                    let mut bytes = 0;
                    while let Some(frame) = request.body_mut().frame().await {
                        bytes += frame.unwrap().into_data().unwrap().len();
                    }
                    sender.send(bytes).unwrap();
                    let response = Response::builder().status(429);
                    let response = response.header("retry-after-ms", "1");
                    Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap())
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), refuse));
        }
    });
    (uri, received)
}

#[tokio::test(start_paused = true)]
async fn an_upload_of_200_mib_takes_no_more_memory_than_the_bound_and_small_change() {
    let (uri, mut received) = serve().await;
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::new(["lesser"]))
        .layer(BackoffLayer::new().delays(|_| iter::repeat(Duration::from_millis(1))))
        .layer(KeyRotationLayer::new(KeyPool::new(["one", "two"]).unwrap()))
        .service(hyper_client());
    let (sender, body) = upload();
    tokio::spawn(async move {
        for _ in 0..UPLOAD / PIECE {
            // Allocated anew each time, so that what is kept of it counts.
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
    println!("{} KiB over what was there before", peak / 1024);
    assert!(peak >= BOUND, "the allocator counts: {peak} bytes");
    assert!(peak < BOUND + 2 * MIB, "{peak} bytes");
}
