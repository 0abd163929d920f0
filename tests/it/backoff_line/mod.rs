//! `BackoffLayer` alone: calls that share a limit wait in a queue. The clock is paused.

mod alone;
mod chaos;
mod herds;
mod stacked;
mod waiting;

use std::{io, time::Duration};

use futures::future::join_all;
use http::{HeaderValue, Request, Response};
use tower::Service;
use tower_429::Call;

use crate::{
    scheduling::{call, calls},
    script::*,
};

/// Sends one request per millisecond. Returns the statuses of the responses.
async fn each<S, const N: usize>(service: &S, requests: [Request<String>; N]) -> Vec<u16>
where
    S: Service<Request<String>, Response = Response<String>, Error = io::Error> + Clone,
{
    let numbered = (0..).zip(requests).map(|(number, request)| async move {
        tokio::time::sleep(millis(number)).await;
        call(service, request).await.status().as_u16()
    });
    join_all(numbered).await
}

fn with_key(key: &'static str) -> Request<String> {
    let mut request = chat("m");
    let value = HeaderValue::from_static(key);
    request.headers_mut().insert("authorization", value);
    request
}

fn with_deadline(deadline: Duration) -> Request<String> {
    let mut request = chat("m");
    let call = Call::new().deadline(deadline);
    request.extensions_mut().insert(call);
    request
}

/// Returns when the requests arrived.
fn times(provider: &Provider) -> Vec<Duration> {
    provider.seen().iter().map(|seen| seen.at).collect()
}

/// Returns the numbers of the calls, in the order of their requests.
fn numbers(provider: &Provider) -> Vec<String> {
    let seen = provider.seen();
    seen.iter()
        .map(|seen| seen.header("number").to_owned())
        .collect()
}

/// Rejects only the first request, with this response.
fn once(rejection: Answer) -> Provider {
    let mut rejections = [rejection].into_iter();
    Provider::new(move |_| rejections.next().unwrap_or_else(ok))
}
