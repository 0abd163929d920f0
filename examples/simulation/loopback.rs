//! A scenario over real HTTP on loopback, in real time.

use std::{convert::Infallible, net::Ipv4Addr};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use tokio::{net::TcpListener, runtime};

use crate::{
    Error,
    provider::Provider,
    run::{Run, Stack, batch},
    scenarios::Scenario,
    stacks,
};

pub(crate) fn run(scenario: &Scenario, stack: Stack, seed: u64) -> Result<Run, Error> {
    let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let provider = Provider::new(scenario.plan.clone(), seed);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let authority = listener.local_addr()?.to_string();
        tokio::spawn(serve(listener, provider.clone()));

        let http = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        // The batch is addressed to a provider in the process; here it stands elsewhere.
        let client = tower::service_fn(move |mut request: Request<Full<Bytes>>| {
            let (http, authority) = (http.clone(), authority.clone());
            async move {
                let path = request.uri().path().to_owned();
                let address = Uri::builder().scheme("http").authority(authority);
                *request.uri_mut() = address.path_and_query(path).build()?;
                let (head, body) = http.request(request).await?.into_parts();
                let body = body.collect().await?.to_bytes();
                Ok::<_, Error>(Response::from_parts(head, Full::from(body)))
            }
        });
        let client = match stack {
            Stack::Ours => stacks::ours(scenario.setup, client)?.0,
            Stack::ByHand => stacks::by_hand(scenario.setup, client),
        };
        Ok(batch(scenario, client, || provider.log()).await)
    })
}

async fn serve(listener: TcpListener, provider: Provider) {
    while let Ok((stream, _)) = listener.accept().await {
        let provider = provider.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            let answer = provider.clone().answer(request);
            async { Ok::<_, Infallible>(answer.await) }
        });
        // A client that goes away ends its connection, and nothing else.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}
