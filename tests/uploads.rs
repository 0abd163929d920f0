//! Refusals and uploads over real sockets: a refusal that comes while the upload is still under way,
//! and a body that is too large to be kept.
//!
//! The clock is paused: it goes on only when nothing is left to do but to wait.

mod common;

use std::{
    convert::Infallible,
    fmt::Debug,
    io, iter,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use common::{Boxed, hyper_client, upload};
use futures::stream;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioIo,
};
use tokio::{join, net::TcpListener, sync::mpsc, task::yield_now};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_429::{
    BackoffLayer, Call, FallbackLayer, KeyPool, KeyRotationLayer,
    fallback::Target,
    replay::ReplayBody,
    trail::{Action, Attempt, Trail, Why},
};
use tower_http::map_request_body::MapRequestBodyLayer;

/// What the server does with its requests, from the first on; the rest it answers.
#[derive(Clone, Copy, Debug)]
enum Reaction {
    /// Refuses as soon as it has a piece of the body, and reads on.
    Early,
    /// Refuses when it has the whole body.
    Late,
}

/// What the server has of a request.
#[derive(Debug, PartialEq)]
enum Event {
    /// The first piece of its body.
    Began(usize),
    /// All of its body.
    Ended(usize, String),
}

struct Server {
    /// Of one server; two origins.
    addresses: [String; 2],
    events: mpsc::UnboundedReceiver<Event>,
}

impl Server {
    async fn start(reactions: &'static [Reaction]) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let requests = Arc::<AtomicUsize>::default();
        let mut addresses = [String::new(), String::new()];
        for address in &mut addresses {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            *address = format!("http://{}", listener.local_addr().unwrap());
            let (sender, requests) = (sender.clone(), requests.clone());
            tokio::spawn(async move {
                loop {
                    let (socket, _) = listener.accept().await.unwrap();
                    let (sender, requests) = (sender.clone(), requests.clone());
                    let answer = service_fn(move |request| {
                        let number = requests.fetch_add(1, Ordering::SeqCst);
                        answer(request, number, reactions.get(number), sender.clone())
                    });
                    let socket = TokioIo::new(socket);
                    tokio::spawn(http1::Builder::new().serve_connection(socket, answer));
                }
            });
        }
        Self { addresses, events }
    }

    fn request<B>(&self, body: B) -> (Request<B>, Call) {
        let call = Call::new();
        let request = Request::post(format!("{}/v1/chat", self.addresses[0]))
            .header("content-type", "application/json")
            .extension(call.clone())
            .body(body)
            .unwrap();
        (request, call)
    }

    async fn saw(&mut self, event: Event) {
        assert_eq!(self.events.recv().await, Some(event));
    }

