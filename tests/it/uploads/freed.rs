//! A rejected upload leaves nothing open at the server after its call has ended.

use std::{fmt::Debug, io};

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{join, sync::mpsc};
use tower::{Service, ServiceBuilder, ServiceExt, layer::util::Identity};
use tower_429::{BackoffLayer, replay::ReplayBody, trail::Trail};
use tower_http::map_request_body::MapRequestBodyLayer;

use super::{
    backoff, fallback, keys,
    server::{Protocol, Reaction, Server},
};
use crate::sockets::{Boxed, upload};

type Fallible = BoxBody<Bytes, io::Error>;
type Sender = mpsc::Sender<io::Result<Bytes>>;

const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];
const REFUSES: &[Reaction] = &[Reaction::Early; 100];

/// Returns a chunk. Four of them exceed the bound.
fn piece() -> Bytes {
    Bytes::from(vec![b'x'; 20 * 1024])
}

fn client<B>(protocol: Protocol) -> Client<HttpConnector, B>
where
    B: Body<Data: Send> + Send,
{
    Client::builder(TokioExecutor::new())
        .http2_only(matches!(protocol, Protocol::Http2))
        .build_http()
}

/// Does the same as [`upload`] for a body that may fail.
fn fallible() -> (Sender, Fallible) {
    let (sender, mut receiver) = mpsc::channel(1);
    let pieces = stream::poll_fn(move |cx| receiver.poll_recv(cx));
    let frames = futures::StreamExt::map(pieces, |piece: io::Result<_>| piece.map(Frame::data));
    (sender, BoxBody::new(StreamBody::new(frames)))
}

/// Sends an upload that `feed` provides. Returns the status and the number of attempts.
async fn send<S, B>(
    server: &Server,
    stack: S,
    body: B,
    feed: impl Future<Output = ()>,
) -> (u16, usize)
where
    S: Service<Request<B>, Response = Response<Incoming>, Error: Debug>,
{
    let (request, call) = server.request(body);
    let (response, ()) = join!(stack.oneshot(request), feed);
    let status = response.map_or(0, |response| {
        assert!(response.extensions().get::<Trail>().is_some());
        response.status().as_u16()
    });
    (status, call.trail().attempts().len())
}

/// Sends the first chunk, and waits until the attempt after the first rejection has begun.
async fn begins_twice<T>(server: &Server, sender: &mpsc::Sender<T>, first: T) {
    let began = server.open.borrow().began;
    assert!(sender.send(first).await.is_ok());
    server.until(|open| open.began >= began + 2).await;
}

async fn sends_something_small<S, B>(server: &Server, stack: S, body: B)
where
    S: Service<Request<B>, Response = Response<Incoming>, Error: Debug>,
{
    let request = Request::post(format!("{}/small", server.addresses[0]));
    let response = stack.oneshot(request.body(body).unwrap()).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "small");
}

/// Calls `$visit` for both protocols and each of these stacks over a client, with `$map` outside.
macro_rules! each {
    ($reactions:expr, $map:expr, $visit:ident; $([$($layer:ident)+])+) => {$(
        for protocol in PROTOCOLS {
            let server = Server::start_with(protocol, $reactions).await;
            let client = client(protocol);
            let stack = || {
                let layers = ServiceBuilder::new().layer($map)$(.layer($layer(&server)))+;
                layers.service(client.clone())
            };
            $visit(&server, &stack).await;
            server.until(|open| open.bodies == 0).await;
            drop(client);
            server.until(|open| open.connections == 0).await;
        }
    )+};
}

/// Sends eight uploads that outgrow the bound, and a small request after each.
async fn outgrow<S, B, T>(
    server: &Server,
    stack: &impl Fn() -> S,
    upload: fn() -> (mpsc::Sender<T>, B),
    piece: fn() -> T,
    small: fn() -> B,
) where
    S: Service<Request<B>, Response = Response<Incoming>, Error: Debug>,
{
    for _ in 0..8 {
        let (sender, body) = upload();
        let feed = async {
            begins_twice(server, &sender, piece()).await;
            for _ in 0..9 {
                assert!(sender.send(piece()).await.is_ok());
            }
            drop(sender);
        };
        let sent = send(server, stack(), body, feed).await;
        assert!(sent.0 == 429 && sent.1 >= 2, "{sent:?}");
        sends_something_small(server, stack(), small()).await;
    }
}

async fn outgrow_fallible<S>(server: &Server, stack: &impl Fn() -> S)
where
    S: Service<Request<Fallible>, Response = Response<Incoming>, Error: Debug>,
{
    outgrow(server, stack, fallible, || Ok(piece()), small_fallible).await;
}

async fn outgrow_infallible<S>(server: &Server, stack: &impl Fn() -> S)
where
    S: Service<Request<Boxed>, Response = Response<Incoming>, Error: Debug>,
{
    outgrow(server, stack, upload, piece, small).await;
}

fn small() -> Boxed {
    Full::from("small").boxed()
}

fn small_fallible() -> Fallible {
    small().map_err(|never| match never {}).boxed()
}

#[tokio::test]
async fn uploads_that_outgrow_the_bound_leave_nothing_open() {
    each!(REFUSES, Identity::new(), outgrow_fallible;
        [backoff] [keys] [fallback] [backoff keys] [keys backoff] [backoff keys fallback]);
    let map = || MapRequestBodyLayer::new(ReplayBody::new);
    each!(REFUSES, map(), outgrow_fallible;
        [backoff] [keys backoff] [fallback keys backoff]);
}

