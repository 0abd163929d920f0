//! A scenario over real HTTP on loopback, in real time, with hyper's client and its own body.

use std::{convert::Infallible, net::Ipv4Addr};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
};

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
        let address = listener.local_addr()?;
        tokio::spawn(serve(listener, provider.clone()));

        // Every name is an address on loopback here, and nothing is encrypted.
        let connector = tower::service_fn(move |_: Uri| {
            Box::pin(async move { TcpStream::connect(address).await.map(TokioIo::new) })
        });
        let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(connector);
        let (client, _) = stacks::build(stack, scenario.setup, client)?;
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
