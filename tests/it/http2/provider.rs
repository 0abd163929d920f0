//! A provider on loopback that accepts only HTTP/2 with prior knowledge.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures::{
    future::{Either, select},
    stream,
};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mock_provider::Server;
use tokio::{net::TcpStream, sync::Notify};

/// How the provider responds. A request without a reaction gets a success after its body has been read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reaction {
    /// Rejects with a body of this many bytes, after the request has been read.
    Reject(usize),
    /// Rejects without reading the body.
    RejectUnread,
    /// Rejects, and accepts no more requests on this connection.
    RejectAndLeave,
}

/// A request that the provider accepted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answered {
    pub(crate) key: String,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

pub(crate) struct Provider {
    pub(crate) origin: String,
    server: Server,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    requests: AtomicUsize,
    answered: Mutex<Vec<Answered>>,
}

impl Provider {
    /// Starts a provider with these reactions to the first requests.
    pub(crate) async fn start(reactions: &'static [Reaction]) -> Self {
        let shared = Arc::<Shared>::default();
        let for_all = shared.clone();
        let server = Server::accept(move |socket| {
            tokio::spawn(serve(socket, reactions, for_all.clone()));
        });
        let server = server.await.unwrap();
        Self {
            origin: server.origin(),
            server,
            shared,
        }
    }

    pub(crate) fn connections(&self) -> usize {
        self.server.connections()
    }

    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn answered(&self) -> Vec<Answered> {
        self.shared.answered.lock().unwrap().clone()
    }
}

async fn serve(socket: TcpStream, reactions: &'static [Reaction], shared: Arc<Shared>) {
    let leave = Arc::new(Notify::new());
    let leaves = leave.clone();
    let service = service_fn(move |request| {
        let number = shared.requests.fetch_add(1, Ordering::SeqCst);
        let reaction = reactions.get(number).copied();
        if let Some(Reaction::RejectAndLeave) = reaction {
            leaves.notify_one();
        }
        answer(request, reaction, shared.clone())
    });
    let builder = http2::Builder::new(TokioExecutor::new());
    let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service));
    if let Either::Right(_) = select(connection.as_mut(), pin!(leave.notified())).await {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

async fn answer(
    request: Request<Incoming>,
    reaction: Option<Reaction>,
    shared: Arc<Shared>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let reject = |length| {
        Response::builder()
            .status(429)
            .header("retry-after-ms", "1")
            .body(Full::from(vec![b'x'; length]).boxed())
            .unwrap()
    };
    let (head, body) = request.into_parts();
    if let Some(Reaction::RejectUnread) = reaction {
        return Ok(reject(100));
    }
    let whole = body.collect().await.unwrap();
    match reaction {
        Some(Reaction::Reject(length)) => return Ok(reject(length)),
        Some(_) => return Ok(reject(100)),
        None => {}
    }
    let key = head.headers.get("authorization");
    shared.answered.lock().unwrap().push(Answered {
        key: key.map_or(String::new(), |key| key.to_str().unwrap().to_owned()),
        trailers: whole.trailers().cloned().unwrap_or_default(),
        body: whole.to_bytes(),
    });
    let trailers = HeaderMap::from_iter([("x-tokens".parse().unwrap(), "12".parse().unwrap())]);
    let frames = [Frame::data("done".into()), Frame::trailers(trailers)];
    Ok(Response::new(
        StreamBody::new(stream::iter(frames.map(Ok))).boxed(),
    ))
}
