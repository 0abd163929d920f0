//! Each layer, and each stack of two and three in every order, keeps the request, response and error types of the inner
//! service, and requires only the bounds that it needs.
//!
//! Compiling this file proves most of it, because the generic functions know only the bounds of their service.

use std::{
    cell::Cell,
    future::{Ready, ready},
    marker::PhantomData,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{
    BodyExt, Empty, Full,
    combinators::{BoxBody, UnsyncBoxBody},
};
use hyper::body::Incoming;
use tower::{Layer, Service, ServiceExt, util::BoxCloneSyncService};
use tower_429::{
    BackoffLayer, FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer, backoff,
    fallback::{self, Target},
    inspect::{Inspect, InspectedBody},
    key_rotation,
    replay::RequestBody,
};

fn backoff() -> BackoffLayer {
    BackoffLayer::new().jitter(0, Duration::ZERO)
}

fn keys() -> KeyRotationLayer {
    KeyRotationLayer::new(KeyPool::new(["one", "two"]).unwrap())
}

/// Returns a layer whose target needs no model, so that it serves every body.
fn fallback() -> FallbackLayer {
    FallbackLayer::new([Target::same_model_at("http://other.example").unwrap()])
}

/// Calls `$visit` with each of the 15 stacks, named from outer to inner, and with `$inner`.
macro_rules! each_stack {
    ($visit:expr, $inner:expr) => {
        each_stack!(@ $visit, $inner;
            (backoff) (keys) (fallback)
            (backoff keys) (keys backoff) (backoff fallback)
            (fallback backoff) (keys fallback) (fallback keys)
            (backoff keys fallback) (backoff fallback keys) (keys backoff fallback)
            (keys fallback backoff) (fallback backoff keys) (fallback keys backoff))
    };
    (@ $visit:expr, $inner:expr; $(($($layer:ident)+))+) => {
        [$($visit(stringify!($($layer)+), ($($layer(),)+), $inner)),+]
    };
}

// === The types, for any service ===

/// The bounds here are all that the stacks may require of a service.
fn every_stack_has_the_types_of<S, B, R>(inner: &S)
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: RequestBody,
    R: Body,
{
    each_stack!(has_the_types_of::<S, B, R>, inner);
}

fn has_the_types_of<S, B, R>(
    _: &str,
    layer: impl Layer<S, Service: Service<Request<B>, Response = Response<R>, Error = S::Error> + Clone>,
    inner: &S,
) where
    S: Service<Request<B>> + Clone,
{
    drop(layer.layer(inner.clone()).clone());
}

fn every_stack_keeps_the_response_type_of_inspect<S, B, R>(inner: &S)
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: RequestBody,
    R: Body<Data = Bytes> + Unpin,
{
    let inspected = InspectLayer::new().layer(inner.clone());
    each_stack!(
        has_the_types_of::<Inspect<S>, B, InspectedBody<R>>,
        &inspected
    );
}

/// A stack is `Send` and `Sync` if its service is.
fn every_stack_may_be_boxed<S, B, R>(inner: &S)
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: RequestBody<Source: Body<Error: Send> + Send> + Send + 'static,
    R: Body + Send + 'static,
{
    each_stack!(may_be_boxed::<S, B, R>, inner);
}

fn may_be_boxed<S, B, R>(
    _: &str,
    layer: impl Layer<
        S,
        Service: Service<
            Request<B>,
            Response = Response<R>,
            Error = S::Error,
            Future: Send + 'static,
        > + Clone
                     + Send
                     + Sync
                     + 'static,
    >,
    inner: &S,
) -> BoxCloneSyncService<Request<B>, Response<R>, S::Error>
where
    S: Service<Request<B>> + Clone,
{
    BoxCloneSyncService::new(layer.layer(inner.clone()))
}

// === Services ===

/// An error that implements neither `std::error::Error` nor `Debug`.
struct Down;

/// Rejects the first request. The service, its future and its error are not `Send`.
struct Local<R> {
    sent: Rc<Cell<usize>>,
    response: PhantomData<fn() -> R>,
}

type LocalError = (Down, PhantomData<Rc<()>>);

impl<R> Local<R> {
    fn new() -> Self {
        Self {
            sent: Rc::default(),
            response: PhantomData,
        }
    }
}

impl<R> Clone for Local<R> {
    fn clone(&self) -> Self {
        Self {
            sent: self.sent.clone(),
            ..Self::new()
        }
    }
}

impl<B, R: Default> Service<Request<B>> for Local<R> {
    type Response = Response<R>;
    type Error = LocalError;
    type Future = Ready<Result<Response<R>, LocalError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LocalError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let sent = self.sent.replace(self.sent.get() + 1);
        let mut response = Response::new(R::default());
        if sent == 0 {
            *response.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
        }
        ready(Ok(response))
    }
}

/// A service of any types that is never called. It is `Send` and `Sync` if `T` is.
struct Other<R, T>(PhantomData<(fn() -> R, T)>);

impl<R, T> Clone for Other<R, T> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<B, R, T> Service<Request<B>> for Other<R, T> {
    type Response = Response<R>;
    type Error = (Down, PhantomData<T>);
    type Future = Ready<Result<Response<R>, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Err((Down, PhantomData)))
    }
}

/// A service that is `Send` and `Sync`.
type Free<R> = Other<R, ()>;
/// A service that is neither `Send` nor `Sync`.
type Bound<R> = Other<R, Rc<()>>;

