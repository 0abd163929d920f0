use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, response, uri::Authority};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower::Service;

use super::{
    InspectedBody,
    first_event::{FirstEvent, Sniffer},
    reading::Reading,
    settings::{InspectSettings, Inspected},
};
use crate::{
    call::{CallContext, CallState, Stalled},
    clock, rejection,
    trail::Trail,
};

/// The service of an [`InspectLayer`](super::InspectLayer).
#[derive(Clone, Copy, Debug)]
// If a method call does not compile because of a bound, the compiler shows the first line of the type, and no
// message of the traits.
#[rustfmt::skip]
pub struct Inspect<S> { // Not a service? `tower::ServiceExt::oneshot(client, request)` says why.
    pub(super) inner: S,
    pub(super) settings: InspectSettings,
}

pin_project! {
    /// The future of [`Inspect`].
    pub struct ResponseFuture<F, R: Body> {
        settings: InspectSettings,
        host: Option<Authority>,
        // The response to HEAD has no body.
        is_head: bool,
        // The call of the layers around this one, or of the caller.
        call: Option<CallState>,
        #[pin]
        state: InspectState<F, R>,
    }
}

pin_project! {
    #[project = InspectStateProj]
    #[project_replace = InspectStateOwned]
    enum InspectState<F, R: Body> {
        // => Reading | done
        Calling { #[pin] future: F },
        // => done
        Reading {
            head: response::Parts,
            reading: Reading<R>,
            sniffer: Option<Sniffer>,
            max_wait: Duration,
            // Created when the body is pending.
            #[pin]
            timer: Option<Sleep>,
        },
        Done,
    }
}

/// A response body that can be read. It stands for its bounds, because its message says what to do.
#[diagnostic::on_unimplemented(
    message = "`InspectLayer` cannot read the response body `{Self}`",
    label = "not `Unpin`, or not a body of `Bytes`",
    note = "box the body inside the layer: `tower_http::map_response_body::MapResponseBodyLayer::new(\
            http_body_util::combinators::UnsyncBoxBody::new)`"
)]
pub(super) trait ReadableBody: Body<Data = Bytes> + Unpin {}

#[diagnostic::do_not_recommend]
impl<R: Body<Data = Bytes> + Unpin> ReadableBody for R {}

// === impl Inspect ===

#[allow(private_bounds)]
impl<S, B, R> Service<Request<B>> for Inspect<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: ReadableBody,
{
    type Response = Response<InspectedBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let call = CallContext::start(request.extensions_mut(), clock::now);
        ResponseFuture {
            settings: self.settings,
            host: request.uri().authority().cloned(),
            is_head: request.method() == Method::HEAD,
            call,
            state: InspectState::Calling {
                future: self.inner.call(request),
            },
        }
    }
}

// === impl ResponseFuture ===

impl<F, E, R> Future for ResponseFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body<Data = Bytes> + Unpin,
{
    type Output = Result<Response<InspectedBody<R>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut this = self.as_mut().project();
            match this.state.as_mut().project() {
                InspectStateProj::Calling { future } => {
                    let (mut head, body) = ready!(future.poll(cx))?.into_parts();
                    let plan = this.settings.plan(&head, this.host.as_ref());
                    let Some((sniffer, max_wait)) = plan else {
                        this.settings.read_head(&mut head, this.host.as_ref());
                        let mut body = InspectedBody::untouched(body);
                        body.offer(&mut head.extensions, *this.is_head);
                        return Poll::Ready(Ok(Response::from_parts(head, body)));
                    };
                    this.state.set(InspectState::Reading {
                        head,
                        reading: Reading::new(body, this.settings.limit),
                        sniffer,
                        max_wait,
                        timer: None,
                    });
                }
                InspectStateProj::Reading { .. } => {
                    let first = ready!(self.as_mut().poll_reading(cx));
                    return match self.finish(first) {
                        Some(response) => Poll::Ready(Ok(response)),
                        None => Poll::Pending,
                    };
                }
                // Polled after completion.
                InspectStateProj::Done => return Poll::Pending,
            }
        }
    }
}

impl<F, R> ResponseFuture<F, R>
where
    R: Body<Data = Bytes> + Unpin,
{
    /// Reads the body of an error within its bounds, or a success until its first event.
    fn poll_reading(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FirstEvent>> {
        let this = self.project();
        let InspectStateProj::Reading {
            head,
            reading,
            sniffer,
            max_wait,
            mut timer,
        } = this.state.project()
        else {
            return Poll::Ready(None);
        };
        loop {
            match reading.poll_chunk(cx) {
                Poll::Ready(Some(chunk)) => {
                    let first = sniffer.as_mut().and_then(|it| it.feed(&chunk));
                    if first.is_some() {
                        return Poll::Ready(first);
                    }
                }
                Poll::Ready(None) => {
                    let complete = reading.is_complete();
                    return Poll::Ready(sniffer.take().map(|it| it.end(complete)));
                }
                Poll::Pending => {
                    if timer.is_none() {
                        let max_wait = within_call(*max_wait, this.call.as_ref(), head);
                        timer.set(Some(sleep(max_wait)));
                    }
                    if let Some(timer) = timer.as_mut().as_pin_mut() {
                        ready!(timer.poll(cx));
                    }
                    head.extensions.insert(Stalled);
                    return Poll::Ready(sniffer.take().map(|it| it.end(false)));
                }
            }
        }
    }

    /// Reading => done
    fn finish(
        self: Pin<&mut Self>,
        first: Option<FirstEvent>,
    ) -> Option<Response<InspectedBody<R>>> {
        let this = self.project();
        let InspectStateOwned::Reading {
            mut head, reading, ..
        } = this.state.project_replace(InspectState::Done)
        else {
            return None;
        };
        let provider = this.settings.provider(this.host.as_ref(), &head.headers);
        let rejection = match first {
            None | Some(FirstEvent::Whole) => {
                provider.rejection(&head, &reading.bytes(), clock::wall())
            }
            Some(FirstEvent::Error(event)) => {
                // A date in the event is measured like one in a body.
                let now = rejection::date(&head.headers).unwrap_or_else(clock::wall);
                provider.first_event(&event, now)
            }
            Some(FirstEvent::Content) => None,
        };
        if let Some(rejection) = rejection {
            head.extensions.insert(rejection);
        }
        head.extensions.insert(Inspected);
        let mut body = reading.into_body();
        body.offer(&mut head.extensions, *this.is_head);
        Some(Response::from_parts(head, body))
    }
}

/// Returns `max_wait`, or half of the time that the call has left, if that is less. If the layers of the call
/// are inside this one, the call is in the trail of their response.
fn within_call(max_wait: Duration, call: Option<&CallState>, head: &response::Parts) -> Duration {
    let trail = || head.extensions.get::<Trail>();
    match call.or_else(|| trail().map(Trail::call)) {
        Some(call) => call.time_for_body(max_wait, clock::now()),
        None => max_wait,
    }
}

impl<F, R: Body> fmt::Debug for ResponseFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