    /// The next body that came in whole, of whichever request.
    async fn ended(&mut self) -> (usize, String) {
        match self.events.recv().await {
            Some(Event::Ended(number, body)) => (number, body),
            other => panic!("{other:?}"),
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    number: usize,
    reaction: Option<&Reaction>,
    events: mpsc::UnboundedSender<Event>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut body = request.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    events.send(Event::Began(number)).unwrap();
    let rest = async move {
        // Where the body breaks off, nothing is said.
        if let Ok(rest) = body.collect().await {
            let whole = [first, rest.to_bytes()].concat();
            let _ = events.send(Event::Ended(number, String::from_utf8(whole).unwrap()));
        }
    };
    let response = Response::builder();
    let response = match reaction {
        Some(Reaction::Early) => {
            tokio::spawn(rest);
            response.status(429).header("retry-after-ms", "1")
        }
        Some(Reaction::Late) => {
            rest.await;
            response.status(429).header("retry-after-ms", "1")
        }
        None => {
            rest.await;
            response
        }
    };
    Ok(response.body(Full::from("an answer")).unwrap())
}

// === The layers, each with enough to go on with, but for what the body allows ===

const REPLAY_LIMIT: u64 = 64 * 1024;

type Waits = fn(u64) -> iter::Repeat<Duration>;

fn backoff(_: &Server) -> BackoffLayer<Waits> {
    BackoffLayer::new()
        .attempts(2)
        .delays((|_| iter::repeat(Duration::from_millis(1))) as Waits)
        .replay_limit(REPLAY_LIMIT)
}

fn keys(_: &Server) -> KeyRotationLayer {
    KeyRotationLayer::new(KeyPool::new(["one", "two"]).unwrap()).replay_limit(REPLAY_LIMIT)
}

/// To another origin with the body as it is, so that it need not be read before.
fn fallback(server: &Server) -> FallbackLayer {
    FallbackLayer::new([Target::same_model_at(&server.addresses[1]).unwrap()])
        .replay_limit(REPLAY_LIMIT)
}

/// Calls `$visit` with each of these stacks, for a server that reacts by `$reactions`.
macro_rules! each_stack {
    ($reactions:expr, $visit:expr; $([$($layer:ident)+])+) => {$({
        let server = Server::start($reactions).await;
        let layers = ServiceBuilder::new()$(.layer($layer(&server)))+;
        $visit(stringify!($($layer)+), server, layers).await;
    })+};
}

macro_rules! each_single {
    ($reactions:expr, $visit:expr) => {
        each_stack!($reactions, $visit; [backoff] [keys] [fallback])
    };
}

macro_rules! each_triple {
    ($reactions:expr, $visit:expr) => {
        each_stack!($reactions, $visit;
            [fallback backoff keys] [fallback keys backoff] [backoff fallback keys]
            [backoff keys fallback] [keys fallback backoff] [keys backoff fallback])
    };
}

// === A refusal during the upload ===

const PIECES: [&str; 3] = [
    r#"{"text": "one, "#,
    "two, ",
    r#"three", "model": "large"}"#,
];

/// The upload goes on only after the attempt after `refusals` has begun.
async fn is_retried_during_the_upload<S, R>(
    name: &str,
    mut server: Server,
    client: S,
    refusals: usize,
) where
    S: Service<Request<Boxed>, Response = Response<R>, Error: Debug>,
{
    let (sender, body) = upload();
    let (request, _) = server.request(body);
    let feed = async {
        let [first, rest @ ..] = PIECES;
        sender.send(first.into()).await.unwrap();
        for number in 0..=refusals {
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
    assert_eq!(trail.attempts().len(), refusals + 1, "{name}");

    // The refused uploads ended as well, each whole, so their connections are free again.
    let mut ended = Vec::new();
    for _ in 0..=refusals {
        let (number, body) = server.ended().await;
        assert_eq!(body, PIECES.concat(), "{name}, request {number}");
        ended.push(number);
    }
    ended.sort_unstable();
    assert!(ended.into_iter().eq(0..=refusals), "{name}");
}

#[tokio::test(start_paused = true)]
async fn each_layer_retries_a_refusal_that_comes_during_the_upload() {
    each_single!(
        &[Reaction::Early],
        async |name, server, layers: ServiceBuilder<_>| {
            let client = layers.service(hyper_client());
            is_retried_during_the_upload(name, server, client, 1).await;
        }
    );
}

#[tokio::test(start_paused = true)]
async fn stacked_layers_retry_three_refusals_that_come_during_the_upload() {
    each_triple!(
        &[Reaction::Early; 3],
        async |name, server, layers: ServiceBuilder<_>| {
            let client = layers.service(hyper_client());
            is_retried_during_the_upload(name, server, client, 3).await;
        }
    );
}

#[tokio::test(start_paused = true)]
async fn layers_that_share_one_recording_do_so_too() {
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
async fn bodies_of_axum_do_so_too() {
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
async fn bodies_of_reqwest_do_so_too() {
    use reqwest::{Body, Client};
    use tower_429::client::Reqwest;

    each_triple!(
        &[Reaction::Early; 3],
        async |name, server, layers: ServiceBuilder<_>| {
            let client = Client::builder().no_proxy().build().unwrap();
            let client = layers.service(Reqwest::new(client));
            let client = MapRequestBodyLayer::new(Body::wrap::<Boxed>).layer(client);
            is_retried_during_the_upload(name, server, client, 3).await;
        }
    );
}

#[tokio::test(start_paused = true)]
async fn another_model_is_asked_when_the_upload_that_was_refused_has_ended() {
    let mut server = Server::start(&[Reaction::Early]).await;
    let client = FallbackLayer::new(["lesser"]).layer(hyper_client());
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
    // The two requests are on connections of their own, so their events come in any order.
    let mut bodies = Vec::new();
    while bodies.len() < 2 {
        if let Some(Event::Ended(number, body)) = server.events.recv().await {
            bodies.push((number, body));
        }
    }
    bodies.sort_unstable();
    let lesser = PIECES.concat().replace("large", "lesser");
    assert_eq!(bodies, [(0, PIECES.concat()), (1, lesser)]);
}

// === A body over the bound ===

/// Two of them are over the bound.
fn piece() -> Bytes {
    Bytes::from(vec![b'x'; 40 * 1024])
}

/// Why the layers returned the attempt.
fn whys(attempt: &Attempt) -> Vec<Why> {
    let why = |action| match action {
        Action::Return(why) => Some(why),
        _ => None,
    };
    let steps = attempt.steps.iter();
    steps.filter_map(|step| why(step.action)).collect()
}

/// The body arrives whole, once; each layer says why it was not sent again.
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
    assert_eq!(whys(only), vec![Why::BodyTooLarge; layers], "{name}");
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "an answer", "{name}");
}

/// Three pieces that come one after the other, so that nobody knows how many there will be.
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
async fn a_body_over_the_bound_is_sent_once_and_each_layer_says_why() {
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

/// The first attempt is refused while the body fits; on the second it outgrows the bound.
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
        !whys.is_empty() && whys.iter().all(|why| *why == Why::BodyTooLarge),
        "{name}: {whys:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_outgrows_the_bound_after_a_retry_is_sent_whole_and_then_no_more() {
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

/// A piece, and then an error.
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
    assert_eq!((only.status, whys(only)), (None, vec![Why::BodyFailed]));
}

type Failing = Client<HttpConnector, BoxBody<Bytes, io::Error>>;

#[tokio::test(start_paused = true)]
async fn a_body_that_fails_is_not_sent_again_even_where_errors_of_the_client_are() {
    fails_once(BackoffLayer::new().on_error(|_: &_| true)).await;
    let elsewhere = Target::same_model_at("http://127.0.0.1:1").unwrap();
    fails_once(FallbackLayer::new([elsewhere]).on_error(|_: &_| true)).await;
}
