//! Waits for an upload, and uploads that continue during other waits. The clock is paused.

use std::{
    convert::Infallible,
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, advance, sleep, timeout},
};
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_429::{BackoffLayer, FallbackLayer, fallback::Target, replay::ReplayBody, trail::Trail};

const SECOND: Duration = Duration::from_secs(1);
const MODEL: &str = r#"{"model":"m"}"#;

/// A streaming body whose chunks the test provides one at a time.
struct Fed(UnboundedReceiver<&'static str>);

impl Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.poll_recv(cx);
        piece.map(|piece| piece.map(|piece| Ok(Frame::data(piece.into()))))
    }
}

fn post<B: Body>(body: B) -> Request<ReplayBody<B>> {
    Request::post("https://api.example/v1/chat")
        .header("content-type", "application/json")
        .body(ReplayBody::new(body))
        .unwrap()
}

fn upload() -> (UnboundedSender<&'static str>, Request<ReplayBody<Fed>>) {
    let (feed, fed) = unbounded_channel();
    (feed, post(Fed(fed)))
}

type Client = BoxCloneSyncService<Request<ReplayBody<Fed>>, Response<String>, Infallible>;

/// The number of a request, and a chunk of its body or `None` at its end.
type Received = (usize, Option<Bytes>);

/// Returns a client whose server responds after a second with the next of these statuses, and repeats the last one.
/// Also returns the chunks that the server receives.
fn server(statuses: &'static [u16]) -> (Client, UnboundedReceiver<Received>) {
    let (sender, received) = unbounded_channel();
    let requests = Arc::<AtomicUsize>::default();
    let answer = move |request: Request<ReplayBody<Fed>>| {
        let number = requests.fetch_add(1, Ordering::SeqCst);
        let sender = sender.clone();
        // A connection reads the body in a task of its own too.
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                let _ = sender.send((number, frame.unwrap().into_data().ok()));
            }
            let _ = sender.send((number, None));
        });
        async move {
            sleep(SECOND).await;
            let status = statuses[number.min(statuses.len() - 1)];
            Ok(Response::builder()
                .status(status)
                .header("retry-after", "50")
                .body(String::new())
                .unwrap())
        }
    };
    (Client::new(service_fn(answer)), received)
}

/// Returns what the server receives next, which takes no time.
async fn next(received: &mut UnboundedReceiver<Received>) -> (usize, Option<String>) {
    let start = Instant::now();
    let next = timeout(60 * SECOND, received.recv()).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    let (number, piece) = next.unwrap().unwrap();
    (
        number,
        piece.map(|piece| String::from_utf8(piece.into()).unwrap()),
    )
}

fn waited(response: &Response<String>) -> Duration {
    response.extensions().get::<Trail>().unwrap().waited()
}

#[tokio::test(start_paused = true)]
async fn decision_waits_for_an_upload_at_most_until_the_deadline() {
    let (server, mut received) = server(&[429]);
    let mut service = FallbackLayer::new(["backup"])
        .deadline(5 * SECOND)
        .layer(server);
    let (feed, request) = upload();
    // The caller keeps the future after its call has ended.
    let mut call = pin!(service.ready().await.unwrap().call(request));
    let start = Instant::now();
    let response = timeout(60 * SECOND, call.as_mut()).await.expect("an end");
    assert_eq!(response.unwrap().status(), 429);
    assert_eq!(start.elapsed(), 5 * SECOND);
    feed.send("text").unwrap();
    drop(feed);
    assert_eq!(next(&mut received).await, (0, Some("text".into())));
    assert_eq!(next(&mut received).await, (0, None));
}

#[tokio::test(start_paused = true)]
async fn upload_that_a_decision_waits_for_continues_if_the_call_is_dropped() {
    let (server, mut received) = server(&[429]);
    let (feed, request) = upload();
    let call = tokio::spawn(
        FallbackLayer::new(["backup"])
            .layer(server)
            .oneshot(request),
    );
    sleep(2 * SECOND).await;
    feed.send("one").unwrap();
    assert_eq!(next(&mut received).await, (0, Some("one".into())));
    call.abort();
    feed.send("two").unwrap();
    assert_eq!(next(&mut received).await, (0, Some("two".into())));
    drop(feed);
    assert_eq!(next(&mut received).await, (0, None));
}

/// A body that stays pending. The poll in which the layer waits for it takes until after the deadline.
struct Slow(usize);

impl Body for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0 += 1;
        if self.0 == 3 {
            // The clock advances at the first poll, which wakes no task.
            let mut cx = Context::from_waker(Waker::noop());
            let _ = pin!(advance(9 * SECOND)).poll(&mut cx);
        }
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn call_ends_at_a_deadline_that_passes_during_a_poll_of_the_upload() {
    let rejects = service_fn(|_: Request<ReplayBody<Slow>>| async {
        let rejection = Response::builder().status(429).body(String::new());
        Ok::<_, Infallible>(rejection.unwrap())
    });
    let service = FallbackLayer::new(["backup"])
        .deadline(5 * SECOND)
        .layer(rejects);
    let call = tokio::spawn(service.oneshot(post(Slow(0))));
    let response = timeout(60 * SECOND, call).await.expect("an end");
    assert_eq!(response.unwrap().unwrap().status(), 429);
}