#[tokio::test]
async fn uploads_that_cannot_fail_leave_nothing_open_if_the_server_reads_on() {
    each!(REFUSES, Identity::new(), outgrow_infallible;
        [backoff] [keys] [fallback] [backoff keys] [keys backoff] [backoff keys fallback]);
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn uploads_of_axum_that_outgrow_the_bound_leave_nothing_open() {
    let map = || MapRequestBodyLayer::new(axum::body::Body::new);
    each!(REFUSES, map(), outgrow_infallible;
        [backoff] [keys backoff] [fallback keys backoff]);
}

/// Sends a body of 50 kB that fails during the second attempt.
async fn fail_later<S>(server: &Server, stack: &impl Fn() -> S)
where
    S: Service<Request<Fallible>, Response = Response<Incoming>, Error: Debug>,
{
    for _ in 0..8 {
        let (sender, body) = fallible();
        let feed = async {
            begins_twice(server, &sender, Ok(piece())).await;
            sender.send(Ok(piece())).await.unwrap();
            sender.send(Err(io::Error::other("no more"))).await.unwrap();
        };
        let sent = send(server, stack(), body, feed).await;
        assert!(sent.1 >= 2, "{sent:?}");
        sends_something_small(server, stack(), small_fallible()).await;
    }
}

#[tokio::test]
async fn uploads_whose_source_fails_in_the_second_attempt_leave_nothing_open() {
    const REFUSES_ONCE: &[Reaction] = &[Reaction::Early];
    each!(REFUSES_ONCE, Identity::new(), fail_once;
        [backoff] [keys] [fallback] [backoff keys] [keys backoff] [fallback keys backoff]);
    each!(REFUSES, Identity::new(), fail_later; [backoff] [keys backoff]);
    each!(REFUSES, MapRequestBodyLayer::new(ReplayBody::new), fail_later;
        [backoff] [keys backoff]);
}

/// Does the same as [`fail_later`] if the second attempt waits for the complete body.
async fn fail_once<S>(server: &Server, stack: &impl Fn() -> S)
where
    S: Service<Request<Fallible>, Response = Response<Incoming>, Error: Debug>,
{
    let (sender, body) = fallible();
    let feed = async {
        begins_twice(server, &sender, Ok(piece())).await;
        sender.send(Ok(piece())).await.unwrap();
        sender.send(Err(io::Error::other("no more"))).await.unwrap();
    };
    assert_eq!(send(server, stack(), body, feed).await, (0, 2));
}

/// The caller's upload stalls when the response to the second attempt arrives.
async fn stall<S>(server: &Server, stack: &impl Fn() -> S)
where
    S: Service<Request<Fallible>, Response = Response<Incoming>, Error: Debug>,
{
    let (sender, body) = fallible();
    let feed = begins_twice(server, &sender, Ok(piece()));
    assert_eq!(send(server, stack(), body, feed).await, (200, 2));
    // The one open body belongs to the completed attempt, and the caller still provides it.
    server.until(|open| open.bodies == 1).await;
    assert!(!sender.is_closed());
}

#[tokio::test]
async fn rejected_upload_ends_with_its_call_though_the_callers_upload_stalls() {
    const REACTIONS: &[Reaction] = &[Reaction::Early, Reaction::AnswerEarly];
    each!(REACTIONS, Identity::new(), stall;
        [backoff] [keys] [fallback] [backoff keys] [keys backoff] [fallback keys backoff]);
    each!(REACTIONS, MapRequestBodyLayer::new(ReplayBody::new), stall;
        [backoff] [keys backoff] [fallback keys backoff]);
}

/// The caller drops the call during the second attempt.
async fn leave<S>(server: &Server, stack: &impl Fn() -> S)
where
    S: Service<Request<Fallible>, Response = Response<Incoming>, Error: Debug>,
{
    let (sender, body) = fallible();
    let (request, _) = server.request(body);
    tokio::select! {
        response = stack().oneshot(request) => panic!("{response:?}"),
        () = begins_twice(server, &sender, Ok(piece())) => {}
    }
    server.until(|open| open.bodies == 0).await;
    sender.closed().await;
}

#[tokio::test]
async fn rejected_upload_ends_when_its_call_is_dropped() {
    const REACTIONS: &[Reaction] = &[Reaction::Early];
    each!(REACTIONS, Identity::new(), leave;
        [backoff] [keys] [fallback] [backoff keys] [keys backoff] [fallback keys backoff]);
    each!(REACTIONS, MapRequestBodyLayer::new(ReplayBody::new), leave;
        [backoff] [keys backoff] [fallback keys backoff]);
}

fn defaults(_: &Server) -> BackoffLayer {
    BackoffLayer::new()
}

/// Sends three megabytes in chunks of 64 KiB, all but the first at once.
async fn send_much<S>(server: &Server, stack: &impl Fn() -> S)
where
    S: Service<Request<Fallible>, Response = Response<Incoming>, Error: Debug>,
{
    for _ in 0..3 {
        let (sender, body) = fallible();
        let piece = || Ok(Bytes::from(vec![b'x'; 64 * 1024]));
        let feed = async {
            begins_twice(server, &sender, piece()).await;
            for _ in 0..47 {
                sender.send(piece()).await.unwrap();
            }
            drop(sender);
        };
        let sent = send(server, stack(), body, feed).await;
        assert!(sent.0 == 429 && sent.1 >= 2, "{sent:?}");
    }
}

#[tokio::test]
async fn three_megabytes_with_the_default_settings_leave_nothing_open() {
    each!(REFUSES, Identity::new(), send_much; [defaults] [defaults keys] [keys defaults]);
}
