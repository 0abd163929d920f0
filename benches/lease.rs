//! What it costs to take a key from a pool and to give it back: `cargo bench --bench lease`.
//!
//! A lease is not public, so each figure is that of one request through a `KeyRotationLayer` over a
//! provider that answers at once. `no_lease` is the same layer with a pool whose keys are for another
//! origin: all that the layer does but the lease. A figure less that of `no_lease` is the lease: the
//! choice of a key, the key on the request, what its answer tells, the key given back.

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

/// The path names the model for which a key is lent, and there is no body to look into.
fn request() -> Request<Full<Bytes>> {
    Request::post("https://api.example/v1beta/models/large:generateContent")
        .header("content-type", "application/json")
        .header("authorization", "Bearer none")
        .body(Full::default())
        .expect("it is valid")
}

type Client<X = SendAnyway> = KeyRotation<Provider, X>;

fn client(pool: KeyPool) -> Client {
    KeyRotationLayer::new(pool).layer(Provider::new(StatusCode::OK, &[USUAL]))
}

fn measure<X>(bencher: Bencher<'_, '_>, mut client: Client<X>, request: &Request<Full<Bytes>>)
where
    X: WhenExhausted<Full<Bytes>> + Clone,
{
    // The first call learns what later ones know.
    send(&mut client, request.clone());
    bencher.bench_local(|| send(&mut client, black_box(request).clone()));
}

/// To be taken off the other figures.
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

/// A limited key stays so for as long as the bench runs.
const LIMITED: &[(&str, &str)] = &[("retry-after", "86400")];

/// A pool whose keys are all limited.
fn exhausted(count: usize) -> KeyPool {
    let pool = pool(keys(count));
    // One send for each call, so that no call waits between two.
    let layer = KeyRotationLayer::new(pool.clone()).max_sends(1);
    let limited = Provider::new(StatusCode::TOO_MANY_REQUESTS, &[USUAL, LIMITED]);
    let mut client = layer.layer(limited);
    for _ in 0..count {
        send(&mut client, request());
    }
    let cooling = pool.snapshot().into_iter();
    let cooling =
        cooling.filter(|key| !key.limited_models.is_empty() || key.cooldown_until.is_some());
    let labels: BTreeSet<_> = cooling.map(|key| key.label).collect();
    assert_eq!(labels.len(), count, "every key cools");
    pool
}

/// As many as a gateway may have.
const MANY_KEYS: [usize; 3] = [4, 1000, 10_000];

/// All keys cool: the one that frees first is asked.
#[divan::bench(args = MANY_KEYS)]
fn exhausted_try_anyway(bencher: Bencher<'_, '_>, count: usize) {
    let layer = KeyRotationLayer::new(exhausted(count)).max_sends(1);
    let provider = Provider::new(StatusCode::TOO_MANY_REQUESTS, &[USUAL, LIMITED]);
    measure(bencher, layer.layer(provider), &request());
}

/// All keys cool: nothing is sent.
#[divan::bench(args = MANY_KEYS)]
fn exhausted_respond(bencher: Bencher<'_, '_>, count: usize) {
    let layer = KeyRotationLayer::new(exhausted(count)).reject_when_exhausted();
    measure(
        bencher,
        layer.layer(Provider::new(StatusCode::OK, &[USUAL])),
        &request(),
    );
}

/// All keys cool for longer than the call would wait: nothing is sent.
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
