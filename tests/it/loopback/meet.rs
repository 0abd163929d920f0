//! A call to a provider that rejects it once. The test controls the time.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use tokio::time::advance;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, util::BoxCloneService};
use tower_429::{Call, InspectLayer, inspect::InspectedBody, trail::Action};

use super::{Answer, Loopback, Seen};

const MILLISECOND: Duration = Duration::from_millis(1);
const DRAINED: Duration = Duration::from_secs(1);

/// A client whose responses pass through `InspectLayer`.
pub(crate) type Client =
    BoxCloneService<Request<Full<Bytes>>, Response<InspectedBody<Incoming>>, legacy::Error>;

/// A layer over a [`Client`].
pub(crate) trait Inspected:
    Service<Request<Full<Bytes>>, Response = Response<InspectedBody<Incoming>>, Error = legacy::Error>
{
}

impl<S> Inspected for S where
    S: Service<
            Request<Full<Bytes>>,
            Response = Response<InspectedBody<Incoming>>,
            Error = legacy::Error,
        >
{
}

/// Stops the paused clock until it is dropped, because tokio does not advance the time while a blocking task runs. So
/// sockets have all the time that they need, and only the test advances the time.
pub(crate) struct Held(#[allow(dead_code)] mpsc::Sender<()>);

impl Held {
    pub(crate) fn new() -> Self {
        let (held, release) = mpsc::channel();
        tokio::task::spawn_blocking(move || release.recv());
        Self(held)
    }
}

/// The outcome of a call.
#[derive(Debug)]
pub(crate) struct Met {
    /// The decision after the first response, if the layer sent again.
    pub(crate) again: Option<Action>,
    pub(crate) status: u16,
    pub(crate) body: Bytes,
    pub(crate) seen: Vec<Seen>,
}

/// Sends a request to a provider that rejects it with this response, and accepts the second one.
///
/// Time passes only after a layer has decided to send again. It first passes up to a millisecond before `not_before`,
/// and the layer must not have sent by then.
pub(crate) async fn meet<L>(
    mut request: Request<Full<Bytes>>,
    refuse: impl Fn() -> Answer + Send + Sync + 'static,
    layer: L,
    not_before: Duration,
) -> Met
where
    L: Layer<Client>,
    L::Service: Inspected,
{
    let provider = Loopback::serve(move |number| match number {
        0 => refuse(),
        _ => Response::new(Full::from("answered").boxed()),
    })
    .await;
    let sends = Arc::new(AtomicUsize::new(0));
    let counter = sends.clone();
    let client = ServiceBuilder::new()
        .map_request(move |request| {
            counter.fetch_add(1, Ordering::SeqCst);
            request
        })
        .layer(InspectLayer::new().first_event(Duration::from_secs(1)))
        .service(provider.client());
    let call = Call::new();
    request.extensions_mut().insert(call.clone());
    let mut answer = pin!(layer.layer(BoxCloneService::new(client)).oneshot(request));

    let again = || {
        let first = call.trail().attempts().into_iter().next()?;
        let mut actions = first.steps.into_iter().map(|step| step.action);
        actions.find(|action| !matches!(action, Action::Return(_)))
    };
    let done = poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Ready(response) => Poll::Ready(Some(response)),
        Poll::Pending if again().is_some() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await;
    let response = match done {
        Some(response) => response,
        None => {
            if not_before > MILLISECOND {
                advance(not_before - MILLISECOND).await;
                let early = poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx).is_ready())).await;
                let sends = sends.load(Ordering::SeqCst);
                assert!(!early && sends == 1, "sent earlier than {not_before:?}");
            }
            let wait = match again() {
                Some(Action::Wait(wait)) => wait,
                _ => Duration::ZERO,
            };
            // A discarded body is drained for at most a second.
            advance(wait.max(DRAINED).saturating_sub(not_before) + 3 * MILLISECOND).await;
            answer.await
        }
    };
    let (head, body) = response.unwrap().into_parts();
    Met {
        again: again(),
        status: head.status.as_u16(),
        body: body.collect().await.unwrap().to_bytes(),
        seen: provider.seen(),
    }
}
