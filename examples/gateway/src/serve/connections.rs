//! The connections of callers: how long they may be silent, and how they end.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    BoxError, Router,
    body::{Body, Bytes, HttpBody},
    extract::Request,
    serve::Listener,
};
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{Sleep, sleep, timeout},
};
use tower::ServiceExt;

/// How long a head may take after the last response, and how long an upload may pause.
pub(crate) const MAX_SILENCE: Duration = Duration::from_secs(60);

/// The same after a stop, so that silent callers do not delay it.
const MAX_SILENCE_AT_STOP: Duration = Duration::from_secs(2);

/// Serves until `shutdown`, then waits until open responses complete. An address is dropped with its connection.
pub(crate) async fn serve(
    mut listener: impl Listener<Io = TcpStream, Addr: 'static>,
    router: Router,
    shutdown: impl Future<Output = ()>,
) {
    let (stop, stopping) = watch::channel(false);
    let mut shutdown = pin!(shutdown);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            (stream, address) = listener.accept() => {
                let connection = connection(stream, router.clone(), stopping.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(address);
                });
            }
            Some(_) = connections.join_next() => {}
            () = &mut shutdown => break,
        }
    }
    drop(listener);
    stop.send_replace(true);
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, router: Router, stopping: watch::Receiver<bool>) {
    // Each token is sent as soon as it arrives.
    let _ = stream.set_nodelay(true);
    let stop = stopped(stopping.clone());
    // A request holds a clone until its response has ended.
    let held = Arc::new(());
    let requests = Arc::downgrade(&held);
    let service = service_fn(move |request: Request<Incoming>| {
        let request = request.map(|body| Body::new(Upload::new(body, stopping.clone())));
        let (router, held) = (router.clone(), held.clone());
        async move {
            let response = router.oneshot(request).await?;
            Ok::<_, Infallible>(response.map(|body| ResponseBody::new(body, held)))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(MAX_SILENCE)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        // An error of the connection is not reported, because the caller sees it.
        _ = &mut connection => return,
        () = stop => connection.as_mut().graceful_shutdown(),
    }
    let is_idle = || requests.strong_count() == 1;
    loop {
        let was_idle = is_idle();
        let is_over = timeout(MAX_SILENCE_AT_STOP, &mut connection).await.is_ok();
        // An incomplete head is not a request yet, and its rest may never arrive.
        if is_over || was_idle && is_idle() {
            return;
        }
    }
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// The body of a request, which fails if its caller is silent for too long.
struct Upload {
    body: Incoming,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_stopping: bool,
    /// The timer of a silence. It runs only while the body is polled and has no data.
    silence: Option<Pin<Box<Sleep>>>,
}

/// Why a request was not read to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unread {
    /// The caller was silent for too long.
    Silent,
    /// The gateway stopped before the request was complete.
    Stopping,
}

/// The body of a request cannot be read, because of a broken chunk or an early end.
#[derive(Debug)]
pub(crate) struct Broken(hyper::Error);

/// The body of a response. Its request counts as open until this is dropped.
struct ResponseBody {
    body: Body,
    /// An error of the body that the connection has not got yet.
    error: Option<axum::Error>,
    _held: Arc<()>,
}

// === impl Upload ===

impl Upload {
    fn new(body: Incoming, stopping: watch::Receiver<bool>) -> Self {
        Self {
            body,
            stop: Box::pin(stopped(stopping)),
            is_stopping: false,
            silence: None,
        }
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.silence = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(|error| Broken(error).into())));
        }
        if !this.is_stopping && this.stop.as_mut().poll(cx).is_ready() {
            this.is_stopping = true;
            this.silence = None;
        }
        let (max_wait, unread) = match this.is_stopping {
            true => (MAX_SILENCE_AT_STOP, Unread::Stopping),
            false => (MAX_SILENCE, Unread::Silent),
        };
        let silence = this
            .silence
            .get_or_insert_with(|| Box::pin(sleep(max_wait)));
        ready!(silence.as_mut().poll(cx));
        Poll::Ready(Some(Err(unread.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// === impl Unread ===

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => write!(f, "nothing came for {} s", MAX_SILENCE.as_secs()),
            Self::Stopping => f.write_str("this gateway stopped before it was complete"),
        }
    }
}

impl Error for Unread {}

// === impl Broken ===

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body of the request is broken")
    }
}

impl Error for Broken {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

// === impl ResponseBody ===

impl ResponseBody {
    fn new(body: Body, held: Arc<()>) -> Self {
        Self {
            body,
            error: None,
            _held: held,
        }
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let Some(Err(error)) = frame else {
            return Poll::Ready(frame);
        };
        // hyper discards unwritten bytes, even the head, as soon as it gets the error. So it gets it one poll later.
        self.error = Some(error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
