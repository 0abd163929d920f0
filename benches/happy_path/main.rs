//! The cost of the layers if nothing is limited: `cargo bench --bench happy_path`.
//!
//! Each bench sends one request with a body of 1 KiB and ten headers to a provider that responds at once: directly,
//! through three stacked `tower::retry` layers, or through the layers of this crate. `../loopback.rs` measures the
//! same over HTTP. `../README.md` has the figures.

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

/// Returns the size of the future of a call. The task of the call holds this future.
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

fn measure<S, R>(bencher: Bencher<'_, '_>, reports: &str, stack: impl FnOnce(Provider) -> S)
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error = Infallible>,
{
    let body = body(3);
    assert!((980..1_070).contains(&body.len()), "{}", body.len());
    measure_with(bencher, body, reports, stack);
}

fn measure_with<S, R>(
    bencher: Bencher<'_, '_>,
    body: Bytes,
    reports: &str,
    stack: impl FnOnce(Provider) -> S,
) where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error = Infallible>,
{
    let lists: &[_] = match reports {
        "limits" => &[USUAL, LIMITS],
        _ => &[USUAL],
    };
    let mut service = stack(Provider::new(StatusCode::OK, lists));
    let request = request("https://api.openai.com", body);
    // Every figure includes the clone. Clones made beforehand would cost the allocator more, because they would all
    // exist at once.
    bencher.bench_local(|| send(&mut service, black_box(&request).clone()));
}

/// What the headers of the response report: no limit, or what remains of two limits.
const REPORTS: [&str; 2] = ["nothing", "limits"];

#[divan::bench(args = REPORTS, sample_size = 100)]
fn bare(bencher: Bencher<'_, '_>, reports: &str) {
    measure(bencher, reports, |provider| provider);
}

#[divan::bench(args = REPORTS, sample_size = 100)]
fn three_tower_retries(bencher: Bencher<'_, '_>, reports: &str) {
    measure(bencher, reports, |provider| retries().service(provider));
}

#[divan::bench(args = REPORTS, sample_size = 100)]
fn three_layers(bencher: Bencher<'_, '_>, reports: &str) {
    measure(bencher, reports, |provider| layers().service(provider));
}

#[divan::bench(args = REPORTS, sample_size = 100)]
fn three_layers_and_inspect(bencher: Bencher<'_, '_>, reports: &str) {
    measure(bencher, reports, |provider| {
        layers().layer(InspectLayer::new()).service(provider)
    });
}

#[divan::bench(args = REPORTS, sample_size = 100)]
fn backoff_alone(bencher: Bencher<'_, '_>, reports: &str) {
    measure(bencher, reports, |provider| {
        BackoffLayer::new().layer(provider)
    });
}

#[divan::bench(args = REPORTS, sample_size = 100)]
fn key_rotation_alone(bencher: Bencher<'_, '_>, reports: &str) {
    measure(bencher, reports, |provider| {
        KeyRotationLayer::new(pool()).layer(provider)
    });
}

#[divan::bench(args = REPORTS, sample_size = 100)]
fn fallback_alone(bencher: Bencher<'_, '_>, reports: &str) {
    measure(bencher, reports, |provider| {
        FallbackLayer::new(["gpt-4o-mini"]).layer(provider)
    });
}

/// A long conversation, because Fallback searches all of it for the model.
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
