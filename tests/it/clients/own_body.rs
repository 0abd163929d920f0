//! Clients that accept only their own body type, which is built from bytes or from any body.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_429::{
    BackoffLayer, FallbackLayer, KeyPool, KeyRotationLayer,
    replay::ReplayBody,
    trail::{Action, StopReason, Trail},
};
use tower_http::map_request_body::MapRequestBodyLayer;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

const MIB: usize = 1024 * 1024;

/// The body type of a client. A program can build it only from bytes or from any body.
struct OwnBody(UnsyncBoxBody<Bytes, BoxError>);

impl OwnBody {
    fn from_bytes(bytes: Bytes) -> Self {
        Self::from_any(Full::new(bytes))
    }

    fn from_any<B>(body: B) -> Self
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self(body.map_err(Into::into).boxed_unsync())
    }

    /// Returns a body of chunks of 64 KiB, each of which is pending at the first poll.
    fn streaming(bytes: &Bytes) -> Self {
        let pieces = bytes.chunks(64 * 1024).map(|piece| bytes.slice_ref(piece));
        let pieces = stream::iter(pieces.collect::<Vec<_>>()).then(async |piece| {
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(Frame::data(piece))
        });
        Self::from_any(StreamBody::new(Box::pin(pieces)))
    }
}

impl Body for OwnBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Returns bytes that do not repeat, so that a lost or duplicated chunk is detected.
fn bytes(length: usize) -> Bytes {
    let words = (0..length as u64 / 8).flat_map(u64::to_be_bytes);
    words.collect()
}

/// The bodies that a client sent.
type Received = Arc<Mutex<Vec<Bytes>>>;

/// Returns a client that records the sent bodies. Its provider rejects the first request.
fn client(
    received: &Received,
) -> impl Service<Request<OwnBody>, Response = Response<String>, Error = BoxError, Future: Send>
+ Clone
+ Send
+ 'static {
    let received = Arc::clone(received);
    service_fn(move |request: Request<OwnBody>| {
        let received = Arc::clone(&received);
        async move {
            let body = request.into_body().collect().await?.to_bytes();
            let mut received = received.lock().unwrap();
            received.push(body);
            let status = if received.len() == 1 { 429 } else { 200 };
            let response = Response::builder().status(status);
            Ok(response.header("retry-after-ms", "1").body(String::new())?)
        }
    })
}

/// Sends a body through the three layers. Returns the last response and the bodies that the client sent.
async fn send<S>(client: S, received: Received, body: OwnBody) -> (Response<String>, Vec<Bytes>)
where
    S: Service<Request<ReplayBody<OwnBody>>, Response = Response<String>, Error = BoxError> + Clone,
{
    let stack = ServiceBuilder::new()
        .layer(MapRequestBodyLayer::new(ReplayBody::new))
        .layer(FallbackLayer::new(["small"]))
        .layer(BackoffLayer::new())
        .layer(KeyRotationLayer::new(KeyPool::new(["one"]).unwrap()))
        .service(client);
    let request = Request::post("http://provider.example/").body(body);
    let response = stack.oneshot(request.unwrap()).await.unwrap();
    let received = received.lock().unwrap().clone();
    (response, received)
}

/// Sends through a client whose body is built from any body.
async fn send_any(body: OwnBody) -> (Response<String>, Vec<Bytes>) {
    let received = Received::default();
    let map = MapRequestBodyLayer::new(OwnBody::from_any::<ReplayBody<OwnBody>>);
    send(map.layer(client(&received)), received, body).await
}

/// Sends through a client whose body is built from bytes only.
async fn send_bytes(body: OwnBody) -> (Response<String>, Vec<Bytes>) {
    let received = Received::default();
    let client = client(&received);
    let client = service_fn(move |request: Request<ReplayBody<OwnBody>>| {
        let client = client.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = match body.into_inner() {
                Ok(body) => body,
                Err(body) => OwnBody::from_bytes(body.collect().await?.to_bytes()),
            };
            client.oneshot(Request::from_parts(head, body)).await
        }
    });
    send(client, received, body).await
}

#[tokio::test(start_paused = true)]
async fn own_body_over_the_bound_arrives_completely_and_once() {
    let large = bytes(3 * MIB);
    for (response, received) in [
        send_any(OwnBody::from_bytes(large.clone())).await,
        send_any(OwnBody::streaming(&large)).await,
        send_bytes(OwnBody::from_bytes(large.clone())).await,
        send_bytes(OwnBody::streaming(&large)).await,
    ] {
        assert_eq!(response.status(), 429);
        assert!(received == [large.clone()], "{} sends", received.len());
        let attempts = response.extensions().get::<Trail>().unwrap().attempts();
        let mut steps = attempts[0].steps.iter();
        let too_large = Action::Return(StopReason::BodyTooLarge);
        assert!(steps.any(|step| step.action == too_large), "{attempts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn own_body_within_the_bound_arrives_completely_each_time() {
    let small = bytes(MIB);
    for (response, received) in [
        send_any(OwnBody::from_bytes(small.clone())).await,
        send_any(OwnBody::streaming(&small)).await,
        send_bytes(OwnBody::from_bytes(small.clone())).await,
        send_bytes(OwnBody::streaming(&small)).await,
    ] {
        assert_eq!(response.status(), 200);
        let twice = [small.clone(), small.clone()];
        assert!(received == twice, "{} sends", received.len());
    }
}

#[tokio::test]
async fn own_body_that_no_layer_has_read_keeps_its_type() {
    let large = bytes(3 * MIB);
    let body = ReplayBody::new(OwnBody::streaming(&large)).into_inner();
    let body = body.expect("the same body").collect().await.unwrap();
    assert!(body.to_bytes() == large);
}