#[tokio::test(start_paused = true)]
async fn rejected_upload_ends_even_if_the_next_attempt_reads_nothing() {
    let (rejects, mut received) = server(&[429]);
    let first = Arc::<AtomicUsize>::default();
    // The body of the second attempt is not read.
    let server = service_fn(move |request: Request<ReplayBody<Fed>>| {
        let is_first = first.fetch_add(1, Ordering::SeqCst) == 0;
        let rejects = rejects.clone();
        async move {
            match is_first {
                true => rejects.oneshot(request).await,
                false => {
                    sleep(100 * SECOND).await;
                    drop(request);
                    Ok(Response::new(String::new()))
                }
            }
        }
    });
    let elsewhere = Target::same_model_at("https://other.example").unwrap();
    let service = FallbackLayer::new([elsewhere, Target::model("backup")]).layer(server);
    let (feed, request) = upload();
    let call = tokio::spawn(service.oneshot(request));
    feed.send(MODEL).unwrap();
    sleep(2 * SECOND).await;
    assert_eq!(next(&mut received).await, (0, Some(MODEL.into())));
    drop(feed);
    assert_eq!(next(&mut received).await, (0, None));
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn wait_for_the_callers_upload_does_not_count_as_a_wait() {
    for deadline in [None, Some(100 * SECOND)] {
        let (server, _) = server(&[429, 200]);
        let layer = FallbackLayer::new(["backup"]);
        let service = match deadline {
            None => layer.layer(server),
            Some(deadline) => layer.deadline(deadline).layer(server),
        };
        let (feed, request) = upload();
        feed.send(MODEL).unwrap();
        drop(feed);
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        // A model is now known to be limited, so the next body is read before it is sent.
        let (feed, request) = upload();
        let call = tokio::spawn(service.oneshot(request));
        sleep(7 * SECOND).await;
        feed.send(MODEL).unwrap();
        drop(feed);
        let response = call.await.unwrap().unwrap();
        let trail = response.extensions().get::<Trail>().unwrap();
        assert_eq!(trail.to_string(), "1. backup: 200");
        assert_eq!(waited(&response), Duration::ZERO, "{deadline:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rejected_upload_continues_to_its_end_while_the_next_send_waits() {
    let (server, mut received) = server(&[429, 200]);
    let service = BackoffLayer::new().jitter(0, Duration::ZERO).layer(server);
    let (feed, request) = upload();
    let call = tokio::spawn(service.oneshot(request));
    sleep(2 * SECOND).await;
    feed.send("one").unwrap();
    assert_eq!(next(&mut received).await, (0, Some("one".into())));
    drop(feed);
    assert_eq!(next(&mut received).await, (0, None));
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
    assert_eq!(next(&mut received).await, (1, Some("one".into())));
    assert_eq!(next(&mut received).await, (1, None));
}

#[tokio::test(start_paused = true)]
async fn rejected_upload_stays_within_the_bound_before_the_next_send() {
    let (server, mut received) = server(&[429, 200]);
    let service = BackoffLayer::new().jitter(0, Duration::ZERO);
    let service = service.replay_limit(6).layer(server);
    let (feed, request) = upload();
    let call = tokio::spawn(service.oneshot(request));
    sleep(2 * SECOND).await;
    for piece in ["one", "two", "three"] {
        feed.send(piece).unwrap();
    }
    drop(feed);
    for piece in ["one", "two"] {
        assert_eq!(next(&mut received).await, (0, Some(piece.into())));
    }
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
    for piece in [Some("one"), Some("two"), Some("three"), None] {
        assert_eq!(next(&mut received).await, (1, piece.map(Into::into)));
    }
}

#[tokio::test(start_paused = true)]
async fn body_that_outgrows_the_bound_ends_the_wait_of_the_decision() {
    let (rejects, mut received) = server(&[429]);
    let first = Arc::<AtomicUsize>::default();
    // The body of the second attempt is kept, but not read.
    let server = service_fn(move |request: Request<ReplayBody<Fed>>| {
        let is_first = first.fetch_add(1, Ordering::SeqCst) == 0;
        let rejects = rejects.clone();
        async move {
            if is_first {
                return rejects.oneshot(request).await;
            }
            tokio::spawn(async move {
                sleep(100 * SECOND).await;
                drop(request);
            });
            Ok(Response::builder().status(429).body(String::new()).unwrap())
        }
    });
    let backoff = BackoffLayer::new().attempts(2).jitter(0, Duration::ZERO);
    let backoff = backoff.replay_limit(6);
    let service = FallbackLayer::new(["backup"]).replay_limit(6);
    let service = service.layer(backoff.layer(server));
    let (feed, request) = upload();
    let call = tokio::spawn(service.oneshot(request));
    sleep(60 * SECOND).await;
    feed.send("one").unwrap();
    assert_eq!(next(&mut received).await, (0, Some("one".into())));
    feed.send("three").unwrap();
    let response = timeout(SECOND, call).await.expect("an end");
    assert_eq!(response.unwrap().unwrap().status(), 429);
}
