use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, response, uri::Authority};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower::Service;

use super::{
    InspectedBody,
    first::{First, Look},
    layer::{Settings, is_readable_error},
    reading::Reading,
};
use crate::{
    call::{Call, Stalled},
    clock, content_coding,
    rejection::{self, Provider, Rejection},
    trail::Trail,
};

/// The service of an [`InspectLayer`](super::InspectLayer).
#[derive(Clone, Copy, Debug)]
pub struct Inspect<S> {
    pub(super) inner: S,
    pub(super) settings: Settings,
}

/// In the extensions of a response whose body was looked into: a second layer would wait as long again.
#[derive(Clone, Copy)]
struct Seen;

pin_project! {
    /// The future of [`Inspect`].
    pub struct ResponseFuture<F, R: Body> {
        settings: Settings,
        host: Option<Authority>,
        // Of the layers around this one, or of the caller.
        call: Option<Call>,
        #[pin]
        state: State<F, R>,
    }
}

pin_project! {
    #[project = StateProj]
    #[project_replace = StateOwned]
    enum State<F, R: Body> {
        // => Reading | done
        Calling { #[pin] future: F },
        // => done
        Reading {
            head: response::Parts,
            reading: Reading<R>,
            look: Option<Look>,
            max_wait: Duration,
            // Made when there is something to wait for.
            #[pin]
            timer: Option<Sleep>,
        },
        Done,
    }
}

// === impl Inspect ===

impl<S, B, R> Service<Request<B>> for Inspect<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes> + Unpin,
{
    type Response = Response<InspectedBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let call = request.extensions().get::<Call>().cloned();
        if let Some(call) = &call {
            call.start(clock::now);
        }
        ResponseFuture {
            settings: self.settings,
            host: request.uri().authority().cloned(),
            call,
            state: State::Calling {
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
                StateProj::Calling { future } => {
                    let (mut head, body) = ready!(future.poll(cx))?.into_parts();
                    let plan = this.settings.plan(&head, this.host.as_ref());
                    let Some((look, max_wait)) = plan else {
                        this.settings.read_head(&mut head, this.host.as_ref());
                        let body = InspectedBody::untouched(body);
                        return Poll::Ready(Ok(Response::from_parts(head, body)));
                    };
                    this.state.set(State::Reading {
                        head,
                        reading: Reading::new(body, this.settings.limit),
                        look,
                        max_wait,
                        timer: None,
                    });
                }
                StateProj::Reading { .. } => {
                    let first = ready!(self.as_mut().poll_reading(cx));
                    return match self.finish(first) {
                        Some(response) => Poll::Ready(Ok(response)),
                        None => Poll::Pending,
                    };
                }
                // Polled again after it was done.
                StateProj::Done => return Poll::Pending,
            }
        }
    }
}

impl<F, R> ResponseFuture<F, R>
where
    R: Body<Data = Bytes> + Unpin,
{
    /// Reads until it is known what the body says; of a success, what it begins with.
    fn poll_reading(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<First>> {
        let this = self.project();
        let StateProj::Reading {
            head,
            reading,
            look,
            max_wait,
            mut timer,
        } = this.state.project()
        else {
            return Poll::Ready(None);
        };
        loop {
            match reading.poll_chunk(cx) {
                Poll::Ready(Some(chunk)) => {
                    let first = look.as_mut().and_then(|look| look.feed(&chunk));
                    if first.is_some() {
                        return Poll::Ready(first);
                    }
                }
                Poll::Ready(None) => {
                    let complete = reading.is_complete();
                    return Poll::Ready(look.take().map(|look| look.end(complete)));
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
                    return Poll::Ready(look.take().map(|look| look.end(false)));
                }
            }
        }
    }

    /// Reading => done
    fn finish(self: Pin<&mut Self>, first: Option<First>) -> Option<Response<InspectedBody<R>>> {
        let this = self.project();
        let StateOwned::Reading {
            mut head, reading, ..
        } = this.state.project_replace(State::Done)
        else {
            return None;
        };
        let provider = this.settings.provider(this.host.as_ref(), &head);
        let rejection = match first {
            None | Some(First::Whole) => provider.rejection(&head, &reading.text(), clock::wall()),
            Some(First::Event(event)) => {
                // A date in the event is measured as one in a body is.
                let now = rejection::date(&head.headers).unwrap_or_else(clock::wall);
                provider.first_event(&event, now)
            }
            Some(First::Content) => None,
        };
        if let Some(rejection) = rejection {
            head.extensions.insert(rejection);
        }
        head.extensions.insert(Seen);
        Some(Response::from_parts(head, reading.into_body()))
    }
}

// === impl Settings ===

impl Settings {
    /// What to look for in the body, and how long; `None` if it is not to be read.
    fn plan(
        &self,
        head: &response::Parts,
        host: Option<&Authority>,
    ) -> Option<(Option<Look>, Duration)> {
        let is_known = head.extensions.get::<Rejection>().is_some();
        if is_known || head.extensions.get::<Seen>().is_some() {
            return None;
        }
        if is_readable_error(head.status, &head.headers) {
            return Some((None, self.max_wait));
        }
        let max_wait = self
            .first_event
            .filter(|_| head.status.is_success() && content_coding::is_identity(&head.headers))?;
        let look = Look::at(&head.headers, self.provider(host, head))?;
        Some((Some(look), max_wait))
    }

    /// Leaves what the head alone says, if nothing has been left yet.
    fn read_head(&self, head: &mut response::Parts, host: Option<&Authority>) {
        if head.extensions.get::<Rejection>().is_none() && !head.status.is_success() {
            let provider = self.provider(host, head);
            if let Some(rejection) = provider.rejection(head, &[], clock::wall()) {
                head.extensions.insert(rejection);
            }
        }
    }

    fn provider(&self, host: Option<&Authority>, head: &response::Parts) -> Provider {
        let host = host.map(Authority::host);
        self.provider
            .unwrap_or_else(|| Provider::guess(host, &head.headers))
    }
}

/// As much of `max_wait` as the call has time for. If the layers of the call are inside this one, the
/// call is in the response that they return.
fn within_call(max_wait: Duration, call: Option<&Call>, head: &response::Parts) -> Duration {
    let trail = || head.extensions.get::<Trail>();
    match call.or_else(|| trail().map(|trail| &trail.0)) {
        Some(call) => call.time_for_body(max_wait, clock::now()),
        None => max_wait,
    }
}

impl<F, R: Body> fmt::Debug for ResponseFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
