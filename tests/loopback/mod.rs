//! A provider on loopback, over HTTP/1.1, that answers in the name of any host.

#![allow(dead_code, unreachable_pub)] // no topic needs all of it

pub mod aws;
mod meet;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::{TcpListener, TcpStream};
use tower::Service;

#[allow(unused_imports)] // no topic needs all of it
pub use meet::{Client, Held, Inspected, Met, meet};

pub type Answer = Response<BoxBody<Bytes, Infallible>>;

/// What the provider saw of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub host: String,
    pub key: String,
    pub model: String,
}

#[derive(Clone)]
pub struct Loopback {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Loopback {
    /// Answers the first, second, ... request as `answer` says.
    pub async fn serve(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let served = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
        };
        let (seen, answer) = (served.seen.clone(), Arc::new(answer));
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (seen, answer) = (seen.clone(), answer.clone());
                let service = service_fn(move |request| {
                    let (seen, answer) = (seen.clone(), answer.clone());
                    async move {
                        let request = read(request).await;
                        let number = {
                            let mut seen = seen.lock().unwrap();
                            seen.push(request);
                            seen.len() - 1
                        };
                        Ok::<_, Infallible>(answer(number))
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
        });
        served
    }

    /// A client that goes here whatever host it is to ask.
    pub fn client(
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

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn read(request: Request<Incoming>) -> Seen {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
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

/// A chat request for the model `first`.
pub fn chat(host: &str) -> Request<Full<Bytes>> {
    Request::post(format!("http://{host}/v1/chat/completions"))
        .header("content-type", "application/json")
        .body(Full::from(
            r#"{"model": "first", "stream": true, "messages": []}"#,
        ))
        .unwrap()
}
