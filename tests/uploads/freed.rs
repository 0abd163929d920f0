//! What a refused upload leaves open at the server: nothing once its call is over.

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
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_429::{BackoffLayer, replay::ReplayBody, trail::Trail};
use tower_http::map_request_body::MapRequestBodyLayer;

use crate::{
    backoff,
    common::{Boxed, upload},
    fallback, keys,
    server::{Protocol, Reaction, Server},
};

type Fallible = BoxBody<Bytes, io::Error>;

const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

/// Four of them are over the bound.
const PIECE: usize = 20 * 1024;

fn piece() -> Bytes {
    Bytes::from(vec![b'x'; PIECE])
}

fn client<B>(protocol: Protocol) -> Client<HttpConnector, B>
where
    B: Body<Data: Send> + Send,
{
    Client::builder(TokioExecutor::new())
        .http2_only(matches!(protocol, Protocol::Http2))
        .build_http()
}

fn fallible(body: Boxed) -> Fallible {
    body.map_err(|never| match never {}).boxed()
}

/// A body that cannot fail, one that can, and one of no type that the layers know.
trait Kind: Sized {
    type Sent: Body<Data = Bytes> + Send;
    fn new(body: Boxed) -> Self::Sent;
}

/// Sends an upload that goes on, by `feed`, once the second attempt has begun; how many attempts it took.
async fn send<S, B, F>(server: &Server, stack: S, body: B, feed: F) -> (u16, usize)
where
    S: Service<Request<B>, Response = Response<Incoming>, Error: Debug>,
    F: Future<Output = ()>,
{
    let (request, _) = server.request(body);
    let (response, ()) = join!(stack.oneshot(request), feed);
    let response = response.unwrap();
    let attempts = response.extensions().get::<Trail>().unwrap().attempts();
    (response.status().as_u16(), attempts.len())
}

/// The first piece, and as many more once the second attempt has begun.
async fn feed(server: &Server, sender: mpsc::Sender<Bytes>, more: usize) {
    let began = server.open.borrow().began;
    sender.send(piece()).await.unwrap();
    server.until(|open| open.began >= began + 2).await;
    for _ in 0..more {
        sender.send(piece()).await.unwrap();
    }
}

async fn sends_something_small<S, B>(server: &Server, stack: S, body: B)
where
    S: Service<Request<B>, Response = Response<Incoming>, Error: Debug>,
{
    let request = Request::post(format!("{}/small", server.addresses[0]));
    let response = stack.oneshot(request.body(body).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "small");
}

/// Eight calls and a small one after each leave nothing open, with this order of layers.
macro_rules! frees_all {
    ($body:expr, $map:expr; $([$($layer:ident)+])+) => {$(
        for protocol in PROTOCOLS {
            let server = Server::start_with(protocol, &[Reaction::Early; 100]).await;
            let client = client(protocol);
            for _ in 0..8 {
                let layers = || ServiceBuilder::new().layer($map)$(.layer($layer(&server)))+;
                let (sender, body) = upload();
                let stack = layers().service(client.clone());
                let sent = send(&server, stack, $body(body), feed(&server, sender, 9)).await;
                assert!(sent.0 == 429 && sent.1 >= 2, "{sent:?}");
                let stack = layers().service(client.clone());
                let small = $body(Full::from("small").boxed());
                sends_something_small(&server, stack, small).await;
            }
            server.until(|open| open.bodies == 0).await;
            drop(client);
            server.until(|open| open.connections == 0).await;
        }
    )+};
}

#[tokio::test]
async fn uploads_that_outgrow_the_bound_leave_nothing_open() {
    frees_all!(fallible, tower::layer::util::Identity::new();
        [backoff] [keys] [fallback] [backoff keys] [keys backoff] [backoff keys fallback]);
}

#[tokio::test]
async fn uploads_that_cannot_fail_leave_nothing_open() {
    frees_all!(|body: Boxed| body, tower::layer::util::Identity::new();
        [backoff] [keys] [fallback] [backoff keys] [keys backoff] [backoff keys fallback]);
}

#[tokio::test]
async fn uploads_of_foreign_bodies_leave_nothing_open() {
    frees_all!(|body: Boxed| body, MapRequestBodyLayer::new(ReplayBody::new);
        [backoff] [keys backoff] [fallback keys backoff]);
}
