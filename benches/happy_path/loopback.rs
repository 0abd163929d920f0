//! The same request over HTTP/1.1 on loopback, through hyper's client: what is left of the difference.

use std::fmt::Debug;

use bytes::Bytes;
use divan::{Bencher, black_box};
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use mock_provider::Server;
use tokio::runtime;
use tower::{Service, ServiceExt};
use tower_429::InspectLayer;

use crate::{
    provider::{LIMITS, USUAL, headers},
    stacks::{body, layers, request, retries},
};

type HyperClient = Client<HttpConnector, Full<Bytes>>;

/// Answers each request, once it has it whole.
async fn serve() -> Server {
    let usual = headers(&[&USUAL[..2], LIMITS]);
    let server = Server::http1(move |request: Request<Incoming>| {
        let mut response = Response::new(Full::new(Bytes::from_static(b"{}")));
        *response.headers_mut() = usual.clone();
        async move {
            request.into_body().collect().await.expect("a whole body");
            response
        }
    });
    server.await.expect("a port")
}

/// One thread does it all, so that the figure is what client, server and kernel take together.
fn measure<S, R>(bencher: Bencher<'_, '_>, stack: impl FnOnce(HyperClient) -> S)
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error: Debug>,
    R: Body<Data = Bytes, Error: Debug>,
{
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let server = runtime.block_on(serve());
    let client = Client::builder(TokioExecutor::new()).build_http();
    let mut service = stack(client);
    let request = request(&server.origin(), body(3));
    bencher.bench_local(|| {
        runtime.block_on(async {
            let service = service.ready().await.expect("it is ready");
            let response = service.call(black_box(&request).clone()).await;
            let body = response.expect("an answer").into_body();
            body.collect().await.expect("a whole body").to_bytes()
        })
    });
}

#[divan::bench(sample_size = 100)]
fn bare(bencher: Bencher<'_, '_>) {
    measure(bencher, |client| client);
}

#[divan::bench(sample_size = 100)]
fn three_tower_retries(bencher: Bencher<'_, '_>) {
    measure(bencher, |client| retries().service(client));
}

#[divan::bench(sample_size = 100)]
fn three_layers_and_inspect(bencher: Bencher<'_, '_>) {
    measure(bencher, |client| {
        layers().layer(InspectLayer::new()).service(client)
    });
}
