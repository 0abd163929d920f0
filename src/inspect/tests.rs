//! Guards that other layers keep until the body has ended.

use std::{
    convert::Infallible,
    future::ready,
    io,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use shuttle::scheduler::RandomScheduler;
use tokio::sync::mpsc;
use tower::{ServiceBuilder, ServiceExt, service_fn};

use super::{InspectLayer, InspectedBody};
use crate::{BackoffLayer, call::OpenBody};

/// A frame of a streamed body, or its error.
type Sent = Result<Frame<Bytes>, io::Error>;

/// Returns the sender of a streamed body, and the body.
fn stream() -> (
    mpsc::UnboundedSender<Sent>,
    impl Body<Data = Bytes, Error = io::Error> + Unpin,
) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let frames = futures::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    (sender, StreamBody::new(frames))
}

fn chunk() -> Sent {
    Ok(Frame::data(Bytes::from("data: {}\n\n")))
}

/// Sends a request through an `InspectLayer`, which gets `response`.
async fn inspect<R>(response: Response<R>, method: Method) -> Response<InspectedBody<R>>
where
    R: Body<Data = Bytes> + Unpin,
{
    let mut response = Some(response);
    let provider = service_fn(|_: Request<()>| ready(response.take().ok_or("sent twice")));
    let request = Request::builder().method(method).body(()).unwrap();
    let layer = InspectLayer::new().first_event(Duration::from_secs(1));
    let service = ServiceBuilder::new().layer(layer).service(provider);
    service.oneshot(request).await.unwrap()
}

async fn get<R>(body: R) -> Response<InspectedBody<R>>
where
    R: Body<Data = Bytes> + Unpin,
{
    inspect(Response::new(body), Method::GET).await
}

fn handle<R: Body>(response: &Response<InspectedBody<R>>) -> OpenBody {
    let open_body = response.extensions().get::<OpenBody>();
    open_body.expect("the handle of the body").clone()
}

/// Attaches a guard to the body. Returns a `Weak` that shows whether the body still holds it.
fn attach_guard(open_body: &OpenBody) -> Weak<()> {
    let guard = Arc::new(());
    let held = Arc::downgrade(&guard);
    open_body.hold(guard);
    held
}

fn is_held(guard: &Weak<()>) -> bool {
    guard.strong_count() > 0
}

#[tokio::test]
async fn guard_is_dropped_at_the_end_of_the_body() {
    let (sender, body) = stream();
    let mut response = get(body).await;
    let guards = [
        attach_guard(&handle(&response)),
        attach_guard(&handle(&response)),
    ];
    sender.send(chunk()).unwrap();
    response.frame().await.unwrap().unwrap();
    assert!(guards.iter().all(is_held), "the body is open");
    drop(sender);
    assert!(guards.iter().all(is_held), "the end was not read");
    assert!(response.frame().await.is_none());
    assert!(!guards.iter().any(is_held));
    assert!(
        !is_held(&attach_guard(&handle(&response))),
        "no body holds it"
    );
}

#[tokio::test]
async fn guard_is_dropped_when_the_body_fails() {
    let (sender, body) = stream();
    let mut response = get(body).await;
    let guard = attach_guard(&handle(&response));
    sender.send(chunk()).unwrap();
    sender.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
    response.frame().await.unwrap().unwrap();
    assert!(is_held(&guard));
    assert!(response.frame().await.unwrap().is_err());
    assert!(!is_held(&guard));
    assert!(!is_held(&attach_guard(&handle(&response))));
}

#[tokio::test]
async fn guard_is_dropped_with_the_last_frame_of_a_known_length() {
    let mut response = get(Full::new(Bytes::from("text"))).await;
    let guard = attach_guard(&handle(&response));
    assert!(is_held(&guard));
    response.frame().await.unwrap().unwrap();
    assert!(!is_held(&guard), "a client need not poll for the end");
}

#[tokio::test]
async fn guard_is_held_by_the_body_and_not_by_the_head() {
    let (_sender, body) = stream();
    let (head, body) = get(body).await.into_parts();
    let open_body = head.extensions.get::<OpenBody>().unwrap().clone();
    let guard = attach_guard(&open_body);
    let copy = head.extensions.clone();
    drop(head);
    assert!(is_held(&guard));
    drop(body);
    assert!(!is_held(&guard), "the handles do not keep the guard");
    assert!(!is_held(&attach_guard(copy.get().unwrap())));
}

