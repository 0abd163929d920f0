//! How long the sends of a call took, and when each response arrived.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::http::Request;
use tokio::time::Instant;
use tower::Service;

use super::now;

/// The measurements of one call. It is in the extensions of the request, and its clones share the measurements.
#[derive(Clone, Default)]
pub(crate) struct Meter(Arc<Mutex<Readings>>);

#[derive(Clone, Default)]
struct Readings {
    sends: usize,
    sending: Duration,
    /// The start of the send in progress. It is kept if that send is cancelled.
    in_progress: Option<Instant>,
    responses: Vec<Instant>,
}

impl Meter {
    /// Returns the number of sends.
    pub(crate) fn sends(&self) -> usize {
        self.read(|readings| readings.sends)
    }

    /// Returns the time that the call waited for the upstream's responses.
    pub(crate) fn sending(&self) -> Duration {
        let (ended, in_progress) = self.read(|readings| (readings.sending, readings.in_progress));
        ended + in_progress.map_or(Duration::ZERO, |since| now() - since)
    }

    /// Returns when the response to a send arrived. The first send is 0.
    pub(crate) fn response_at(&self, send: usize) -> Option<Instant> {
        self.read(|readings| readings.responses.get(send).copied())
    }

    fn read<T>(&self, read: impl FnOnce(&mut Readings) -> T) -> T {
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Measures each send. It is inside the layers that retry.
#[derive(Clone)]
pub(crate) struct Metered<S>(pub(crate) S);

impl<S, B> Service<Request<B>> for Metered<S>
where
    S: Service<Request<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let meter = request.extensions().get::<Meter>().cloned();
        let meter = meter.unwrap_or_default();
        let sent = now();
        meter.read(|readings| {
            readings.sends += 1;
            readings.in_progress = Some(sent);
        });
        let response = self.0.call(request);
        Box::pin(async move {
            let response = response.await;
            let now = now();
            meter.read(|readings| {
                readings.in_progress = None;
                readings.sending += now - sent;
                readings.responses.push(now);
            });
            response
        })
    }
}
