//! A provider on loopback, over HTTP/1.1, that serves requests for any host.

pub(crate) mod aws;
mod meet;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioIo},
};
use mock_provider::{Server, read};
use tokio::net::TcpStream;
use tower::Service;

#[allow(unused_imports)] // no module needs everything
pub(crate) use meet::{Client, Held, Inspected, Met, meet};

pub(crate) type Answer = Response<BoxBody<Bytes, Infallible>>;

/// A request, as the provider saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) host: String,
    pub(crate) key: String,
    pub(crate) model: String,
}

#[derive(Clone)]
pub(crate) struct Loopback {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Loopback {
    /// Starts a provider that responds to the first, second, ... request with `answer`.
    pub(crate) async fn serve(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let (seen, answer) = (Arc::<Mutex<Vec<_>>>::default(), Arc::new(answer));
        let log = seen.clone();
        let server = Server::http1(move |request| {
            let (seen, answer) = (log.clone(), answer.clone());
            async move {
                let request = seen_of(request).await;
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(request);
                    seen.len() - 1
                };
                answer(number)
            }
        });
        let address = server.await.unwrap().address();
        Self { address, seen }
    }

    /// Returns a client that connects to this provider for every host.
    pub(crate) fn client(
        &self,
    ) -> impl Service<
        Request<Full<Bytes>>,
        Response = Response<Incoming>,
        Error = legacy::Error,
        Future = legacy::ResponseFuture,
    > + Clone
    + use<> {
        let address = self.address;
        let connector = tower::service_fn(move |_: Uri| {
            Box::pin(
                async move { Ok::<_, io::Error>(TokioIo::new(TcpStream::connect(address).await?)) },
            )
        });
        legacy::Client::builder(TokioExecutor::new()).build(connector)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn seen_of(request: Request<Incoming>) -> Seen {
    let (head, body) = read(request).await.unwrap().into_parts();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let header = |name: &str| {
        let value = head.headers.get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or_default().to_owned()
    };
    Seen {
        host: header("host"),
        key: header("authorization"),
        model: body["model"].as_str().unwrap_or_default().to_owned(),
    }
}

/// Returns a chat request for the model `first`.
pub(crate) fn chat(host: &str) -> Request<Full<Bytes>> {
    Request::post(format!("http://{host}/v1/chat/completions"))
        .header("content-type", "application/json")
        .body(Full::from(
            r#"{"model": "first", "stream": true, "messages": []}"#,
        ))
        .unwrap()
}
