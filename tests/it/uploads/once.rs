//! A body that is too large to be recorded, or that fails, is sent once.

use std::{fmt::Debug, io};

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use tokio::join;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_429::{
    BackoffLayer, FallbackLayer,
    fallback::Target,
    replay::ReplayBody,
    trail::{Action, Attempt, StopReason, Trail},
};
use tower_http::map_request_body::MapRequestBodyLayer;

use super::{
    backoff, each_single, each_stack, each_triple, fallback, keys,
    server::{Event, Reaction, Server},
};
use crate::sockets::{Boxed, hyper_client, upload};

/// Returns a chunk. Two of them exceed the bound.
fn piece() -> Bytes {
    Bytes::from(vec![b'x'; 40 * 1024])
}

/// Returns why the layers returned the attempt.
fn whys(attempt: &Attempt) -> Vec<StopReason> {
    let why = |action| match action {
        Action::Return(why) => Some(why),
        _ => None,
    };
    let steps = attempt.steps.iter();
    steps.filter_map(|step| why(step.action)).collect()
}

/// Asserts that the body arrives completely and once, and that each layer reports why it did not send again.
async fn is_sent_once<S>(name: &str, mut server: Server, client: S, body: Boxed, layers: usize)
where
    S: Service<Request<Boxed>, Response = Response<Incoming>, Error: Debug>,
{
    let (request, _) = server.request(body);
    let response = client.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 429, "{name}");
    server.saw(Event::Began(0)).await;
    let (_, received) = server.ended().await;
    assert_eq!(received.len(), 3 * piece().len(), "{name}");
    let attempts = response.extensions().get::<Trail>().unwrap().attempts();
    let [only] = attempts.as_slice() else {
        panic!("{name}: {attempts:?}");
    };
    assert_eq!(whys(only), vec![StopReason::BodyTooLarge; layers], "{name}");
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "an answer", "{name}");
}

/// Returns a body of unknown length that consists of three chunks.
fn streamed() -> Boxed {
    let (sender, body) = upload();
    tokio::spawn(async move {
        for _ in 0..3 {
            sender.send(piece()).await.unwrap();
        }
    });
    body
}

fn in_memory() -> Boxed {
    Full::from(piece().repeat(3)).boxed()
}

#[tokio::test(start_paused = true)]
async fn body_over_the_bound_is_sent_once_and_each_layer_says_why() {
    for body in [streamed, in_memory] {
        each_single!(
            &[Reaction::Late],
            async |name, server, layers: ServiceBuilder<_>| {
                let client = layers.service(hyper_client());
                is_sent_once(name, server, client, body(), 1).await;
            }
        );
        each_triple!(
            &[Reaction::Late],
            async |name, server, layers: ServiceBuilder<_>| {
                let client = layers.service(hyper_client());
                is_sent_once(name, server, client, body(), 3).await;
            }
        );
        each_triple!(
            &[Reaction::Late],
            async |name, server, layers: ServiceBuilder<_>| {
                let client = layers.service(hyper_client());
                let client = MapRequestBodyLayer::new(ReplayBody::new).layer(client);
                is_sent_once(name, server, client, body(), 3).await;
            }
        );
    }
}

/// The first attempt is rejected while the body is within the bound. During the second attempt it outgrows the bound.
async fn outgrows_the_bound<S>(name: &str, mut server: Server, client: S)
where
    S: Service<Request<Boxed>, Response = Response<Incoming>, Error: Debug>,
{
    let (sender, body) = upload();
    let (request, _) = server.request(body);
    let feed = async {
        sender.send(piece()).await.unwrap();
        server.saw(Event::Began(0)).await;
        server.saw(Event::Began(1)).await;
        sender.send(piece()).await.unwrap();
        sender.send(piece()).await.unwrap();
        drop(sender);
    };
    let (response, ()) = join!(client.oneshot(request), feed);
    let response = response.unwrap();
    assert_eq!(response.status(), 429, "{name}");
    let (number, received) = server.ended().await;
    assert_eq!((number, received.len()), (1, 3 * piece().len()), "{name}");
    let attempts = response.extensions().get::<Trail>().unwrap().attempts();
    let [_, last] = attempts.as_slice() else {
        panic!("{name}: {attempts:?}");
    };
    let whys = whys(last);
    assert!(
        !whys.is_empty() && whys.iter().all(|why| *why == StopReason::BodyTooLarge),
        "{name}: {whys:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn body_that_outgrows_the_bound_after_a_retry_is_sent_no_third_time() {
    let reactions = &[Reaction::Early, Reaction::Late];
    each_single!(
        reactions,
        async |name, server, layers: ServiceBuilder<_>| {
            outgrows_the_bound(name, server, layers.service(hyper_client())).await;
        }
    );
    each_triple!(
        reactions,
        async |name, server, layers: ServiceBuilder<_>| {
            outgrows_the_bound(name, server, layers.service(hyper_client())).await;
        }
    );
}

// === A body that fails ===

/// Returns a body of one chunk and an error.
fn failing() -> BoxBody<Bytes, io::Error> {
    let frames = [Ok(Frame::data(piece())), Err(io::Error::other("no more"))];
    BoxBody::new(StreamBody::new(stream::iter(frames)))
}

async fn fails_once<L>(layer: L)
where
    L: Layer<Failing, Service: Service<Request<BoxBody<Bytes, io::Error>>, Error: Debug>>,
{
    let server = Server::start(&[]).await;
    let (request, call) = server.request(failing());
    let client = layer.layer(hyper_client());
    assert!(client.oneshot(request).await.is_err());
    let attempts = call.trail().attempts();
    let [only] = attempts.as_slice() else {
        panic!("{attempts:?}");
    };
    assert_eq!(
        (only.status, whys(only)),
        (None, vec![StopReason::BodyFailed])
    );
}

type Failing = Client<HttpConnector, BoxBody<Bytes, io::Error>>;

#[tokio::test(start_paused = true)]
async fn failed_body_is_not_retried_even_if_errors_of_the_client_are() {
    fails_once(BackoffLayer::new().on_error(|_: &_| true)).await;
    let elsewhere = Target::same_model_at("http://127.0.0.1:1").unwrap();
    fails_once(FallbackLayer::new([elsewhere]).on_error(|_: &_| true)).await;
}
