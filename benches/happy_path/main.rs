//! What the layers cost where nothing is limited: `cargo bench --bench happy_path`.
//!
//! One request with a body of 1 KiB and ten headers, to a provider that answers at once: bare, through
//! three stacked `tower::retry` layers, and through the layers of this crate. `../loopback.rs` has the same
//! over HTTP. `../README.md` has the figures.

#[path = "../provider/mod.rs"]
mod provider;
mod stacks;

use std::convert::Infallible;

use bytes::Bytes;
use divan::{AllocProfiler, Bencher, black_box};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, Service};
use tower_429::{BackoffLayer, FallbackLayer, InspectLayer, KeyRotationLayer};

use provider::{LIMITS, Provider, USUAL, send};
use stacks::{body, layers, pool, request, retries};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    print_sizes();
    let runtime = provider::runtime();
    let _entered = runtime.enter();
    divan::main();
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
        size_of_future(&retries().service(provider.clone())),
        size_of_future(&BackoffLayer::new().layer(provider.clone())),
        size_of_future(&KeyRotationLayer::new(pool()).layer(provider.clone())),
        size_of_future(&FallbackLayer::new(["gpt-4o-mini"]).layer(provider.clone())),
        size_of_future(&layers().service(provider.clone())),
        size_of_future(&layers().layer(InspectLayer::new()).service(provider)),
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
    let request = request("https://api.openai.com", body);
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
    measure(bencher, says, |provider| retries().service(provider));
}

#[divan::bench(args = SAYS, sample_size = 100)]
fn three_layers(bencher: Bencher<'_, '_>, says: &str) {
    measure(bencher, says, |provider| layers().service(provider));
}

#[divan::bench(args = SAYS, sample_size = 100)]
fn three_layers_and_inspect(bencher: Bencher<'_, '_>, says: &str) {
    measure(bencher, says, |provider| {
        layers().layer(InspectLayer::new()).service(provider)
    });
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
    measure_with(bencher, body(340), "nothing", |provider| {
        layers().service(provider)
    });
}

#[divan::bench(sample_size = 100)]
fn three_tower_retries_with_100_kib(bencher: Bencher<'_, '_>) {
    measure_with(bencher, body(340), "nothing", |provider| {
        retries().service(provider)
    });
}