// === The tests ===

/// An error of a body that implements no trait.
struct BodyError;

type Boxed = BoxBody<Bytes, BodyError>;
type Unsync = UnsyncBoxBody<Bytes, BodyError>;

/// Calls `$proof` for each request body with each response body, in a function that does not run, because compiling it
/// is the proof.
macro_rules! each_pair_of_bodies {
    ($proof:ident, $service:ident) => {{
        #[allow(dead_code)]
        fn proof() {
            each_pair_of_bodies!(@ $proof, $service;
                Full<Bytes>, Empty<Bytes>, String, Boxed, Unsync);
            #[cfg(feature = "axum")]
            each_pair_of_bodies!(@ $proof, $service; axum::body::Body);
            #[cfg(feature = "reqwest")]
            each_pair_of_bodies!(@ $proof, $service; reqwest::Body);
        }
    }};
    (@ $proof:ident, $service:ident; $($body:ty),+) => {$(
        each_pair_of_bodies!(@@ $proof, $service, $body;
            Incoming, axum::body::Body, reqwest::Body);
    )+};
    (@@ $proof:ident, $service:ident, $body:ty; $($response:ty),+) => {$(
        $proof::<$service<$response>, $body, $response>(&Other(PhantomData));
    )+};
}

#[test]
fn every_stack_has_the_types_of_the_client_for_each_pair_of_bodies() {
    each_pair_of_bodies!(every_stack_has_the_types_of, Free);
    each_pair_of_bodies!(every_stack_keeps_the_response_type_of_inspect, Free);
}

#[test]
fn service_that_is_not_send_is_accepted() {
    each_pair_of_bodies!(every_stack_has_the_types_of, Bound);
    each_pair_of_bodies!(every_stack_keeps_the_response_type_of_inspect, Bound);
}

#[test]
fn every_stack_fits_a_boxed_clone_sync_service_if_the_client_does() {
    each_pair_of_bodies!(every_stack_may_be_boxed, Free);
}

#[test]
fn futures_have_names_and_are_send_if_those_of_the_client_are() {
    type InBackoff<S, R> =
        backoff::ResponseFuture<S, Boxed, R, backoff::Exponential, backoff::NoErrors>;
    type InKeys<S, R> = key_rotation::ResponseFuture<S, Boxed, R, key_rotation::SendAnyway>;
    type InFallback<S, R> = fallback::ResponseFuture<S, Boxed, R, fallback::NoErrors>;
    fn is_send<T: Send>(_: T) {}
    fn all_are_send<S, R>(inner: &S, request: fn() -> Request<Boxed>)
    where
        S: Service<Request<Boxed>, Response = Response<R>, Future: Send, Error: Send>
            + Clone
            + Send,
        R: Body + Send,
    {
        is_send::<InBackoff<S, R>>(backoff().layer(inner.clone()).call(request()));
        is_send::<InKeys<S, R>>(keys().layer(inner.clone()).call(request()));
        is_send::<InFallback<S, R>>(fallback().layer(inner.clone()).call(request()));
    }
    let request = || Request::new(Boxed::new(Full::from("x").map_err(|never| match never {})));
    all_are_send::<Free<Incoming>, Incoming>(&Other(PhantomData), request);
}

/// Sends a request through a stack. Returns how often the service was called, and the last status.
async fn send<B, R, T>(stack: T, inner: &Local<R>, body: B) -> (usize, u16)
where
    T: Service<Request<B>, Response = Response<R>, Error = LocalError>,
{
    let request = Request::post("http://provider.example/v1/chat")
        .body(body)
        .unwrap();
    let Ok(response) = stack.oneshot(request).await else {
        panic!("it never fails");
    };
    (inner.sent.get(), response.status().as_u16())
}

#[tokio::test(start_paused = true)]
async fn every_stack_retries_every_body_on_one_thread() {
    /// Sends a body of `$body` through each stack, with each response body that can be made.
    macro_rules! sent_again {
        ($($body:expr),+ $(,)?) => {$(
            sent_again!(@ $body; Full<Bytes>);
            sent_again!(@ $body; axum::body::Body);
            sent_again!(@ $body; reqwest::Body);
        )+};
        (@ $body:expr; $response:ty) => {
            for (name, sent) in each_stack!(
                |name, layer, _: ()| {
                    let inner = Local::<$response>::new();
                    let stack = tower::ServiceBuilder::new().layer(layer).service(inner.clone());
                    (name, Box::pin(async move { send(stack, &inner, $body).await }) as Sent)
                },
                ()
            ) {
                assert_eq!(sent.await, (2, 200), "{name}, {}", stringify!($body));
            }
        };
    }
    type Sent = std::pin::Pin<Box<dyn Future<Output = (usize, u16)>>>;

    fn fails_never<E>(body: Full<Bytes>) -> impl Body<Data = Bytes, Error = E> {
        body.map_err(|never| match never {})
    }
    sent_again!(
        Full::<Bytes>::from("x"),
        Empty::<Bytes>::new(),
        String::from("x"),
        Boxed::new(fails_never(Full::from("x"))),
        Unsync::new(fails_never(Full::from("x"))),
    );
    #[cfg(feature = "axum")]
    sent_again!(axum::body::Body::from("x"));
    #[cfg(feature = "reqwest")]
    sent_again!(reqwest::Body::from("x"));
}
