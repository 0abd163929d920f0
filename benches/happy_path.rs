//! What the layers cost where nothing is limited: `cargo bench --bench happy_path`.
//!
//! One request with a body of 1 KiB and ten headers, to a provider that answers at once: bare, through
//! three stacked `tower::retry` layers, and through the layers of this crate. `README.md` beside this
//! file has the figures.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use divan::{AllocProfiler, Bencher, black_box};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::{Sleep, sleep};
use tower::{
    Layer, Service, ServiceBuilder,
    retry::{Policy, RetryLayer},
};
use tower_429::{
    BackoffLayer, FallbackLayer, InspectLayer, KeyPool, KeyRotationLayer, inspect::InspectedBody,
};

mod provider;
use provider::{LIMITS, Provider, USUAL, send};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    print_sizes();
    divan::main();
}

/// The least that a policy for `tower::retry` does.
#[derive(Clone)]
struct OnLimit {
    left: u32,
}

impl<B: Clone, R, E> Policy<Request<B>, Response<R>, E> for OnLimit {
    type Future = Sleep;

    fn retry(
        &mut self,
        _: &mut Request<B>,
        result: &mut Result<Response<R>, E>,
    ) -> Option<Self::Future> {
        let response = result.as_ref().ok()?;
        if response.status() != StatusCode::TOO_MANY_REQUESTS {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        Some(sleep(Duration::from_secs(1)))
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}

/// What a client of OpenAI's sends.
fn request(body: Bytes) -> Request<Full<Bytes>> {
    Request::post("https://api.openai.com/v1/chat/completions")
        .header("accept", "application/json")
        .header("accept-encoding", "gzip, deflate")
        .header(
            "authorization",
            "Bearer sk-0123456789abcdef0123456789abcdef",
        )
        .header("content-length", body.len())
        .header("content-type", "application/json")
        .header("openai-organization", "org-0123456789abcdef")
        .header("user-agent", "a-program/1.0")
        .header("x-request-id", "0123456789abcdef")
        .header("x-stainless-lang", "rust")
        .header("x-stainless-retry-count", "0")
        .body(Full::new(body))
        .expect("it is valid")
}

/// A conversation of so many turns of 320 bytes.
fn body(turns: usize) -> Bytes {
    let text = "What is a lease, and who holds it? ".repeat(8);
    let turn = format!(r#"{{"role":"user","content":"{text}"}}"#);
    let turns = vec![turn; turns].join(",");
    format!(r#"{{"model":"gpt-4o","temperature":0.7,"max_tokens":256,"messages":[{turns}]}}"#)
        .into()
}

type Answer = Response<Full<Bytes>>;

/// Three policies, of which each could do what one of the layers does.
fn retries(
    provider: Provider,
) -> impl Service<Request<Full<Bytes>>, Response = Answer, Error = Infallible> {
    ServiceBuilder::new()
        .layer(RetryLayer::new(OnLimit { left: 4 }))
        .layer(RetryLayer::new(OnLimit { left: 4 }))
        .layer(RetryLayer::new(OnLimit { left: 4 }))
        .service(provider)
}

fn layers(
    provider: Provider,
) -> impl Service<Request<Full<Bytes>>, Response = Answer, Error = Infallible> {
    ServiceBuilder::new()
        .layer(FallbackLayer::new(["gpt-4o-mini"]))
        .layer(BackoffLayer::new())
        .layer(KeyRotationLayer::new(pool()))
        .service(provider)
}

fn layers_and_inspect(
    provider: Provider,
) -> impl Service<
    Request<Full<Bytes>>,
    Response = Response<InspectedBody<Full<Bytes>>>,
    Error = Infallible,
> {
    ServiceBuilder::new()
        .layer(FallbackLayer::new(["gpt-4o-mini"]))
        .layer(BackoffLayer::new())
        .layer(KeyRotationLayer::new(pool()))
        .layer(InspectLayer::new())
        .service(provider)
}

fn pool() -> KeyPool {
    KeyPool::new(["sk-one", "sk-two", "sk-three", "sk-four"]).expect("they are usable")
}

/// The size of what a call of the service makes, which its task holds.
fn size_of_future<S: Service<Request<Full<Bytes>>>>(_: &S) -> usize {
    size_of::<S::Future>()
}

fn print_sizes() {
    let provider = Provider::new(StatusCode::OK, &[]);
    println!(
        "bytes of a future: bare {}, three tower::retry {}, backoff alone {}, key rotation alone {}, \
         fallback alone {}, three layers {}, with Inspect {}",
        size_of_future(&provider),
        size_of_future(&retries(provider.clone())),
        size_of_future(&BackoffLayer::new().layer(provider.clone())),
        size_of_future(&KeyRotationLayer::new(pool()).layer(provider.clone())),
        size_of_future(&FallbackLayer::new(["gpt-4o-mini"]).layer(provider.clone())),
        size_of_future(&layers(provider.clone())),
        size_of_future(&layers_and_inspect(provider)),
    );
}

fn measure<S, R>(bencher: Bencher<'_, '_>, says: &str, stack: impl FnOnce(Provider) -> S)
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error = Infallible>,
{
    let body = body(3);
    assert!((980..1_070).contains(&body.len()), "{}", body.len());
    measure_with(bencher, body, says, stack);
}

fn measure_with<S, R>(
    bencher: Bencher<'_, '_>,
    body: Bytes,
    says: &str,
    stack: impl FnOnce(Provider) -> S,
) where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error = Infallible>,
{
    let lists: &[_] = match says {
        "limits" => &[USUAL, LIMITS],
        _ => &[USUAL],
    };
    let mut service = stack(Provider::new(StatusCode::OK, lists));
    let request = request(body);
    // The clone is part of every figure: made beforehand, many requests at once would cost the
    // allocator more than they do one by one.
    bencher.bench_local(|| send(&mut service, black_box(&request).clone()));
}

/// What the headers of the answer tell: nothing of limits, or what is left of two.
const SAYS: [&str; 2] = ["nothing", "limits"];

#[divan::bench(args = SAYS, sample_size = 100)]
fn bare(bencher: Bencher<'_, '_>, says: &str) {
    measure(bencher, says, |provider| provider);
}

#[divan::bench(args = SAYS, sample_size = 100)]
fn three_tower_retries(bencher: Bencher<'_, '_>, says: &str) {
    measure(bencher, says, retries);
}

#[divan::bench(args = SAYS, sample_size = 100)]
fn three_layers(bencher: Bencher<'_, '_>, says: &str) {
    measure(bencher, says, layers);
}

#[divan::bench(args = SAYS, sample_size = 100)]
fn three_layers_and_inspect(bencher: Bencher<'_, '_>, says: &str) {
    measure(bencher, says, layers_and_inspect);
}

#[divan::bench(args = SAYS, sample_size = 100)]
fn backoff_alone(bencher: Bencher<'_, '_>, says: &str) {
    measure(bencher, says, |provider| {
        BackoffLayer::new().layer(provider)
    });
}

#[divan::bench(args = SAYS, sample_size = 100)]
fn key_rotation_alone(bencher: Bencher<'_, '_>, says: &str) {
    measure(bencher, says, |provider| {
        KeyRotationLayer::new(pool()).layer(provider)
    });
}

#[divan::bench(args = SAYS, sample_size = 100)]
fn fallback_alone(bencher: Bencher<'_, '_>, says: &str) {
    measure(bencher, says, |provider| {
        FallbackLayer::new(["gpt-4o-mini"]).layer(provider)
    });
}

/// A long conversation: fallback looks for the model in all of it.
#[divan::bench(sample_size = 100)]
fn three_layers_with_100_kib(bencher: Bencher<'_, '_>) {
    measure_with(bencher, body(340), "nothing", layers);
}

#[divan::bench(sample_size = 100)]
fn three_tower_retries_with_100_kib(bencher: Bencher<'_, '_>) {
    measure_with(bencher, body(340), "nothing", retries);
}
