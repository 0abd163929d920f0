//! A scenario over real HTTP on loopback, in real time, with hyper's client and its own body.

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use mock_provider::Server;
use tokio::{net::TcpStream, runtime};

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
        let served = provider.clone();
        let server = Server::http1(move |request| served.clone().answer(request)).await?;
        let address = server.address();

        // Every name leads to the server on loopback, without TLS.
        let connector = tower::service_fn(move |_: Uri| {
            Box::pin(async move { TcpStream::connect(address).await.map(TokioIo::new) })
        });
        let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(connector);
        let (client, _) = stacks::build(stack, (scenario.setup, None), client)?;
        Ok(batch(scenario, seed, &[client], || provider.log()).await)
    })
}
