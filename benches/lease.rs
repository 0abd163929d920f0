//! The cost of a lease, which reserves a key of a pool and releases it: `cargo bench --bench lease`.
//!
//! A lease is not public, so each bench sends one request through a `KeyRotationLayer` to a provider that responds at
//! once. `no_lease` uses a pool whose keys are for another origin, so it measures everything except the lease. The
//! difference to `no_lease` is the cost of a lease: the layer chooses a key, puts it on the request, reads the
//! response and releases the key.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use divan::{AllocProfiler, Bencher, black_box};
use http::{Request, StatusCode};
use http_body_util::Full;
use tower::Layer;
use tower_429::{
    KeyPool, KeyRotationLayer,
    key_rotation::{KeyPoolBuilder, KeyRotation, SendAnyway, Session, WhenExhausted},
};

mod provider;
use provider::{Provider, USUAL, send};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    let runtime = provider::runtime();
    let _entered = runtime.enter();
    divan::main();
}

const KEYS: [usize; 2] = [4, 1000];

fn keys(count: usize) -> KeyPoolBuilder {
    KeyPool::builder((1..=count).map(|number| format!("sk-{number}")))
        .for_origin("https://api.example")
}

fn pool(builder: KeyPoolBuilder) -> KeyPool {
    builder.build().expect("it is valid")
}

/// Returns a request that names its model in the path. It has no body that must be searched.
fn request() -> Request<Full<Bytes>> {
    Request::post("https://api.example/v1beta/models/large:generateContent")
        .header("content-type", "application/json")
        .header("authorization", "Bearer none")
        .body(Full::default())
        .expect("the request is valid")
}

type Client<X = SendAnyway> = KeyRotation<Provider, X>;

fn client(pool: KeyPool) -> Client {
    KeyRotationLayer::new(pool).layer(Provider::new(StatusCode::OK, &[USUAL]))
}

fn measure<X>(bencher: Bencher<'_, '_>, mut client: Client<X>, request: &Request<Full<Bytes>>)
where
    X: WhenExhausted<Full<Bytes>> + Clone,
{
    // The first call is not measured, because the layer allocates its state for it.
    send(&mut client, request.clone());
    bencher.bench_local(|| send(&mut client, black_box(request).clone()));
}

/// The baseline, which must be subtracted from the other figures.
#[divan::bench(args = KEYS, sample_size = 100)]
fn no_lease(bencher: Bencher<'_, '_>, count: usize) {
    let mut request = request();
    let elsewhere = "https://other.example/v1beta/models/large:generateContent";
    *request.uri_mut() = elsewhere.parse().expect("it is valid");
    measure(bencher, client(pool(keys(count))), &request);
}

#[divan::bench(args = KEYS, sample_size = 100)]
fn sticky(bencher: Bencher<'_, '_>, count: usize) {
    measure(bencher, client(pool(keys(count))), &request());
}

#[divan::bench(args = KEYS, sample_size = 100)]
fn round_robin(bencher: Bencher<'_, '_>, count: usize) {
    measure(bencher, client(pool(keys(count).round_robin())), &request());
}

#[divan::bench(args = KEYS, sample_size = 100)]
fn spread(bencher: Bencher<'_, '_>, count: usize) {
    measure(
        bencher,
        client(pool(keys(count).least_loaded())),
        &request(),
    );
}

#[divan::bench(args = KEYS, sample_size = 100)]
fn session(bencher: Bencher<'_, '_>, count: usize) {
    let mut request = request();
    request
        .extensions_mut()
        .insert(Session::new("conversation"));
    measure(bencher, client(pool(keys(count))), &request);
}

/// Limits a key for longer than the bench runs.
const LIMITED: &[(&str, &str)] = &[("retry-after", "86400")];

/// Returns a pool whose keys are all limited.
fn exhausted(count: usize) -> KeyPool {
    let pool = pool(keys(count));
    // Each call sends once, because it would wait before a second send.
    let layer = KeyRotationLayer::new(pool.clone()).max_sends(1);
    let limited = Provider::new(StatusCode::TOO_MANY_REQUESTS, &[USUAL, LIMITED]);
    let mut client = layer.layer(limited);
    for _ in 0..count {
        send(&mut client, request());
    }
    let limited = pool.snapshot().into_iter();
    let limited =
        limited.filter(|key| !key.limited_models.is_empty() || key.cooldown_until.is_some());
    let labels: BTreeSet<_> = limited.map(|key| key.label).collect();
    assert_eq!(labels.len(), count, "every key is on cooldown");
    pool
}

/// The sizes of exhausted pools, up to that of a large gateway.
const MANY_KEYS: [usize; 3] = [4, 1000, 10_000];

/// All keys are on cooldown, and the request is sent with the key whose cooldown ends first.
#[divan::bench(args = MANY_KEYS)]
fn exhausted_send_anyway(bencher: Bencher<'_, '_>, count: usize) {
    let layer = KeyRotationLayer::new(exhausted(count)).max_sends(1);
    let provider = Provider::new(StatusCode::TOO_MANY_REQUESTS, &[USUAL, LIMITED]);
    measure(bencher, layer.layer(provider), &request());
}

/// All keys are on cooldown, and nothing is sent.
#[divan::bench(args = MANY_KEYS)]
fn exhausted_reject(bencher: Bencher<'_, '_>, count: usize) {
    let layer = KeyRotationLayer::new(exhausted(count)).reject_when_exhausted();
    measure(
        bencher,
        layer.layer(Provider::new(StatusCode::OK, &[USUAL])),
        &request(),
    );
}

/// All keys are on cooldown for longer than the max wait, and nothing is sent.
#[divan::bench(args = MANY_KEYS)]
fn exhausted_wait(bencher: Bencher<'_, '_>, count: usize) {
    let layer = KeyRotationLayer::new(exhausted(count))
        .reject_when_exhausted()
        .wait_when_exhausted(Duration::from_secs(30));
    measure(
        bencher,
        layer.layer(Provider::new(StatusCode::OK, &[USUAL])),
        &request(),
    );
}
