//! Rejections that arrive during the upload.

use std::fmt::Debug;

use http::{Request, Response};
use tokio::{join, task::yield_now};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_429::{FallbackLayer, replay::ReplayBody, trail::Trail};
use tower_http::map_request_body::MapRequestBodyLayer;

use super::{
    backoff, each_single, each_stack, each_triple, fallback, keys,
    server::{Event, Reaction, Server},
};
use crate::sockets::{Boxed, hyper_client, upload};

const PIECES: [&str; 3] = [
    r#"{"text": "one, "#,
    "two, ",
    r#"three", "model": "large"}"#,
];

/// The upload continues only after the attempt that follows `rejections` rejections has begun.
async fn is_retried_during_the_upload<S, R>(
    name: &str,
    mut server: Server,
    client: S,
    rejections: usize,
) where
    S: Service<Request<Boxed>, Response = Response<R>, Error: Debug>,
{
    let (sender, body) = upload();
    let (request, _) = server.request(body);
    let feed = async {
        let [first, rest @ ..] = PIECES;
        sender.send(first.into()).await.unwrap();
        for number in 0..=rejections {
            server.saw(Event::Began(number)).await;
        }
        for piece in rest {
            sender.send(piece.into()).await.unwrap();
        }
        drop(sender);
    };
    let (response, ()) = join!(client.oneshot(request), feed);
    let response = response.unwrap();
    assert_eq!(response.status(), 200, "{name}");
    let trail = response.extensions().get::<Trail>().expect("a trail");
    assert_eq!(trail.attempts().len(), rejections + 1, "{name}");

    // The rejected uploads were also sent completely, so their connections can be reused.
    let mut ended = Vec::new();
    for _ in 0..=rejections {
        let (number, body) = server.ended().await;
        assert_eq!(body, PIECES.concat(), "{name}, request {number}");
        ended.push(number);
    }
    ended.sort_unstable();
    assert!(ended.into_iter().eq(0..=rejections), "{name}");
}

#[tokio::test(start_paused = true)]
async fn each_layer_retries_a_rejection_during_the_upload() {
    each_single!(
        &[Reaction::Early],
        async |name, server, layers: ServiceBuilder<_>| {
            let client = layers.service(hyper_client());
            is_retried_during_the_upload(name, server, client, 1).await;
        }
    );
}

#[tokio::test(start_paused = true)]
async fn stacked_layers_retry_three_rejections_during_the_upload() {
    each_triple!(
        &[Reaction::Early; 3],
        async |name, server, layers: ServiceBuilder<_>| {
            let client = layers.service(hyper_client());
            is_retried_during_the_upload(name, server, client, 3).await;
        }
    );
}

#[tokio::test(start_paused = true)]
async fn layers_that_share_a_recording_retry_a_rejection_during_the_upload() {
    each_triple!(
        &[Reaction::Early; 3],
        async |name, server, layers: ServiceBuilder<_>| {
            let client = layers.service(hyper_client());
            let client = MapRequestBodyLayer::new(ReplayBody::new).layer(client);
            is_retried_during_the_upload(name, server, client, 3).await;
        }
    );
}

#[cfg(feature = "axum")]
#[tokio::test(start_paused = true)]
async fn body_of_axum_is_retried_during_the_upload() {
    use axum::body::Body;

    each_triple!(
        &[Reaction::Early; 3],
        async |name, server, layers: ServiceBuilder<_>| {
            let client = layers.service(hyper_client::<Body>());
            let client = MapRequestBodyLayer::new(Body::new).layer(client);
            is_retried_during_the_upload(name, server, client, 3).await;
        }
    );
}

#[cfg(feature = "reqwest")]
#[tokio::test(start_paused = true)]
async fn body_of_reqwest_is_retried_during_the_upload() {
    use reqwest::{Body, Client};
    use tower_429::client::ReqwestClient;

    each_triple!(
        &[Reaction::Early; 3],
        async |name, server, layers: ServiceBuilder<_>| {
            let client = Client::builder().no_proxy().build().unwrap();
            let client = layers.service(ReqwestClient::new(client));
            let client = MapRequestBodyLayer::new(Body::wrap::<Boxed>).layer(client);
            is_retried_during_the_upload(name, server, client, 3).await;
        }
    );
}

#[tokio::test(start_paused = true)]
async fn fallback_uses_another_model_when_the_rejected_upload_has_ended() {
    let mut server = Server::start(&[Reaction::Early]).await;
    let client = FallbackLayer::new(["backup"]).layer(hyper_client());
    let (sender, body) = upload();
    let (request, call) = server.request(body);
    let feed = async {
        let [first, rest @ ..] = PIECES;
        sender.send(first.into()).await.unwrap();
        server.saw(Event::Began(0)).await;
        while call.trail().attempts().is_empty() {
            yield_now().await;
        }
        for piece in rest {
            sender.send(piece.into()).await.unwrap();
        }
        drop(sender);
    };
    let (response, ()) = join!(client.oneshot(request), feed);
    assert_eq!(response.unwrap().status(), 200);
    // The two requests use separate connections, so their events arrive in any order.
    let mut bodies = Vec::new();
    while bodies.len() < 2 {
        if let Some(Event::Ended(number, body)) = server.events.recv().await {
            bodies.push((number, body));
        }
    }
    bodies.sort_unstable();
    let backup = PIECES.concat().replace("large", "backup");
    assert_eq!(bodies, [(0, PIECES.concat()), (1, backup)]);
}

/// Sends an upload, and then another whose first attempt is rejected, both with one `Call`.
async fn is_retried_after_another_of_its_call<S, R>(name: &str, mut server: Server, client: S)
where
    S: Service<Request<Boxed>, Response = Response<R>, Error: Debug> + Clone,
{
    let (sender, body) = upload();
    let (request, call) = server.request(body);
    let feed = async {
        sender.send(PIECES[0].into()).await.unwrap();
        server.saw(Event::Began(0)).await;
        drop(sender);
    };
    let (response, ()) = join!(client.clone().oneshot(request), feed);
    assert_eq!(response.unwrap().status(), 200, "{name}");
    assert_eq!(server.ended().await, (0, PIECES[0].into()), "{name}");

    let (sender, body) = upload();
    let (mut request, _) = server.request(body);
    request.extensions_mut().insert(call.clone());
    let feed = async {
        let [first, rest @ ..] = PIECES;
        sender.send(first.into()).await.unwrap();
        for number in 1..=2 {
            server.saw(Event::Began(number)).await;
        }
        for piece in rest {
            sender.send(piece.into()).await.unwrap();
        }
        drop(sender);
    };
    let (response, ()) = join!(client.oneshot(request), feed);
    assert_eq!(response.unwrap().status(), 200, "{name}");
    assert_eq!(call.trail().attempts().len(), 2, "{name}");
    let mut ended = [server.ended().await, server.ended().await];
    ended.sort_unstable();
    let whole = [1, 2].map(|number| (number, PIECES.concat()));
    assert_eq!(ended, whole, "{name}");
}

#[tokio::test(start_paused = true)]
async fn rejected_upload_continues_after_another_request_of_its_call() {
    each_stack!(
        &[Reaction::AnswerEarly, Reaction::Early],
        async |name, server, layers: ServiceBuilder<_>| {
            let client = layers.service(hyper_client());
            is_retried_after_another_of_its_call(name, server, client).await;
        };
        [backoff] [keys] [fallback] [fallback keys backoff] [backoff fallback keys]
    );
}
