//! `ReplayBody` around body types that the crate does not know.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    vec,
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{client::legacy::Error as ClientError, rt::TokioIo};
use tokio::net::TcpListener;
use tower::{Layer, Service, ServiceExt, util::BoxCloneSyncService};
use tower_429::{replay::ReplayBody, trail::Trail};
use tower_http::map_request_body::MapRequestBodyLayer;

use super::{
    boxed_pieces,
    orders::{in_every_order, succeeds},
    provider::{Framing, Provider},
    whole,
};
use crate::sockets::{Boxed, hyper_client};

/// A custom body that knows its length and never has two chunks at once.
struct Upload {
    pieces: vec::IntoIter<Bytes>,
    left: usize,
    is_pending: bool,
}

impl Upload {
    fn new() -> Self {
        let body = whole();
        let pieces: Vec<_> = body
            .chunks(9_001)
            .map(|piece| body.slice_ref(piece))
            .collect();
        Self {
            pieces: pieces.into_iter(),
            left: body.len(),
            is_pending: false,
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.is_pending = !self.is_pending;
        if self.is_pending {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = self.pieces.next();
        self.left -= piece.as_ref().map_or(0, Bytes::len);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

#[tokio::test(start_paused = true)]
async fn custom_body_is_mapped_on_both_sides() {
    for framing in [Framing::Known, Framing::Declared] {
        // A client that does not accept a `ReplayBody`.
        let client = MapRequestBodyLayer::new(UnsyncBoxBody::new).layer(hyper_client());
        in_every_order!(
            MapRequestBodyLayer::new(ReplayBody::new),
            client.clone(),
            async |order, stack| succeeds(order, framing, |_| stack, Upload::new()).await
        );
    }
}

type Outbound = BoxCloneSyncService<Request<Incoming>, Response<Incoming>, ClientError>;

/// Starts a server that forwards requests to `provider` through the stack, and keeps the trails.
async fn proxy(outbound: Outbound, provider: Uri, trails: Arc<Mutex<Vec<Trail>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let (outbound, provider, trails) = (outbound.clone(), provider.clone(), trails.clone());
            let forward = service_fn(move |mut request: Request<Incoming>| {
                *request.uri_mut() = provider.clone();
                request.headers_mut().remove("host");
                let (outbound, trails) = (outbound.clone(), trails.clone());
                async move {
                    let response = outbound.oneshot(request).await?;
                    let trail = response.extensions().get::<Trail>().cloned();
                    trails.lock().unwrap().extend(trail);
                    Ok::<_, ClientError>(response)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), forward));
        }
    });
    address
}

/// Returns a service that sends a request to a proxy and adds the proxy's trail to the response.
fn sent_through_proxy(
    outbound: Outbound,
    provider: &Provider,
) -> impl Service<Request<Boxed>, Response = Response<Incoming>, Error = ClientError> + use<> {
    let provider: Uri = provider.uri.parse().unwrap();
    tower::service_fn(move |mut request: Request<Boxed>| {
        let (outbound, provider) = (outbound.clone(), provider.clone());
        async move {
            let trails = Arc::default();
            let address = proxy(outbound, provider, Arc::clone(&trails)).await;
            *request.uri_mut() = format!("http://{address}/").parse().unwrap();
            let mut response = hyper_client().request(request).await?;
            let trail: Option<Trail> = trails.lock().unwrap().pop();
            response.extensions_mut().insert(trail.expect("a trail"));
            Ok(response)
        }
    })
}

#[tokio::test(start_paused = true)]
async fn server_forwards_a_received_body_to_the_provider() {
    for framing in [Framing::Known, Framing::Declared, Framing::Chunked] {
        let body = || match framing {
            Framing::Known => Full::new(whole()).boxed(),
            Framing::Declared | Framing::Chunked => boxed_pieces(),
        };
        in_every_order!(
            MapRequestBodyLayer::new(ReplayBody::new),
            hyper_client(),
            async |order, stack| {
                let outbound = Outbound::new(stack);
                let through_proxy = |provider: &Provider| sent_through_proxy(outbound, provider);
                succeeds(order, framing, through_proxy, body()).await;
            }
        );
    }
}