#[tokio::test]
async fn guard_is_held_after_the_first_event_was_read() {
    let (sender, body) = stream();
    sender.send(chunk()).unwrap();
    let response = Response::builder().header("content-type", "text/event-stream");
    let mut response = inspect(response.body(body).unwrap(), Method::GET).await;
    let guard = attach_guard(&handle(&response));
    response.frame().await.unwrap().unwrap();
    assert!(is_held(&guard));
    drop(sender);
    assert!(response.frame().await.is_none());
    assert!(!is_held(&guard));
}

#[tokio::test]
async fn guard_is_not_held_if_nothing_more_arrives() {
    let empty = get(Full::<Bytes>::default()).await;
    assert!(!is_held(&attach_guard(&handle(&empty))), "an empty body");

    let (_sender, body) = stream();
    let head = inspect(Response::new(body), Method::HEAD).await;
    assert!(
        !is_held(&attach_guard(&handle(&head))),
        "the response to HEAD"
    );

    let error = Response::builder()
        .status(429)
        .body(Full::from("slow down"));
    let mut error = inspect(error.unwrap(), Method::GET).await;
    assert!(
        !is_held(&attach_guard(&handle(&error))),
        "an error that was read"
    );
    assert_eq!(
        error.body_mut().collect().await.unwrap().to_bytes(),
        "slow down"
    );
}

#[tokio::test]
async fn guard_may_use_the_handle_while_it_is_dropped() {
    struct Again(OpenBody, Arc<()>);
    impl Drop for Again {
        fn drop(&mut self) {
            self.0.hold(Arc::clone(&self.1));
        }
    }
    let response = get(Full::new(Bytes::from("text"))).await;
    let open_body = handle(&response);
    let guard = Arc::new(());
    open_body.hold(Again(open_body.clone(), Arc::clone(&guard)));
    drop(response);
    assert_eq!(Arc::strong_count(&guard), 1, "no lock was taken twice");
}

#[tokio::test]
async fn second_inspect_layer_keeps_the_handle_of_the_first() {
    let provider = service_fn(|_: Request<()>| {
        ready(Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(
            "text",
        )))))
    });
    let service = ServiceBuilder::new()
        .layer(InspectLayer::new())
        .layer(InspectLayer::new())
        .service(provider);
    let mut response = service.oneshot(Request::new(())).await.unwrap();
    let guard = attach_guard(&handle(&response));
    assert!(is_held(&guard));
    response.frame().await.unwrap().unwrap();
    assert!(!is_held(&guard));
}

#[tokio::test]
async fn guard_is_not_held_if_the_body_was_replaced_between_two_layers() {
    let (_sender, body) = stream();
    let mut response = Some(Response::new(body));
    let provider = service_fn(|_: Request<()>| ready(response.take().ok_or("sent twice")));
    let service = ServiceBuilder::new()
        .layer(InspectLayer::new())
        .map_response(|response: Response<InspectedBody<_>>| {
            response.map(|_| Full::new(Bytes::from("text")))
        })
        .layer(InspectLayer::new())
        .service(provider);
    let response = service.oneshot(Request::new(())).await.unwrap();
    assert!(
        !is_held(&attach_guard(&handle(&response))),
        "the provider sends no more"
    );
}

// Under shuttle, because in unit tests the layers' locks are shuttle's.
#[test]
fn layer_can_hold_a_guard_when_it_decides() {
    let call = async || {
        let (sender, body) = stream();
        let body = Arc::new(Mutex::new(Some(body)));
        let provider = service_fn(move |_: Request<String>| {
            let body = body.lock().unwrap().take().expect("one request");
            ready(Ok::<_, Infallible>(Response::new(body)))
        });
        let guards = Arc::new(Mutex::new(Vec::new()));
        let held = Arc::clone(&guards);
        let layer = BackoffLayer::new().retry_if(move |head| {
            held.lock()
                .unwrap()
                .push(attach_guard(head.open_body().unwrap()));
            false
        });
        let service = ServiceBuilder::new()
            .layer(layer)
            .layer(InspectLayer::new())
            .service(provider);
        let mut response = service.oneshot(Request::default()).await.unwrap();
        let guard = guards.lock().unwrap().pop().unwrap();
        assert!(is_held(&guard));
        drop(sender);
        assert!(response.frame().await.is_none());
        assert!(!is_held(&guard));
    };
    let mut config = shuttle::Config::new();
    // The future of a layer is larger than the stack that shuttle gives a task by default.
    config.stack_size = 1 << 20;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime = runtime.expect("a runtime");
    let _entered = runtime.enter();
    let runner = shuttle::Runner::new(RandomScheduler::new(1), config);
    runner.run(move || shuttle::future::block_on(call()));
}
