//! All six orders of the three layers around one client, each with its own provider.

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

/// The same wait each time, used if a rejection has no hint.
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

/// Calls `$visit` with each order, named from outer to inner, and with its stack around `$client`. `$outer` is a layer
/// outside all others.
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

/// Sends a request through a stack in the order `layers`. Asserts that all three layers acted and that every attempt
/// was correct.
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
    let attempts = trail.attempts();
    assert_eq!(attempts.len(), log.seen.len(), "{layers:?}");
    for (attempt, (key, model)) in attempts.iter().zip(&log.seen) {
        assert_eq!(attempt.key.as_deref(), Some(key.as_str()), "{layers:?}");
        // The model of a streaming body is unknown before the body is read.
        let known = attempt.model.as_deref();
        assert!(known.is_none_or(|known| known == model), "{layers:?}");
    }
    assert_eq!(
        first_acts(&attempts),
        layers.map(act_of).into_iter().rev().collect::<Vec<_>>(),
        "{layers:?}"
    );
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "the answer", "{layers:?}");
}

/// Returns the action of a layer.
fn act_of(layer: &str) -> (LayerKind, &'static str) {
    match layer {
        "backoff" => (LayerKind::Backoff, "wait"),
        "keys" => (LayerKind::KeyRotation, "next key"),
        _ => (LayerKind::Fallback, "next target"),
    }
}

/// Returns the distinct actions of the layers, in the order of their first occurrence. An inner layer acts before an
/// outer one.
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
