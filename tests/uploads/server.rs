//! A server on loopback that refuses some of its requests, and says what it has of each.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::mpsc};
use tower_429::Call;

/// What the server does with its requests, from the first on; the rest it answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reaction {
    /// Refuses as soon as it has a piece of the body, and reads on.
    Early,
    /// Refuses when it has the whole body.
    Late,
}

/// What the server has of a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Event {
    /// The first piece of its body.
    Began(usize),
    /// All of its body.
    Ended(usize, String),
}

pub(crate) struct Server {
    /// Of one server; two origins.
    pub(crate) addresses: [String; 2],
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
}

impl Server {
    pub(crate) async fn start(reactions: &'static [Reaction]) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let requests = Arc::<AtomicUsize>::default();
        let mut addresses = [String::new(), String::new()];
        for address in &mut addresses {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            *address = format!("http://{}", listener.local_addr().unwrap());
            let (sender, requests) = (sender.clone(), requests.clone());
            tokio::spawn(async move {
                loop {
                    let (socket, _) = listener.accept().await.unwrap();
                    let (sender, requests) = (sender.clone(), requests.clone());
                    let answer = service_fn(move |request| {
                        let number = requests.fetch_add(1, Ordering::SeqCst);
                        answer(request, number, reactions.get(number), sender.clone())
                    });
                    let socket = TokioIo::new(socket);
                    tokio::spawn(http1::Builder::new().serve_connection(socket, answer));
                }
            });
        }
        Self { addresses, events }
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

    /// The next body that came in whole, of whichever request.
    pub(crate) async fn ended(&mut self) -> (usize, String) {
        match self.events.recv().await {
            Some(Event::Ended(number, body)) => (number, body),
            other => panic!("{other:?}"),
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    number: usize,
    reaction: Option<&Reaction>,
    events: mpsc::UnboundedSender<Event>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut body = request.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    events.send(Event::Began(number)).unwrap();
    let rest = async move {
        // Where the body breaks off, nothing is said.
        if let Ok(rest) = body.collect().await {
            let whole = [first, rest.to_bytes()].concat();
            let _ = events.send(Event::Ended(number, String::from_utf8(whole).unwrap()));
        }
    };
    let response = Response::builder();
    let response = match reaction {
        Some(Reaction::Early) => {
            tokio::spawn(rest);
            response.status(429).header("retry-after-ms", "1")
        }
        Some(Reaction::Late) => {
            rest.await;
            response.status(429).header("retry-after-ms", "1")
        }
        None => {
            rest.await;
            response
        }
    };
    Ok(response.body(Full::from("an answer")).unwrap())
}
