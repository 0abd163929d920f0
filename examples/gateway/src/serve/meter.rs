//! How much of a call was spent asking, and when each answer came.

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

/// In the extensions of a request; read by whoever has a clone.
#[derive(Clone, Default)]
pub(crate) struct Meter(Arc<Mutex<Readings>>);

#[derive(Clone, Default)]
struct Readings {
    sends: usize,
    asking: Duration,
    /// Since when a send is under way; it stays so if that is given up.
    under_way: Option<Instant>,
    answers: Vec<Instant>,
}

impl Meter {
    /// How often the upstream was asked.
    pub(crate) fn sends(&self) -> usize {
        self.read(|readings| readings.sends)
    }

    /// The time that was spent waiting for the upstream's answers.
    pub(crate) fn asking(&self) -> Duration {
        let (ended, under_way) = self.read(|readings| (readings.asking, readings.under_way));
        ended + under_way.map_or(Duration::ZERO, |since| now() - since)
    }

    /// When the answer to a send came; the first is 0.
    pub(crate) fn answered(&self, send: usize) -> Option<Instant> {
        self.read(|readings| readings.answers.get(send).copied())
    }

    fn read<T>(&self, read: impl FnOnce(&mut Readings) -> T) -> T {
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Measures each send; it stands inside the layers that send again.
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
            readings.under_way = Some(sent);
        });
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let now = now();
            meter.read(|readings| {
                readings.under_way = None;
                readings.asking += now - sent;
                readings.answers.push(now);
            });
            answer
        })
    }
}
