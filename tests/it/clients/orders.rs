//! All six orders of the three layers around one client, each against a provider of its own.

use std::{fmt::Debug, iter, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use tower::{Service, ServiceExt};
use tower_429::{
    BackoffLayer, FallbackLayer, KeyPool, KeyRotationLayer,
    key_rotation::Key,
    trail::{Action, Attempt, LayerKind, Trail},
};

use super::provider::{Framing, KEYS, MODELS, Provider};

/// The same wait each time, for where a rejection gives no hint.
type Waits = fn(u64) -> iter::Repeat<Duration>;

pub(crate) fn backoff() -> BackoffLayer<Waits> {
    BackoffLayer::new()
        .attempts(6)
        .jitter(0, Duration::ZERO)
        .delays((|_| iter::repeat(Duration::from_millis(10))) as Waits)
}

pub(crate) fn keys() -> KeyRotationLayer {
    KeyRotationLayer::new(KeyPool::new(KEYS.map(|key| Key::new(key).label(key))).unwrap())
}

pub(crate) fn fallback() -> FallbackLayer {
    FallbackLayer::new([MODELS[1]])
}

/// Calls `$visit` with each order, named from the outside in, and the stack of it around `$client`;
/// `$outer` is a layer outside them all.
macro_rules! in_every_order {
    ($outer:expr, $client:expr, $visit:expr) => {
        in_every_order!(@ $outer, $client, $visit;
            [fallback backoff keys] [fallback keys backoff] [backoff fallback keys]
            [backoff keys fallback] [keys fallback backoff] [keys backoff fallback])
    };
    (@ $outer:expr, $client:expr, $visit:expr; $([$($layer:ident)+])+) => {$({
        let stack = tower::ServiceBuilder::new()
            .layer($outer)
            $(.layer($crate::clients::orders::$layer()))+
            .service($client);
        $visit([$(stringify!($layer)),+], stack).await;
    })+};
}
pub(crate) use in_every_order;

/// Sends a request through a stack in the order `layers`; all three must have acted, and every
/// attempt must have been right.
pub(crate) async fn succeeds<S, B, R>(
    layers: [&str; 3],
    framing: Framing,
    make: impl FnOnce(&Provider) -> S,
    body: B,
) where
    S: Service<Request<B>, Response = Response<R>, Error: Debug>,
    R: Body<Data = Bytes, Error: Debug>,
{
    let provider = Provider::start(framing).await;
    let request = provider.request(body);
    let response = make(&provider).oneshot(request).await.unwrap();
    let log = provider.log();
    assert_eq!(log.violations, [""; 0], "{layers:?}, {framing:?}");
    let trail = response.extensions().get::<Trail>().expect("a trail");
    assert_eq!(response.status(), 200, "{layers:?}, {framing:?}:\n{trail}");
    let told = trail.attempts();
    assert_eq!(told.len(), log.asked.len(), "{layers:?}");
    for (told, (key, model)) in told.iter().zip(&log.asked) {
        assert_eq!(told.key.as_deref(), Some(key.as_str()), "{layers:?}");
        // Of a body that streams it is not known before it is read.
        let known = told.model.as_deref();
        assert!(known.is_none_or(|known| known == model), "{layers:?}");
    }
    assert_eq!(
        first_acts(&told),
        layers.map(act_of).into_iter().rev().collect::<Vec<_>>(),
        "{layers:?}"
    );
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "the answer", "{layers:?}");
}

/// What a layer does where it acts.
fn act_of(layer: &str) -> (LayerKind, &'static str) {
    match layer {
        "backoff" => (LayerKind::Backoff, "wait"),
        "keys" => (LayerKind::KeyRotation, "next key"),
        _ => (LayerKind::Fallback, "next target"),
    }
}

/// What the layers did, each thing where it was done first. An inner layer acts before an outer one.
fn first_acts(attempts: &[Attempt]) -> Vec<(LayerKind, &'static str)> {
    let mut first = Vec::new();
    for step in attempts.iter().flat_map(|attempt| &attempt.steps) {
        let act = match step.action {
            Action::Wait(_) => "wait",
            Action::NextKey => "next key",
            Action::NextTarget => "next target",
            _ => continue,
        };
        if !first.contains(&(step.layer, act)) {
            first.push((step.layer, act));
        }
    }
    first
}
