//! A server on loopback that rejects some of its requests, and reports their progress.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    time::timeout,
};
use tower_429::Call;

/// How the server responds to one of the first requests. The others get a success after their body.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reaction {
    /// Rejects after the first chunk of the body, and continues to read.
    Early,
    /// Rejects after the complete body.
    Late,
    /// Accepts after the first chunk of the body, and continues to read.
    AnswerEarly,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Protocol {
    Http1,
    /// With at most four concurrent streams per connection.
    Http2,
}

/// Counts of what is open at the server.
#[derive(Debug, Default)]
pub(crate) struct Open {
    /// All requests so far whose body has begun.
    pub(crate) began: usize,
    /// Requests whose bodies are still being read.
    pub(crate) bodies: usize,
    pub(crate) connections: usize,
}

/// Increments a count until it is dropped.
struct Counted(watch::Sender<Open>, fn(&mut Open) -> &mut usize);

impl Counted {
    fn new(open: &watch::Sender<Open>, which: fn(&mut Open) -> &mut usize) -> Self {
        open.send_modify(|open| *which(open) += 1);
        Self(open.clone(), which)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|open| *self.1(open) -= 1);
    }
}

/// The progress of a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Event {
    /// The first chunk of the body has arrived.
    Began(usize),
    /// The complete body has arrived.
    Ended(usize, String),
}

pub(crate) struct Server {
    /// Two origins of the same server.
    pub(crate) addresses: [String; 2],
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    pub(crate) open: watch::Receiver<Open>,
}

/// State that the connections share.
#[derive(Clone)]
struct Shared {
    reactions: &'static [Reaction],
    requests: Arc<AtomicUsize>,
    events: mpsc::UnboundedSender<Event>,
    open: watch::Sender<Open>,
}

impl Server {
    pub(crate) async fn start(reactions: &'static [Reaction]) -> Self {
        Self::start_with(Protocol::Http1, reactions).await
    }

    pub(crate) async fn start_with(protocol: Protocol, reactions: &'static [Reaction]) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let (counts, open) = watch::channel(Open::default());
        let shared = Shared {
            reactions,
            requests: Arc::default(),
            events: sender,
            open: counts,
        };
        let mut addresses = [String::new(), String::new()];
        for address in &mut addresses {
            let shared = shared.clone();
            let server = mock_provider::Server::accept(move |socket| {
                tokio::spawn(serve(socket, protocol, shared.clone()));
            });
            *address = server.await.unwrap().origin();
        }
        Self {
            addresses,
            events,
            open,
        }
    }

    /// Waits until `is` holds, and panics after 30 s.
    pub(crate) async fn until(&self, is: impl FnMut(&Open) -> bool) {
        let mut open = self.open.clone();
        let waited = timeout(Duration::from_secs(30), open.wait_for(is)).await;
        if waited.is_err() {
            panic!("the counts stay {:?}", *self.open.borrow());
        }
    }

    pub(crate) fn request<B>(&self, body: B) -> (Request<B>, Call) {
        let call = Call::new();
        let request = Request::post(format!("{}/v1/chat", self.addresses[0]))
            .header("content-type", "application/json")
            .extension(call.clone())
            .body(body)
            .unwrap();
        (request, call)
    }

    pub(crate) async fn saw(&mut self, event: Event) {
        assert_eq!(self.events.recv().await, Some(event));
    }

    /// Returns the number and the body of the next request whose body is complete.
    pub(crate) async fn ended(&mut self) -> (usize, String) {
        match self.events.recv().await {
            Some(Event::Ended(number, body)) => (number, body),
            other => panic!("{other:?}"),
        }
    }
}

async fn serve(socket: TcpStream, protocol: Protocol, shared: Shared) {
    let _counted = Counted::new(&shared.open, |open| &mut open.connections);
    let socket = TokioIo::new(socket);
    let answer = service_fn(move |request| answer(request, shared.clone()));
    let _ = match protocol {
        Protocol::Http1 => {
            let builder = http1::Builder::new();
            builder.serve_connection(socket, answer).await
        }
        Protocol::Http2 => {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.max_concurrent_streams(4);
            builder.serve_connection(socket, answer).await
        }
    };
}

async fn answer(
    request: Request<Incoming>,
    shared: Shared,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == "/small" {
        let body = request.into_body().collect().await.unwrap();
        return Ok(Response::new(Full::from(body.to_bytes())));
    }
    let number = shared.requests.fetch_add(1, Ordering::SeqCst);
    let counted = Counted::new(&shared.open, |open| &mut open.bodies);
    let mut body = request.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    shared.open.send_modify(|open| open.began += 1);
    let _ = shared.events.send(Event::Began(number));
    let rest = async move {
        let _counted = counted;
        // A body that breaks off causes no event.
        if let Ok(rest) = body.collect().await {
            let whole = [first, rest.to_bytes()].concat();
            let whole = String::from_utf8(whole).unwrap();
            let _ = shared.events.send(Event::Ended(number, whole));
        }
    };
    let reaction = shared.reactions.get(number);
    match reaction {
        Some(Reaction::Early | Reaction::AnswerEarly) => drop(tokio::spawn(rest)),
        Some(Reaction::Late) | None => rest.await,
    }
    let response = Response::builder();
    let response = match reaction {
        Some(Reaction::Early | Reaction::Late) => {
            response.status(429).header("retry-after-ms", "1")
        }
        Some(Reaction::AnswerEarly) | None => response,
    };
    Ok(response.body(Full::from("an answer")).unwrap())
}
