//! Rejections and uploads over real sockets.
//!
//! The clock is paused. Time advances only while all tasks wait.

mod early;
mod freed;
mod once;
mod server;

use std::{iter, time::Duration};

use server::Server;
use tower_429::{BackoffLayer, FallbackLayer, KeyPool, KeyRotationLayer, fallback::Target};

// Each layer has further attempts, keys or targets, so only the body limits the retries.

const REPLAY_LIMIT: u64 = 64 * 1024;

pub(crate) type Waits = fn(u64) -> iter::Repeat<Duration>;

pub(crate) fn backoff(_: &Server) -> BackoffLayer<Waits> {
    BackoffLayer::new()
        .attempts(2)
        .jitter(0, Duration::ZERO)
        .delays((|_| iter::repeat(Duration::from_millis(1))) as Waits)
        .replay_limit(REPLAY_LIMIT)
}

pub(crate) fn keys(_: &Server) -> KeyRotationLayer {
    KeyRotationLayer::new(KeyPool::new(["one", "two"]).unwrap()).replay_limit(REPLAY_LIMIT)
}

/// Returns a layer whose target is another origin with the same body, so that the layer does not read the body first.
pub(crate) fn fallback(server: &Server) -> FallbackLayer {
    FallbackLayer::new([Target::same_model_at(&server.addresses[1]).unwrap()])
        .replay_limit(REPLAY_LIMIT)
}

/// Calls `$visit` with each of these stacks, and with a server that has these `$reactions`.
macro_rules! each_stack {
    ($reactions:expr, $visit:expr; $([$($layer:ident)+])+) => {$({
        let server = Server::start($reactions).await;
        let layers = ServiceBuilder::new()$(.layer($layer(&server)))+;
        $visit(stringify!($($layer)+), server, layers).await;
    })+};
}
pub(crate) use each_stack;

macro_rules! each_single {
    ($reactions:expr, $visit:expr) => {
        each_stack!($reactions, $visit; [backoff] [keys] [fallback])
    };
}
pub(crate) use each_single;

macro_rules! each_triple {
    ($reactions:expr, $visit:expr) => {
        each_stack!($reactions, $visit;
            [fallback backoff keys] [fallback keys backoff] [backoff fallback keys]
            [backoff keys fallback] [keys fallback backoff] [keys backoff fallback])
    };
}
pub(crate) use each_triple;
